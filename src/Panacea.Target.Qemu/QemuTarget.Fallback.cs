namespace Panacea.Target.Qemu;

public sealed partial class QemuTarget
{
    /// <summary>Between two looks at the run state.</summary>
    private static readonly TimeSpan ResetStep = TimeSpan.FromMilliseconds(5);

    private bool _keep;

    /// <summary>Resets the machine, which is held; it stands at its very first instruction afterwards, without breakpoints, until it is resumed.</summary>
    /// <param name="patience">How long the reset is waited for.</param>
    /// <exception cref="TargetException">QEMU refused, ended (<c>-no-reboot</c>), or did not reset it in time.</exception>
    public void Reset(TimeSpan patience)
    {
        if (_stopped is null)
            throw new TargetException("only a guest that is held is reset");

        // Firmware has no business at the addresses of a kernel.
        ChangeArmed([]);
        _qmp.Execute("system_reset");

        // The reset comes later, from QEMU's main loop, and makes a machine that stood still one that was never started (RUN_STATE_PRELAUNCH; softmmu/runstate.c, main_loop_should_exit).
        for (long deadline = Environment.TickCount64 + (long)patience.TotalMilliseconds; QueryRunState() is { Status: not "prelaunch" };)
        {
            if (IsGone)
                throw new TargetException("QEMU ended instead of resetting the guest: it was started with -no-reboot");
            if (Environment.TickCount64 >= deadline)
                throw new TargetException("QEMU did not reset the guest in time");
            Thread.Sleep(ResetStep);
        }
    }

    /// <summary>The guest, which is held, stands on purpose: it has no breakpoints any more, giving it up leaves it standing, and <see cref="NoteResumedElsewhere"/> tells when somebody lets it
    /// run.</summary>
    /// <exception cref="TargetException">QEMU refused: nothing has changed, or its breakpoints are gone.</exception>
    public void KeepStopped()
    {
        if (_stopped is null)
            throw new TargetException("only a guest that is held can be kept stopped");
        ChangeArmed([]);
        _keep = _leaveStopped = true;
    }
}
