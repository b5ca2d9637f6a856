using System.Buffers.Binary;
using System.Net.Sockets;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>However a guard goes away, the guest must be able to go on.</summary>
[Collection("live")]
public sealed class RescueTests
{
    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_guest_left_at_a_breakpoint_is_found_there_and_carried_on(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel, vcpus: 2);
        int vcpu = DieAtBreakpoint(vm);
        Assert.Contains("\"debug\"", vm.Operator("query-status"), StringComparison.Ordinal);

        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        Assert.Equal("debug", target.StateAtAttach.Status);
        QemuStoppedGuest guest = target.FoundStopped!;
        Assert.Equal(StopReason.FoundStopped, guest.Reason);
        Assert.NotEqual(-1, guest.FindVcpuAt(TinyGuest.Long.Point));
        Assert.Equal(TinyGuest.Long.Point, guest.ReadRegisters(vcpu).Rip);
        Assert.Equal(7ul, guest.CallFunction(vcpu, new VirtualAddress(TinyGuest.Long.Add), 3, 4));
        guest.Resume();

        // The dead guard's breakpoint is gone: nothing stops the guest now.
        Assert.True(target.QueryRunState().IsRunning);
        Assert.Equal(QemuWaitKind.TimedOut, target.WaitForStop(TimeSpan.FromMilliseconds(20)).Kind);
        QemuStoppedGuest again = target.ArmBreakpoints(TinyGuest.Long.Point) ?? TestVm.Hit(target);
        Assert.Equal(StopReason.Breakpoint, again.Reason);
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void Disposing_lets_a_found_guest_run(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel);
        DieAtBreakpoint(vm);
        QemuTarget.Attach(vm.Spec).Dispose();
        Assert.Contains("\"running\": true", vm.Operator("query-status"), StringComparison.Ordinal);
        Assert.DoesNotContain("\"label\": \"gdb\"", vm.Operator("query-chardev"), StringComparison.Ordinal);
    }

    [Fact]
    public void Rescue_frees_a_guest_without_attaching()
    {
        using var vm = new TestVm(TinyGuest.Long.Image());
        DieAtBreakpoint(vm);
        Assert.True(Rescue.Free(vm.QmpPath).IsRunning);

        // Not stopped again by the stale breakpoint, which every turn of the loop would hit.
        vm.Operator("stop");
        Assert.Contains("\"paused\"", vm.Operator("query-status"), StringComparison.Ordinal);
        Assert.Equal("paused", Rescue.Free(vm.QmpPath).Status);
        vm.Operator("cont");
        Assert.True(Rescue.Free(vm.QmpPath).IsRunning);
    }

    [Fact]
    public void A_dead_guards_stub_without_its_socket_is_replaced()
    {
        using var vm = new TestVm(TinyGuest.Long.Image());
        DieAtBreakpoint(vm);
        using (QmpClient qmp = QmpClient.Connect(vm.QmpPath))
            RuntimeDirectory.RemoveSession(GdbStub.FindFree(qmp, vm.Pid)!.SessionDirectory!);
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        Assert.Equal(TinyGuest.Long.Point, target.FoundStopped!.ReadRegisters(0).Rip);
    }

    [Fact]
    public void Disposing_while_the_guest_is_held_lets_it_run()
    {
        using var vm = new TestVm(TinyGuest.Long.Image(), vcpus: 2);
        using (QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out _))
            Assert.False(target.QueryRunState().IsRunning);
        Assert.Contains("\"running\": true", vm.Operator("query-status"), StringComparison.Ordinal);
        Assert.DoesNotContain("\"label\": \"gdb\"", vm.Operator("query-chardev"), StringComparison.Ordinal);
    }

    [Fact]
    public void Disposing_over_a_broken_stub_connection_still_lets_the_guest_run_without_breakpoints()
    {
        using var vm = new TestVm(TinyGuest.Long.Image(), vcpus: 2);
        using (QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest))
        {
            target.Gdb.Dispose();
            Assert.Throws<GdbException>(() => guest.ReadRegisters(0));
        }

        vm.AwaitEvent("RESUME");
        Assert.Contains("\"running\": true", vm.Operator("query-status"), StringComparison.Ordinal);
        using QemuTarget again = QemuTarget.Attach(vm.Spec);
        Assert.Equal("running", again.StateAtAttach.Status);
    }

    [Fact]
    public void An_operator_who_resumes_behind_our_back_is_noticed_and_the_guest_runs_in_the_end()
    {
        using var vm = new TestVm(TinyGuest.Long.Image());
        using (QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest))
        {
            guest.ReadRegisters(0);
            target.Disarm();
            vm.Operator("cont");
            Assert.Throws<GdbException>(() => guest.WriteRegister(0, WritableRegister.Rax, 1));
        }

        Assert.Contains("\"running\": true", vm.Operator("query-status"), StringComparison.Ordinal);
    }

    [Fact]
    public void An_operators_stop_is_told_apart()
    {
        using var vm = new TestVm(TinyGuest.Long.Image());
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        vm.Operator("stop");
        QemuWait wait = target.WaitForStop(TimeSpan.FromSeconds(30));
        Assert.Equal(QemuWaitKind.Stopped, wait.Kind);
        Assert.Equal(StopReason.Other, wait.Guest!.Reason);
        Assert.Equal("paused", target.QueryRunState().Status);
        wait.Guest.Resume();
    }

    [Fact]
    public void Two_guards_on_one_vm_are_refused_and_the_second_names_the_first()
    {
        using var vm = new TestVm(TinyGuest.Long.Image(), more: ["-qmp", "unix:$DIR/qmp2,server=on,wait=off"]);
        using QemuTarget first = QemuTarget.Attach(vm.Spec);
        var e = Assert.Throws<AttachException>(() => QemuTarget.Attach(new QemuTargetSpec(Path.Combine(vm.Folder, "qmp2"), 0)));
        Assert.Equal(AttachFailure.AlreadyGuarded, e.Reason);
        Assert.Contains($"pid {Environment.ProcessId}", e.Message, StringComparison.Ordinal);
        Assert.True(first.QueryRunState().IsRunning);

        var options = new QemuAttachOptions { Qmp = new QmpOptions { GreetingTimeout = TimeSpan.FromMilliseconds(200) } };
        e = Assert.Throws<AttachException>(() => QemuTarget.Attach(vm.Spec, options));
        Assert.Equal(AttachFailure.AlreadyGuarded, e.Reason);
        Assert.Contains($"pid {Environment.ProcessId}", e.Message, StringComparison.Ordinal);

        first.Dispose();
        using QemuTarget second = QemuTarget.Attach(new QemuTargetSpec(null, vm.Pid));
        Assert.Equal(vm.Pid, second.Pid);
    }

    [Fact]
    public void A_stub_that_is_open_already_is_used_and_left_open_and_a_debugger_on_it_is_respected()
    {
        using var vm = new TestVm(TinyGuest.Long.Image(), more: ["-gdb", "unix:$DIR/gdb,server=on,wait=off"]);
        QemuTarget.Attach(vm.Spec).Dispose();
        Assert.Contains("disconnected:unix:", vm.Operator("query-chardev"), StringComparison.Ordinal);

        using (var debugger = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            debugger.Connect(new UnixDomainSocketEndPoint(Path.Combine(vm.Folder, "gdb")));
            vm.AwaitEvent("STOP");
            var e = Assert.Throws<AttachException>(() => QemuTarget.Attach(vm.Spec));
            Assert.Equal(AttachFailure.StubUnreachable, e.Reason);
            Assert.Contains("another debugger", e.Message, StringComparison.Ordinal);
            Assert.Contains("\"paused\"", vm.Operator("query-status"), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_stub_on_a_tcp_port_of_loopback_is_used()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
        int port = ((System.Net.IPEndPoint)listener.LocalEndPoint!).Port;
        listener.Close();
        using var vm = new TestVm(TinyGuest.Long.Image(), more: ["-gdb", $"tcp:127.0.0.1:{port}"]);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest);
        Assert.Equal(TinyGuest.Long.Point, guest.ReadRegisters(0).Rip);
    }

    /// <summary>What <c>kill -9</c> of a guard at a death point leaves: the guest at a breakpoint, the stub open, nobody connected.</summary>
    private static int DieAtBreakpoint(TestVm vm)
    {
        using QmpClient qmp = QmpClient.Connect(vm.QmpPath);
        GdbStub stub = GdbStub.FindOrOpen(qmp, vm.Pid);
        using GdbClient gdb = GdbClient.Connect(stub.EndPoint);
        gdb.Handshake();
        gdb.ChangeBreakpoints([], [TinyGuest.Long.Point]);
        gdb.Continue();
        Assert.Equal(GdbWait.Stopped, gdb.WaitForStop(-1, TimeSpan.FromSeconds(30), out StopReply reply));
        return gdb.VcpuOf(reply.Thread);
    }
}
