using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

/// <summary>A synthetic guest, its image made while it is healthy, and readers that look at it while it is not. Whatever stands in its memory, a reader returns or throws what readers promise.</summary>
internal sealed class FuzzedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();
    private readonly GuestMutator _mutator;
    private readonly LinuxKernel _kernel;

    /// <param name="guest">The guest, linked.</param>
    /// <param name="regions">What is damaged.</param>
    /// <param name="pointers">Addresses of its structures.</param>
    public FuzzedGuest(SyntheticKernel guest, IReadOnlyList<(ulong Physical, int Bytes)> regions, IReadOnlyList<ulong> pointers)
    {
        Guest = guest;
        Image = KernelGuest.Build(guest, _cache.Path);
        _kernel = Image.KernelOver(guest.Memory);
        _mutator = new GuestMutator(guest.Memory, regions, pointers);
    }

    /// <summary>The guest.</summary>
    public SyntheticKernel Guest { get; }

    /// <summary>The image.</summary>
    public RepairImage Image { get; }

    /// <summary>Readers by name.</summary>
    public IReadOnlyList<(string Name, Action<LinuxKernel> Look)> Looks { get; init; } = [];

    /// <summary>One case: damage, then something.</summary>
    public void Case(Random random, Action look) => _mutator.Case(random, look);

    /// <summary>One case: damage, then the share of the readers that is drawn.</summary>
    public void Case(Random random, int share) => Case(random, () =>
    {
        int draw = random.Next(share);
        for (int i = draw; i < Looks.Count; i += share)
            Look(_kernel, Looks[i].Name, Looks[i].Look);
    });

    /// <summary>Runs a reader.</summary>
    public void Look(LinuxKernel kernel, string name, Action<LinuxKernel> look)
    {
        try
        {
            look(kernel);
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException)
        {
            // The promised errors.
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"reader \"{name}\": {e.Message}", e);
        }
    }

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
