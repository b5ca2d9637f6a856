namespace Panacea.Lab.Bench.Scale;

/// <summary>What is made larger, and how large; each by itself, the rest as usual.</summary>
public sealed record ScaleSizes
{
    /// <summary>Names of what can be made larger.</summary>
    public static IReadOnlyList<string> Names { get; } = ["memory", "tasks", "modules", "vcpus", "vms"];

    /// <summary>RAM of a guest in MiB, most of it never touched.</summary>
    public IReadOnlyList<int> MemoryMiB { get; init; } = [512, 2048, 16384, 65536];

    /// <summary>Tasks that sleep in a guest, besides its own: half of them processes, half threads.</summary>
    public IReadOnlyList<int> Tasks { get; init; } = [100, 1000, 5000, 20000];

    /// <summary>Modules besides those that the guest needs.</summary>
    public IReadOnlyList<int> Modules { get; init; } = [10, 50, 200];

    /// <summary>vCPUs of a guest.</summary>
    public IReadOnlyList<int> Vcpus { get; init; } = [1, 2, 4, 8, 16];

    /// <summary>VMs that one guard has.</summary>
    public IReadOnlyList<int> Vms { get; init; } = [1, 5, 20];

    /// <summary>The same, of those named alone.</summary>
    public ScaleSizes Only(IReadOnlyCollection<string> names) => new()
    {
        MemoryMiB = names.Contains(Names[0]) ? MemoryMiB : [], Tasks = names.Contains(Names[1]) ? Tasks : [], Modules = names.Contains(Names[2]) ? Modules : [],
        Vcpus = names.Contains(Names[3]) ? Vcpus : [], Vms = names.Contains(Names[4]) ? Vms : [],
    };
}
