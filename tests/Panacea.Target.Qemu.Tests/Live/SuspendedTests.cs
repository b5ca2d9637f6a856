using System.Diagnostics;
using System.Globalization;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>A QEMU that is suspended (SIGSTOP, a frozen cgroup, storage that hangs) answers nothing, and does everything that it was asked for when it goes on: also what nobody waits for any more.</summary>
[Collection("live")]
public sealed class SuspendedTests
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(200);
    private static readonly QemuAttachOptions Impatient = new() { Qmp = new QmpOptions { CommandTimeout = Short, GreetingTimeout = Short }, Gdb = new GdbOptions { CommandTimeout = Short } };

    public enum When
    {
        /// <summary>Nobody wants anything of it.</summary>
        Idle,

        /// <summary>A stop was asked for.</summary>
        StopAsked,

        /// <summary>The guest stands at a breakpoint.</summary>
        Held,

        /// <summary>The guest stands at a breakpoint, and was to be resumed.</summary>
        Resuming,

        /// <summary>An operator has paused the guest.</summary>
        Paused,
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_stop_that_comes_late_is_found_by_the_next_wait(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel, vcpus: 2);
        using QemuTarget target = QemuTarget.Attach(vm.Spec, Impatient);
        for (int round = 0; round < 3; round++)
        {
            Signal(vm, "STOP");
            for (int asked = 0; asked <= round; asked++)
                Assert.Equal(GdbFailure.Late, Assert.Throws<GdbException>(() => target.Stop()).Kind);
            Assert.Null(target.Stopped);
            Signal(vm, "CONT");
            QemuStoppedGuest guest = Awaited(target);
            Assert.Equal(StopReason.Requested, guest.Reason);
            Assert.Equal("paused", target.QueryRunState().Status);
            guest.Resume();

            // The stop was asked for once, however often somebody has waited for it.
            Assert.Equal(QemuWaitKind.TimedOut, Quiet(target).Kind);
            Assert.True(target.QueryRunState().IsRunning);
        }

        // Whoever asks again when it goes on gets the stop that was asked for before.
        Signal(vm, "STOP");
        Assert.Throws<GdbException>(() => target.Stop());
        Signal(vm, "CONT");
        target.CommandTimeout = TimeSpan.FromSeconds(30);
        target.Stop().Resume();
        Assert.Equal(QemuWaitKind.TimedOut, Quiet(target).Kind);
    }

    [Theory]
    [InlineData("tcg", When.Idle)]
    [InlineData("tcg", When.StopAsked)]
    [InlineData("tcg", When.Held)]
    [InlineData("tcg", When.Resuming)]
    [InlineData("tcg", When.Paused)]
    [InlineData("kvm", When.StopAsked)]
    [InlineData("kvm", When.Held)]
    public void A_guest_that_is_given_up_meanwhile_runs_when_it_goes_on(string accel, When when)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel, vcpus: 2);
        QemuTarget target;
        if (when is When.Held or When.Resuming)
        {
            target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest, Impatient);
            Signal(vm, "STOP");
            if (when == When.Resuming)
                Assert.Throws<GdbException>(guest.Resume);
        }
        else
        {
            target = QemuTarget.Attach(vm.Spec, Impatient);
            if (when == When.Paused)
            {
                vm.Operator("stop");
                Assert.Equal(StopReason.Other, Awaited(target).Reason);
            }
            else
            {
                // Where the guest comes by all the time: whatever is left there stops it.
                target.ArmBreakpoints(TinyGuest.Long.Point + 0x1000);
            }

            Signal(vm, "STOP");
            if (when == When.StopAsked)
                Assert.Throws<GdbException>(() => target.Stop());
        }

        target.Dispose();
        Signal(vm, "CONT");
        bool runs = when != When.Paused;
        var patience = Stopwatch.StartNew();
        while (vm.Operator("query-status").Contains("\"running\": true", StringComparison.Ordinal) != runs)
            Assert.True(patience.Elapsed < TimeSpan.FromSeconds(30), $"{when}: {vm.Operator("query-status")}");

        // Nothing that was left behind stops it later, and the VM can be guarded again.
        using QemuTarget again = QemuTarget.Attach(vm.Spec);
        Assert.Equal(runs ? "running" : "paused", again.StateAtAttach.Status);
        if (runs)
            Assert.Equal(QemuWaitKind.TimedOut, Quiet(again).Kind);
    }

    private static QemuStoppedGuest Awaited(QemuTarget target)
    {
        var patience = Stopwatch.StartNew();
        while (patience.Elapsed < TimeSpan.FromSeconds(30))
        {
            if (target.WaitForStop(TimeSpan.FromSeconds(1)) is { Kind: QemuWaitKind.Stopped } wait)
                return wait.Guest!;
        }

        throw new TimeoutException("the guest did not stop");
    }

    /// <summary>Nothing may happen for a while.</summary>
    private static QemuWait Quiet(QemuTarget target) => target.WaitForStop(TimeSpan.FromMilliseconds(100));

    private static void Signal(TestVm vm, string signal)
    {
        using Process kill = Process.Start("kill", ["-s", signal, vm.Pid.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
        Assert.Equal(0, kill.ExitCode);
    }
}
