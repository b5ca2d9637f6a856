using Panacea.Injection;

namespace Panacea.Lab.Campaign;

/// <summary>Which fault a trial tries.</summary>
/// <param name="Type">Its kind.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="At">Where: <c>hot</c>, the name of a module, or null for data and registers.</param>
public sealed record FaultChoice(FaultType Type, ulong Seed, string? At)
{
    /// <summary>What drives the devices of a lab guest: modules, and the beginnings of the names of functions where the kernel has them built in (drivers/virtio, drivers/block/virtio_blk.c, drivers/net/virtio_net.c).</summary>
    private static readonly string[] DriverModules = ["virtio_blk", "virtio_net", "virtio_pci", "virtio_ring", "virtio", "virtio_console", "virtio_rng"],
        DriverFunctions = ["virtqueue_", "vring_", "vp_", "virtio_", "virtblk_", "virtnet_"];

    /// <summary>Of what is no code there is one place to choose; of code, more than half of the faults are in what is being used, the others in modules.</summary>
    private static readonly string[] Places = [FaultPlanner.Hot, FaultPlanner.Hot, FaultPlanner.Hot, "virtio_blk", "virtio_net", "ext4_*"];

    /// <summary>The kinds of a campaign, where none are named: the model of the literature. Direct faults, which are no mistakes that anybody makes, are not among them.</summary>
    public static IReadOnlyList<FaultType> Usual { get; } = [.. FaultKinds.All.Where(k => k.Class != FaultClass.Direct).Select(k => k.Type)];

    /// <summary>It is in code of a driver.</summary>
    public static bool IsDriver(FaultPlace? place) =>
        place is not null && (DriverModules.Contains(place.Module) || Array.Exists(DriverFunctions, name => place.Function.StartsWith(name, StringComparison.Ordinal)));

    /// <summary>The fault of a trial: kinds take turns, the rest is chosen by the seed.</summary>
    /// <param name="trial">Number of the trial, from 0.</param>
    /// <param name="seed">The campaign's seed.</param>
    /// <param name="types">The kinds.</param>
    /// <param name="at">Where, for all faults of code; null to choose.</param>
    /// <param name="machine">The kernel and its work: others have other faults.</param>
    public static FaultChoice Of(int trial, ulong seed, IReadOnlyList<FaultType> types, string? at, string machine)
    {
        var random = new SeededRandom(seed, $"trial {trial} of {machine}");
        FaultType type = types[trial % types.Count];
        bool isCode = FaultKinds.Of(type).Class is FaultClass.Text or FaultClass.Direct;
        string place = random.Of(Places);
        return new FaultChoice(type, random.Next() >> 1, isCode ? at ?? place : null);
    }
}
