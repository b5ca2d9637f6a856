using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;

namespace Panacea.Cli.Services.Inspection;

/// <summary>A machine in some twenty lines.</summary>
internal static class SystemInspection
{
    private const long BytesPerPage = 4096;

    /// <summary>What the kernel writes when it dies, the last thing first.</summary>
    private static readonly string[] LastWords =
        ["Kernel panic - ", "kernel BUG at ", "BUG: ", "general protection fault", "double fault: ", "divide error: ", "stack segment: ", "invalid opcode: ", "int3: ", "Oops: "];

    /// <summary>Reads what there is.</summary>
    /// <param name="look">The kernel.</param>
    /// <param name="source">What is looked at, in one line.</param>
    public static SystemAnswer Read(KernelLook look, string source) => look.Settled(kernel =>
    {
        SystemInfo info = SystemInfo.Read(kernel, KernelLook.Limits);
        int present = KernelLook.Try(() => Cpus.Mask(kernel, kernel.Symbol("__cpu_present_mask"), "__cpu_present_mask").Count(), info.CpusPossible);
        return new SystemAnswer
        {
            Source = source,
            Cpus = present,
            CpusOffline = info.CpusOnline is { } online && online <= present ? present - online : null,
            Date = DateOf(info.Clock),
            UptimeMs = unchecked((long?)(info.Clock?.MonotonicNs / 1_000_000)),
            LoadAverage = info.Clock?.LoadAverage ?? [],
            Tasks = KernelLook.Try<int?>(() => look.TasksOf(kernel).Count, null),
            Nodename = info.HostName,
            Release = info.Release ?? kernel.Image.Meta.Release,
            Version = info.Version,
            Machine = info.Machine,
            Mhz = KernelLook.Try<long?>(() => kernel.Space.ReadUInt32(new(kernel.Symbol("cpu_khz")), "cpu_khz") / 1000, null),
            MemoryBytes = KernelLook.Try<long?>(() => MemorySummary.Read(kernel, KernelLook.Limits).Zones.Sum(z => checked((long)z.Present * BytesPerPage)), null),
            Panic = KernelLook.Try(() => LastWordsOf(kernel), null),
            Taint = KernelLook.Try<string?>(() => kernel.ReadSymbolU64("tainted_mask") is var bits and not 0 ? Taints.Letters(bits) : "", null),
            BuildId = kernel.Image.Meta.BuildId,
            CommandLine = info.CommandLine,
            CpuModel = info.CpuModel,
            Hypervisor = info.Hypervisor,
        };
    });

    private static DateTimeOffset? DateOf(KernelClock? clock) =>
        clock?.RealtimeNs / 1_000_000 is { } ms && ms <= (ulong)DateTimeOffset.MaxValue.ToUnixTimeMilliseconds() ? DateTimeOffset.FromUnixTimeMilliseconds((long)ms) : null;

    private static string? LastWordsOf(LinuxKernel kernel)
    {
        string[] log = [.. Printk.Tail(kernel, int.MaxValue, KernelLook.Limits).SelectMany(r => r.Text.Split('\n'))];
        return LastWords.Select(words => Array.Find(log, line => line.Contains(words, StringComparison.Ordinal))).FirstOrDefault(line => line is not null);
    }
}
