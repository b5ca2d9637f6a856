namespace Panacea.Lab.Matrix;

/// <summary>A crash in a context: <c>null-write@timer</c>.</summary>
/// <param name="Cause">A cause of lab/crashtest/matrix_main.c.</param>
/// <param name="Context">A context of it, or one that a command makes.</param>
public sealed record MatrixCell(string Cause, string Context)
{
    /// <summary>Loads the driver; once for a guest.</summary>
    public const string SetUp = "[ -e /dev/crashtest-matrix ] || insmod /modules/crashtest_matrix.ko";

    /// <summary>Contexts in which a process of its own dies or survives.</summary>
    private static readonly string[] Process =
    [
        "syscall", "mutex", "rwsem-read", "rwsem-write", "semaphore", "spinlock", "spinlock-irq", "spinlock-bh", "rwlock-write", "rcu", "preempt-off", "irqs-off", "nested", "journal", "plug", "fault", "signal", "notifier",
        "fork", "release", "exec", "module-init", "module-exit",
    ];

    /// <summary>Contexts that have no process, or one that must not die.</summary>
    private static readonly string[] Other =
        ["init", "kthread", "work", "irq-thread", "timer", "tasklet", "napi", "rcu-callback", "hrtimer", "irq-work", "ipi", "irq", "idle"];

    private static readonly string[] Causes =
        [
            "null-write", "null-read", "wild-write", "wild-read", "null-call", "wild-call", "data-call", "table-call", "bug", "divide-by-zero", "invalid-opcode", "general-protection", "panic", "list-poison",
            "double-free", "use-after-free", "freelist", "usercopy", "warn", "refcount", "stack-smash", "readonly-write", "module-text", "kernel-text",
        ];

    /// <summary>The stack of the first CPU's idle task is the kernel's own data and has no guard page; calls from other CPUs are taken there too.</summary>
    private static readonly string[] Unguarded = ["idle", "ipi"];

    /// <summary>Data of which there is a copy or another direction, and contexts that differ in how the kernel goes on after it.</summary>
    private static readonly string[] Healing = ["list-next", "list-prev", "list-own", "list-add", "trap-gate"], HealingIn = ["syscall", "spinlock-irq", "rcu", "fault", "signal", "kthread", "work", "timer", "hrtimer", "irq", "idle"];

    private const string Overflow = "stack-overflow", AtomicSleep = "atomic-sleep", FatalSignal = "fatal-signal";

    /// <summary>Contexts in which it is a mistake to sleep with preemption off, and the only one.</summary>
    private static readonly string[] Sleeping = ["syscall", "mutex", "rwsem-read", "rwsem-write", "semaphore", "preempt-off", "spinlock", "fault", "signal", "notifier", "release", "kthread", "work"];

    /// <summary>Contexts in which a loop gives way to nobody.</summary>
    private static readonly string[] Atomic =
        ["spinlock", "spinlock-irq", "spinlock-bh", "rwlock-write", "preempt-off", "irqs-off", "nested", "timer", "tasklet", "rcu-callback", "hrtimer", "irq-work", "ipi", "irq"];

    /// <summary>Hangs, each with the contexts where it makes sense.</summary>
    private static readonly (string Cause, string[] Contexts)[] Hanging =
    [
        ("loop", Atomic), ("calling-loop", Atomic), ("spin-twice", ["syscall", "mutex", "spinlock-irq", "rcu", "release", "kthread", "work", "timer", "irq"]), ("spin-abba", ["syscall", "mutex", "spinlock-bh"]),
        ("mutex-twice", ["syscall", "mutex", "rwsem-write", "semaphore", "kthread", "work"]), ("mutex-abba", ["syscall", "mutex", "rwsem-write"]), ("mutex-orphan", ["syscall", "rwsem-read", "release"]),
    ];

    /// <summary>The kernel's own detectors find something, and a setting makes a panic of that.</summary>
    public const string Setting = "setting";

