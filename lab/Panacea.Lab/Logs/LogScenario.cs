using Panacea.Lab.Guests;

namespace Panacea.Lab.Logs;

/// <summary>One way to make a kernel write a report to its console.</summary>
/// <param name="Name">Name of the sample's file, without what comes from the kernel line.</param>
/// <param name="Command">Shell command in the guest that provokes it; empty where booting does.</param>
internal sealed record LogScenario(string Name, string Command)
{
    /// <summary>Text on the console that ends the report.</summary>
    public string Until { get; init; } = "---[ end trace";

    /// <summary>Shell commands before the mark from which the console is kept.</summary>
    public string Setup { get; init; } = "";

    /// <summary>Kernel parameters; scenarios with equal ones share a guest where they may.</summary>
    public string Parameters { get; init; } = "";

    /// <summary>A line to QEMU's human monitor instead of a command in the guest.</summary>
    public string? Monitor { get; init; }

    /// <summary>The kernel panics on an oops. Such a guest is dead afterwards.</summary>
    public bool PanicOnOops { get; init; }

    /// <summary>Has a guest of its own, which dies of it or is damaged by it.</summary>
    public bool OwnGuest { get; init; }

    /// <summary>The report comes while the guest boots.</summary>
    public bool AtBoot { get; init; }

    /// <summary>A crash kernel is armed, and the console goes on into its boot. Such a guest ends with it.</summary>
    public bool IntoCrashKernel { get; init; }

    /// <summary>The kernel line that alone can do it; null for all.</summary>
    public string? Line { get; init; }

    /// <summary>The file's name.</summary>
    public string FileName(string line) => $"{line}-{Name}.log";
}

/// <summary>All scenarios of which samples are captured.</summary>
internal static class LogScenarios
{
    private const string Panicked = "---[ end Kernel panic", CrashKernelRuns = "as init process";

