using System.Globalization;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What the machine is and how its kernel was started. Each fact that could not be read is null.</summary>
public sealed record SystemInfo
{
    /// <summary>Fields of dmi_ident that say what machine it is, by their names in enum dmi_field without DMI_.</summary>
    private static readonly string[] DmiFields =
        ["SYS_VENDOR", "PRODUCT_NAME", "PRODUCT_VERSION", "PRODUCT_FAMILY", "BOARD_VENDOR", "BOARD_NAME", "BIOS_VENDOR", "BIOS_VERSION", "BIOS_DATE", "CHASSIS_VENDOR"];

    /// <summary>The kernel's command line as it was given (/proc/cmdline).</summary>
    public required string? CommandLine { get; init; }

    /// <summary>Host name of the first UTS namespace.</summary>
    public required string? HostName { get; init; }

    /// <summary>uname -r.</summary>
    public required string? Release { get; init; }

    /// <summary>uname -v.</summary>
    public required string? Version { get; init; }

    /// <summary>uname -m.</summary>
    public required string? Machine { get; init; }

    /// <summary>CPUs that run.</summary>
    public required int? CpusOnline { get; init; }

    /// <summary>CPUs that could.</summary>
    public required int CpusPossible { get; init; }

    /// <summary>Model of the first CPU (/proc/cpuinfo, model name).</summary>
    public required string? CpuModel { get; init; }

    /// <summary>The hypervisor that the kernel found: KVM, VMWARE, MS_HYPERV, …; "none" on bare metal and on one that does not say.</summary>
    public required string? Hypervisor { get; init; }

    /// <summary>What the firmware says of the machine, by field of enum dmi_field without DMI_; empty without DMI.</summary>
    public required IReadOnlyDictionary<string, string> Hardware { get; init; }

    /// <summary>The clock of the kernel.</summary>
    public required KernelTime? Time { get; init; }

    /// <summary>Reads what there is.</summary>
    public static SystemInfo Read(LinuxKernel kernel, TargetLimits limits)
    {
        string? Uts(string member) => KernelReads.Try<string?>(() => kernel.ReadText(kernel.Symbol("init_uts_ns"), $"uts_namespace.name.{member}"), null);
        return new SystemInfo
        {
            CommandLine = KernelReads.Try<string?>(() => kernel.ReadString(kernel.ReadSymbolU64("saved_command_line"), "saved_command_line", limits.MaxStringBytes).TrimEnd('\n'), null),
            HostName = Uts("nodename"),
            Release = Uts("release"),
            Version = Uts("version"),
            Machine = Uts("machine"),
            CpusOnline = KernelReads.Try<int?>(() => Cpus.Online(kernel).Count, null),
            CpusPossible = Cpus.Possible(kernel).Count,
            CpuModel = KernelReads.Try<string?>(() => kernel.ReadText(kernel.Symbol("boot_cpu_data"), "cpuinfo_x86.x86_model_id").Trim(), null),
            Hypervisor = HypervisorOf(kernel),
            Hardware = ReadHardware(kernel),
            Time = KernelReads.Try<KernelTime?>(() => KernelTime.Read(kernel), null),
        };
    }

    /// <summary>x86_hyper_type since 4.15 (arch/x86/kernel/cpu/hypervisor.c).</summary>
    private static string? HypervisorOf(LinuxKernel kernel)
    {
        if (kernel.TryReadVariable("x86_hyper_type", 4) is not { } type)
            return null;
        string? name = kernel.Image.Types.Enumerators("x86_hypervisor_type").FirstOrDefault(e => e.Value == (long)type).Key;
        return name is null or "X86_HYPER_NATIVE" ? type == 0 ? "none" : null : name.Replace("X86_HYPER_", "", StringComparison.Ordinal);
    }

    private static Dictionary<string, string> ReadHardware(LinuxKernel kernel)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        if (!kernel.Image.TryFindSymbol("dmi_ident", out ulong table))
            return found;
        foreach (string field in DmiFields)
        {
            if (!kernel.Image.Types.TryEnumerator("dmi_field", $"DMI_{field}", out long index) || index is < 0 or > 64)
                continue;
            string text = KernelReads.Try(() => kernel.ReadString(kernel.ReadU64(unchecked(table + ((ulong)index * 8)), "dmi_ident"), "dmi_ident", 256).Trim(), "");
            if (text.Length > 0)
                found[field] = text;
        }

        return found;
    }
}

/// <summary>The kernel's clocks as of its last update: a tick ago, or up to a second where all CPUs are idle.</summary>
/// <param name="Wall">Time of day, UTC.</param>
/// <param name="Monotonic">CLOCK_MONOTONIC: since boot, without suspend. Time stamps of block requests and of the scheduler are of this clock or close to it.</param>
/// <param name="Uptime">CLOCK_BOOTTIME: since boot with suspend (/proc/uptime).</param>
public sealed record KernelTime(DateTimeOffset Wall, TimeSpan Monotonic, TimeSpan Uptime)
{
    private const long NsPerSecond = 1_000_000_000, NsPerTick = 100;

    /// <summary>When it was booted.</summary>
    public DateTimeOffset BootedAt => Wall - Uptime;

    /// <summary>Reads the timekeeper (kernel/time/timekeeping.c).</summary>
    /// <exception cref="KernelShapeException">The clocks make no sense, or the kernel lacks them.</exception>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static KernelTime Read(LinuxKernel kernel)
    {
        // tk_core is a sequence counter of four bytes and, aligned, the timekeeper; struct tk_data since 6.13, timekeeper_data[] since 6.17.
        ulong at = kernel.Image.TryFindSymbol("tk_core", out ulong core)
            ? unchecked(core + (kernel.HasMember("tk_data.timekeeper") ? kernel.Offset("tk_data.timekeeper") : 8))
            : unchecked(kernel.Symbol("timekeeper_data") + kernel.Offset("tk_data.timekeeper"));
        UInt128 seconds = kernel.Read(at, "timekeeper.xtime_sec");
        int shift = (int)Math.Min(63, kernel.Read(at, "timekeeper.tkr_mono.shift"));
        Int128 wall = (Int128)(seconds * NsPerSecond) + (Int128)(kernel.Read(at, "timekeeper.tkr_mono.xtime_nsec") >> shift);
        Int128 monotonic = wall + ((Int128)kernel.ReadSigned(at, "timekeeper.wall_to_monotonic.tv_sec") * NsPerSecond) + kernel.ReadSigned(at, "timekeeper.wall_to_monotonic.tv_nsec");
        Int128 uptime = monotonic + kernel.ReadSigned(at, "timekeeper.offs_boot");

        // Times past the year 9999 are no times.
        Int128 most = (Int128)DateTimeOffset.MaxValue.ToUnixTimeSeconds() * NsPerSecond;
        if (wall > most || monotonic < 0 || uptime < 0 || monotonic > most || uptime > most || uptime > wall)
            throw new KernelShapeException(string.Create(CultureInfo.InvariantCulture, $"the kernel's clocks say {wall} ns since 1970 and {uptime} ns since boot"));
        return new KernelTime(
            DateTimeOffset.UnixEpoch.AddTicks((long)(wall / NsPerTick)), TimeSpan.FromTicks((long)(monotonic / NsPerTick)), TimeSpan.FromTicks((long)(uptime / NsPerTick)));
    }
}