    /// <summary>A CPU that does not give way stalls RCU only where somebody waits for a grace period: whoever unloads a module does.</summary>
    private const string Stall = "echo 30 > /proc/sys/kernel/watchdog_thresh; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout; "
        + "echo soft-lockup > /dev/crashtest-reports & sleep 1; insmod /modules/crashtest_extra.ko; rmmod crashtest_extra; wait; echo 10 > /proc/sys/kernel/watchdog_thresh";

    /// <summary>Those settings, and what provokes the panic; null for an NMI, which comes from outside.</summary>
    private static readonly (string Cause, string File, string? Provoke)[] Settings =
    [
        ("unknown-nmi-panic", "/proc/sys/kernel/unknown_nmi_panic", null),
        ("hung-task-panic", "/proc/sys/kernel/hung_task_panic", "echo 2 > /proc/sys/kernel/hung_task_timeout_secs; (echo hung-completion > /dev/crashtest-reports) > /dev/null 2>&1 &"),
        ("panic-on-oom", "/proc/sys/vm/panic_on_oom", "awk 'BEGIN { s = \"x\"; while (1) s = s s }' 2> /dev/null"),
        ("panic-on-rcu-stall", "/proc/sys/kernel/panic_on_rcu_stall", Stall),
        ("softlockup-panic", "/proc/sys/kernel/softlockup_panic", "echo 2 > /proc/sys/kernel/watchdog_thresh; echo soft-lockup > /dev/crashtest-reports; echo 10 > /proc/sys/kernel/watchdog_thresh"),
    ];

    /// <summary>Crashes that may be meant: the process that ran into one is taken out.</summary>
    private static readonly string[] Attacks = ["stack-smash", "readonly-write", "refcount", "usercopy"];

    /// <summary>Every crash in every context.</summary>
    public static IReadOnlyList<MatrixCell> All { get; } =
        [.. Process.Concat(Other).SelectMany(context => Causes.Select(cause => new MatrixCell(cause, context))), .. Process.Concat(Other).Except(Unguarded).Select(context => new MatrixCell(Overflow, context)),
            .. Sleeping.Select(context => new MatrixCell(AtomicSleep, context)), new(FatalSignal, "init"), .. Healing.SelectMany(cause => HealingIn.Select(context => new MatrixCell(cause, context))),
            .. Settings.Select(s => new MatrixCell(s.Cause, Setting))];

    /// <summary>Every context once and every cause once.</summary>
    public static IReadOnlyList<MatrixCell> Sample { get; } =
        [.. Process.Concat(Other).Select((context, i) => new MatrixCell(Causes[i % Causes.Length], context)), new(Overflow, "mutex"), new(AtomicSleep, "mutex"), new(FatalSignal, "init"),
            .. Healing.Select((cause, i) => new MatrixCell(cause, HealingIn[2 * i]))];

    /// <summary>Every hang in every context.</summary>
    public static IReadOnlyList<MatrixCell> Hangs { get; } = [.. Hanging.SelectMany(h => h.Contexts.Select(context => new MatrixCell(h.Cause, context)))];

    /// <summary>Every hang, and of the loops those contexts that differ in kind.</summary>
    public static IReadOnlyList<MatrixCell> HangSample { get; } =
        [new("loop", "preempt-off"), new("calling-loop", "spinlock-irq"), new("loop", "timer"), new("calling-loop", "irq"), new("spin-twice", "syscall"), new("spin-abba", "mutex"), new("mutex-twice", "syscall"), new("mutex-abba", "mutex"), new("mutex-orphan", "syscall")];

    /// <summary>cause@context.</summary>
    public string Name => $"{Cause}@{Context}";

    /// <summary>It hangs instead of dying: it takes as long as it takes to be seen, and is stopped more than once.</summary>
    public bool IsHang => Array.Exists(Hanging, h => h.Cause == Cause);

    /// <summary>A process of its own is in it.</summary>
    public bool HasProcess => Array.IndexOf(Process, Context) >= 0;

