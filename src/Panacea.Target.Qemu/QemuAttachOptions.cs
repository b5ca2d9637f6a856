using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>How to attach to a VM.</summary>
public sealed record QemuAttachOptions
{
    /// <summary>Limits and patience of the QMP connection.</summary>
    public QmpOptions Qmp { get; init; } = new();

    /// <summary>Limits and patience of the gdb connection.</summary>
    public GdbOptions Gdb { get; init; } = new();

    /// <summary>Map the guest's RAM where QEMU shares it; false always goes through <c>process_vm_readv</c>.</summary>
    public bool AllowSharedMapping { get; init; } = true;
}

/// <summary>QEMU's run state (<c>query-status</c>; QEMU qapi/run-state.json).</summary>
/// <param name="Status">QEMU's word: running, paused, debug, shutdown, guest-panicked, internal-error, …</param>
/// <param name="IsRunning">The vCPUs run.</param>
public sealed record QemuRunState(string Status, bool IsRunning)
{
    /// <summary>Stopped by a debugger: at a breakpoint, or where a debugger left it.</summary>
    public bool IsDebug => Status == "debug";

    /// <summary>QEMU will not let it run again without a reset (runstate_needs_reset).</summary>
    public bool NeedsReset => Status is "internal-error" or "shutdown";
}

/// <summary>Why a guest stands still.</summary>
public enum StopReason
{
    /// <summary>A breakpoint was hit.</summary>
    Breakpoint,

    /// <summary>Panacea asked for it.</summary>
    Requested,

    /// <summary>It was found in state <c>debug</c> when Panacea attached: left at a breakpoint by a guard that died.</summary>
    FoundStopped,

    /// <summary>Something else stopped it: an operator, an I/O error, a watchdog, a shutdown that QEMU holds back.</summary>
    Other,
}

/// <summary>How a wait ended.</summary>
public enum QemuWaitKind
{
    /// <summary>The guest stands still; <see cref="QemuWait.Guest"/> is at hand.</summary>
    Stopped,

    /// <summary>A QMP event is to be taken, or <see cref="QemuTarget.Wake"/> was called.</summary>
    Woken,

    /// <summary>The time is over.</summary>
    TimedOut,

    /// <summary>QEMU has ended or is ending.</summary>
    Gone,
}

/// <summary>What came of <see cref="QemuTarget.WaitForStop"/>.</summary>
/// <param name="Kind">How it ended.</param>
/// <param name="Guest">The stopped guest, with <see cref="QemuWaitKind.Stopped"/> only.</param>
public readonly record struct QemuWait(QemuWaitKind Kind, QemuStoppedGuest? Guest);
