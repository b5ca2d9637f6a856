using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>A guest while every vCPU is held by its guard. Ends with <see cref="Resume"/>.</summary>
public interface IHeldGuest : IStoppedGuest
{
    /// <summary>Why the guest stands still.</summary>
    StopReason Reason { get; }

    /// <summary>The guest has been resumed; this object is of no further use.</summary>
    bool IsResumed { get; }

    /// <summary>The registers of all vCPUs.</summary>
    IReadOnlyList<VcpuRegisters> ReadAllRegisters();

    /// <summary>The first vCPU whose instruction pointer is one of <paramref name="addresses"/>, or -1.</summary>
    int FindVcpuAt(params ReadOnlySpan<ulong> addresses);

    /// <summary>Lets one vCPU execute the instruction that it stands at; the others stay held.</summary>
    void StepOver(int vcpu);

    /// <summary>Lets all vCPUs run. Where the vCPU that hit a breakpoint still stands at it, it is stepped over first.</summary>
    void Resume();

    /// <summary>Lets one vCPU run; the others stay held until the guest has stopped again and is resumed. One of them that stands at an armed breakpoint reports it then.</summary>
    void ResumeOnly(int vcpu);
}

/// <summary>What came of <see cref="IGuestControl.WaitForStop"/>.</summary>
/// <param name="Kind">How it ended.</param>
/// <param name="Guest">The stopped guest, with <see cref="QemuWaitKind.Stopped"/> only.</param>
public readonly record struct GuestWait(QemuWaitKind Kind, IHeldGuest? Guest);

/// <summary>What a guard asks of a VM, so that a guard can be tried on a VM that fails at any step. <see cref="QemuTarget"/> says what each member means and throws.</summary>
public interface IGuestControl : IDisposable
{
    /// <inheritdoc cref="QemuTarget.Pid"/>
    int Pid { get; }

    /// <inheritdoc cref="QemuTarget.VcpuCount"/>
    int VcpuCount { get; }

    /// <inheritdoc cref="QemuTarget.Memory"/>
    IGuestMemory Memory { get; }

    /// <summary>Guest memory is read through a shared mapping.</summary>
    bool IsMemoryShared { get; }

    /// <inheritdoc cref="QemuTarget.IsGone"/>
    bool IsGone { get; }

    /// <inheritdoc cref="QemuTarget.Stopped"/>
    IHeldGuest? Stopped { get; }

    /// <inheritdoc cref="QemuTarget.FoundStopped"/>
    IHeldGuest? FoundStopped { get; }

    /// <inheritdoc cref="QemuTarget.Wake"/>
    void Wake();

    /// <inheritdoc cref="QemuTarget.WaitForStop"/>
    GuestWait WaitForStop(TimeSpan timeout);

    /// <inheritdoc cref="QemuTarget.HasNews"/>
    bool HasNews { get; }

    /// <inheritdoc cref="QemuTarget.Stop"/>
    IHeldGuest Stop();

    /// <inheritdoc cref="QemuTarget.ArmBreakpoints"/>
    IHeldGuest? ArmBreakpoints(params ReadOnlySpan<ulong> addresses);

    /// <inheritdoc cref="QemuTarget.Disarm"/>
    IHeldGuest? Disarm();

    /// <inheritdoc cref="QemuTarget.NoteResumedElsewhere"/>
    bool NoteResumedElsewhere();

    /// <inheritdoc cref="QemuTarget.Reset"/>
    void Reset(TimeSpan patience);

    /// <inheritdoc cref="QemuTarget.KeepStopped"/>
    void KeepStopped();

    /// <inheritdoc cref="QemuTarget.RefreshMemory"/>
    void RefreshMemory();

    /// <inheritdoc cref="QemuTarget.FlushDisks"/>
    void FlushDisks();

    /// <inheritdoc cref="QemuTarget.TryMeasureStop"/>
    bool TryMeasureStop(IHeldGuest guest, TimeSpan patience, out long microseconds);

    /// <inheritdoc cref="QemuTarget.TryTakeEvent"/>
    bool TryTakeEvent(out QmpEvent? e);

    /// <inheritdoc cref="QemuTarget.VcpuTimes"/>
    IReadOnlyList<TimeSpan>? VcpuTimes();

    /// <inheritdoc cref="QemuTarget.IsSuspended"/>
    bool IsSuspended();

    /// <summary>QEMU's monitor's answer to a command for people.</summary>
    string HumanMonitor(string command);
}

public sealed partial class QemuStoppedGuest : IHeldGuest;

public sealed partial class QemuTarget : IGuestControl
{
    IGuestMemory IGuestControl.Memory => Memory;

    bool IGuestControl.IsMemoryShared => Memory.IsShared;

    IHeldGuest? IGuestControl.Stopped => Stopped;

    IHeldGuest? IGuestControl.FoundStopped => FoundStopped;

    GuestWait IGuestControl.WaitForStop(TimeSpan timeout)
    {
        QemuWait wait = WaitForStop(timeout);
        return new GuestWait(wait.Kind, wait.Guest);
    }

    IHeldGuest IGuestControl.Stop() => Stop();

    IHeldGuest? IGuestControl.ArmBreakpoints(params ReadOnlySpan<ulong> addresses) => ArmBreakpoints(addresses);

    IHeldGuest? IGuestControl.Disarm() => Disarm();

    bool IGuestControl.TryMeasureStop(IHeldGuest guest, TimeSpan patience, out long microseconds)
    {
        microseconds = 0;
        return guest is QemuStoppedGuest stop && TryMeasureStop(stop, patience, out microseconds);
    }

    string IGuestControl.HumanMonitor(string command) => Qmp.HumanMonitor(command);
}
