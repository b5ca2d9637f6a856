using Panacea.Target.Qemu.Gdb;

namespace Panacea.Target.Qemu;

public sealed partial class QemuTarget
{
    /// <summary>Leaves the guest running without breakpoints, by whichever way still works.</summary>
    private void LetGo()
    {
        try
        {
            if (!_gdb.IsBroken)
            {
                if (_stopped == null)
                    Stop();
                if (_keep || (_leaveStopped && _stopped is { Reason: not StopReason.FoundStopped }))
                {
                    _gdb.ChangeBreakpoints(_armed, []);
                    _gdb.LeavePhysicalMode();
                }
                else
                {
                    _gdb.Detach(_armed);
                }

                return;
            }
        }
        catch (TargetException)
        {
            // The connection is of no use: a new one may be.
        }

        // A QEMU that is suspended reads it when it goes on, long after we have gone.
        _gdb.Abandon(_armed, resume: !_leaveStopped);
        _gdb.Dispose();
        try
        {
            Rescue.ClearAndResume(_qmp, Pid, _options.Gdb, resume: !_leaveStopped);
        }
        catch (TargetException)
        {
            // QEMU is gone, or answers nothing at all: nothing is left to try.
        }
    }
}