    /// <summary>That process is to survive.</summary>
    public bool MaySurvive => HasProcess && Array.IndexOf(Attacks, Cause) < 0;

    /// <summary>What was damaged can be restored, and nothing is to be lost.</summary>
    public bool IsToBeHealed => Cause is "module-text" or "kernel-text" || Array.IndexOf(Healing, Cause) >= 0;

    /// <summary>It is found by a detector of the kernel's, which has to come before a guard's.</summary>
    public bool IsSetting => Context == Setting;

    /// <summary>The command of QEMU's human monitor that crashes so, after <see cref="Command"/>; null where that does.</summary>
    public string? MonitorCommand => IsSetting && SettingOf.Provoke is null ? "nmi" : null;

    /// <summary>It is what the kernel complains of else where something was left as it must not be.</summary>
    public bool IsComplaint => Cause == AtomicSleep;

    /// <summary>A task is left that sleeps for ever: it is what was found.</summary>
    public bool LeavesSleeper => Cause == "hung-task-panic";

    /// <summary>It takes a guest that has not crashed before: the kernel looks for no hung tasks after an oops (kernel/hung_task.c: TAINT_DIE).</summary>
    public bool NeedsFreshGuest => Cause == "hung-task-panic";

    /// <summary>The shell command that makes the guest as it was before; null where it is.</summary>
    public string? Undo => IsSetting ? $"echo 0 > {SettingOf.File}" : null;

    private (string Cause, string File, string? Provoke) SettingOf => Array.Find(Settings, s => s.Cause == Cause);

    /// <summary>The shell command that crashes so.</summary>
    public string Command => IsSetting
        ? $"[ -e /dev/crashtest-reports ] || insmod /modules/crashtest_reports.ko; echo 1 > {SettingOf.File}; {SettingOf.Provoke ?? "true"}"
        : $"echo {(Cause is "warn" or "refcount" or AtomicSleep ? 1 : 0)} > /proc/sys/kernel/panic_on_warn; {(Cause == "refcount" ? WarnAgain : "")}{Provoke}";

    /// <summary>Each warning of a reference count is made once only (lib/refcount.c), until this is written.</summary>
    private const string WarnAgain = "mount -t debugfs none /sys/kernel/debug 2> /dev/null; echo 1 > /sys/kernel/debug/clear_warn_once; ";

    private string Provoke => Context switch
    {
        // The driver maps the file into the writer, which has to have opened it for reading too.
        "fault" => $"echo {Name} 1<> /dev/crashtest-matrix",
        "fork" => $"echo {Name} 1<> /dev/crashtest-matrix; /bin/true; true",
        "release" => $"exec 3> /dev/crashtest-matrix; echo {Name} >&3",
        "exec" => $"printf CRSH > /tmp/crsh; chmod +x /tmp/crsh; echo {Name} > /dev/crashtest-matrix; /tmp/crsh",
        "module-init" => $"rmmod crashtest_init 2> /dev/null; insmod /modules/crashtest_init.ko at=init cause={Cause}",
        "module-exit" => $"rmmod crashtest_init 2> /dev/null; insmod /modules/crashtest_init.ko at=exit cause={Cause}; rmmod crashtest_init",
        _ => $"echo {Name} > /dev/crashtest-matrix",
    };

    /// <summary>The cell of a name.</summary>
    /// <exception cref="LabException">There is none.</exception>
    public static MatrixCell Parse(string name) => name.Split('@') is [{ } cause, { } context] && All.Concat(Hangs).Contains(new MatrixCell(cause, context))
        ? new MatrixCell(cause, context)
        : throw new LabException($"there is no cell {name}; causes: {string.Join(' ', Causes.Append(Overflow).Append(AtomicSleep).Append(FatalSignal).Concat(Healing).Concat(Hanging.Select(h => h.Cause)).Concat(Settings.Select(s => s.Cause)))}; contexts: {string.Join(' ', Process.Concat(Other).Append(Setting))}");
}
