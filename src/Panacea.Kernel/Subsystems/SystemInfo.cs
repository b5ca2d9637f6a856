using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What the machine is and how its kernel was started. Each fact that could not be read is null.</summary>
public sealed record SystemInfo
{
    /// <summary>The year 9999: times past it are no times.</summary>
    private const ulong MostMilliseconds = 253_402_300_799_000;

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

    /// <summary>The clock of the kernel, with its load.</summary>
    public required KernelClock? Clock { get; init; }

    /// <summary>When it was booted; null where the clock makes no sense.</summary>
    public DateTimeOffset? BootedAt => Clock is { RealtimeNs: { } now, BoottimeNs: { } up } && up <= now && now / 1_000_000 <= MostMilliseconds
        ? DateTimeOffset.FromUnixTimeMilliseconds((long)((now - up) / 1_000_000)) : null;

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
            Clock = KernelReads.Try<KernelClock?>(() => KernelClock.Read(kernel), null),
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