    /// <summary>In the order in which they share a guest: what damages it least comes first.</summary>
    public static IReadOnlyList<LogScenario> All { get; } =
    [
        .. ((string[])["warn", "null-read", "null-write", "wild-read", "epilogue-read", "null-call", "bug", "divide-by-zero", "void-null-write", "pointer-null-read"]).Select(Driver),
        .. ((string[])["warn-plain", "hardirq-warn", "refcount-underflow", "refcount-zero", "null-member", "err-ptr", "wild-write", "wild-call", "data-call", "readonly-write", "user-read", "user-call",
            "noncanonical-read", "list-poison", "stack-segment", "int3", "invalid-opcode", "memcpy", "strlen", "thread", "work", "usercopy", "list-add", "list-del"]).Select(Reports),
        Reports("atomic-sleep") with { Until = "</TASK>" },
        Reports("bad-page") with { Until = "</TASK>" },
        Reports("order") with { Until = "Mem-Info:" },
        new("ext4-error", "echo panacea > /sys/fs/ext4/vda/trigger_fs_error") { Until = "EXT4-fs error" },
        new("sysrq-blocked", "echo w > /proc/sysrq-trigger") { Until = "sysrq: Show Blocked State" },
        new("sysrq-cpus", "echo l > /proc/sysrq-trigger") { Until = "</TASK>" },
        new("nmi-unknown", "") { Monitor = "nmi", Until = "Dazed and confused" },
        Reports("hung") with { Setup = "echo 2 > /proc/sys/kernel/hung_task_timeout_secs", Until = "</TASK>", OwnGuest = true },
        Reports("hung-completion") with { Setup = "echo 2 > /proc/sys/kernel/hung_task_timeout_secs", Until = "</TASK>", OwnGuest = true },
        Reports("soft-lockup") with { Setup = "echo 2 > /proc/sys/kernel/watchdog_thresh", Until = "</TASK>", OwnGuest = true },
        new("rcu-stall-self", "echo soft-lockup > /dev/crashtest-reports") { Setup = Stall, Until = "</TASK>", OwnGuest = true },
        new("rcu-stall-other", "echo irqs-off > /dev/crashtest-reports") { Setup = Stall, Until = "</TASK>", OwnGuest = true },
        new("oom", Eat) { Until = "Killed process", OwnGuest = true },
        Reports("double-free") with { OwnGuest = true },
        Reports("stack-overflow") with { OwnGuest = true },

        .. ((string[])["write-after-free", "out-of-bounds", "double-free"]).Select(n => Reports(n) with
        {
            Name = $"slub-{n}", Parameters = "slub_debug=FZPU", Until = "FIX kmalloc",
        }),
        .. ((string[])["use-after-free", "out-of-bounds"]).Select(n => Reports(n) with
        {
            Name = $"kfence-{n}", Parameters = "kfence.sample_interval=1", Line = "6.12", Until = "BUG: KFENCE",
        }),

        .. ((string[])["null-read", "bug", "null-call", "panic"]).Select(n => Driver(n) with { Name = $"panic-on-oops-{n}", PanicOnOops = true, OwnGuest = true, Until = Panicked }),
        .. ((string[])["list-del", "memcpy", "thread"]).Select(n => Reports(n) with { Name = $"panic-on-oops-{n}", PanicOnOops = true, OwnGuest = true, Until = Panicked }),
        Reports("softirq") with { OwnGuest = true, Until = Panicked },
        Reports("hardirq") with { OwnGuest = true, Until = Panicked },
        Reports("stack-smash") with { OwnGuest = true, Until = Panicked },
        new("sysrq-crash", "echo c > /proc/sysrq-trigger") { PanicOnOops = true, OwnGuest = true, Until = Panicked },
        Driver("warn") with { Name = "panic-on-warn", Setup = "echo 1 > /proc/sys/kernel/panic_on_warn", OwnGuest = true, Until = Panicked },
        Reports("hung") with
        {
            Name = "panic-hung-task", Setup = "echo 1 > /proc/sys/kernel/hung_task_panic; echo 2 > /proc/sys/kernel/hung_task_timeout_secs", OwnGuest = true, Until = Panicked,
        },
        Reports("soft-lockup") with
        {
            Name = "panic-soft-lockup", Setup = "echo 1 > /proc/sys/kernel/softlockup_panic; echo 2 > /proc/sys/kernel/watchdog_thresh", OwnGuest = true, Until = Panicked,
        },
        new("panic-rcu-stall", "echo soft-lockup > /dev/crashtest-reports") { Setup = $"echo 1 > /proc/sys/kernel/panic_on_rcu_stall; {Stall}", OwnGuest = true, Until = Panicked },
        new("panic-oom", Eat) { Setup = "echo 1 > /proc/sys/vm/panic_on_oom", OwnGuest = true, Until = Panicked },
        new("panic-nmi", "") { Monitor = "nmi", Setup = "echo 1 > /proc/sys/kernel/unknown_nmi_panic", OwnGuest = true, Until = Panicked },
        // The 6.1 kernel waits for processors that emulation does not bring.
        new("machine-check", "") { Line = "6.12", Monitor = "mce -b 0 9 0xbe00000000000135 0x5 0x12345680 0x8c", OwnGuest = true, Until = Panicked },
        Driver("null-write") with { Name = "kdump-null-write", IntoCrashKernel = true, PanicOnOops = true, OwnGuest = true, Until = CrashKernelRuns },
        Driver("panic") with { Name = "kdump-panic", IntoCrashKernel = true, OwnGuest = true, Until = CrashKernelRuns },
        // A double fault is handled like an NMI: what it writes waits for a console that the crash kernel does not wait for.
        Reports("stack-overflow") with { Name = "kdump-silent", IntoCrashKernel = true, PanicOnOops = true, OwnGuest = true, Until = CrashKernelRuns },
        new("init-killed", "") { AtBoot = true, OwnGuest = true, Parameters = "rdinit=/bin/false", Until = Panicked },
        new("no-root", "") { AtBoot = true, OwnGuest = true, Parameters = "rdinit=/none", Until = Panicked },
    ];

    /// <summary>Doubles a string until there is no memory for it.</summary>
    private const string Eat = "awk 'BEGIN { s = \"x\"; while (1) s = s s }'";

    private static string Stall =>
        "echo 30 > /proc/sys/kernel/watchdog_thresh; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout";

    private static LogScenario Driver(string name) => new(name, $"echo {name} > /dev/crashtest");

    private static LogScenario Reports(string name) => new(name, $"echo {name} > /dev/crashtest-reports");
}
