using System.Buffers.Binary;
using Panacea.Target.Paging;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>Stopping, changing and resuming real guests.</summary>
[Collection("live")]
public sealed class ControlTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_breakpoint_is_hit_again_and_again(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Real.Image(), accel, vcpus: 2);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Real.Point, out QemuStoppedGuest guest);
        Assert.Equal((vm.Pid, 2, accel == "kvm"), (target.Pid, target.VcpuCount, target.IsKvm));
        Assert.Equal("running", target.StateAtAttach.Status);
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal(0, guest.StoppedVcpu);
            Assert.Equal(TinyGuest.Real.Point, guest.ReadRegisters(0).Rip);
            Assert.False(guest.ReadRegisters(0).IsLongMode);
            Assert.Equal("debug", target.QueryRunState().Status);
            ushort before = Word(target);
            guest.Resume();
            QemuStoppedGuest next = TestVm.Hit(target);

            // Each round is one increment: the breakpoint was stepped over, and nothing ran twice.
            Assert.Equal(unchecked((ushort)(before + 1)), Word(target));
            Assert.Throws<TargetException>(() => guest.ReadRegisters(0));
            guest = next;
        }

        target.Disarm();
        guest.Resume();
        Assert.True(target.QueryRunState().IsRunning);
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void Registers_and_memory_can_be_written(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Real.Image(), accel);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Real.Point, out QemuStoppedGuest guest);
        Assert.True(guest.TryWrite(new PhysicalAddress(TinyGuest.Real.Counter), [0x33, 0x12], out _));

        // Written before anything was read in this stop: QEMU forgets such writes under KVM unless it is made to fetch the vCPU's state first.
        guest.WriteRegisters(0, new RegisterWrite(WritableRegister.Rcx, 0x1234), new RegisterWrite(WritableRegister.R15, 0));
        guest.WriteRegister(0, WritableRegister.Rflags, guest.ReadRegisters(0).Rflags | 1);

        // To the increment: the counter goes up though the guest was past it.
        guest.WriteRegister(0, WritableRegister.Rip, 0x7c05);
        Assert.Equal(0x1234ul, guest.ReadRegisters(0).Gpr[Gpr.Rcx]);
        Assert.Equal(1ul, guest.ReadRegisters(0).Rflags & 1);
        Assert.Equal(0x7c05ul, guest.ReadRegisters(0).Rip);
        guest.Resume();
        guest = TestVm.Hit(target);
        Assert.Equal(0x1234, Word(target));
        Assert.Equal(0x1234ul, guest.ReadRegisters(0).Gpr[Gpr.Rcx]);

        // Code too: the increment becomes a decrement, which translated code (TCG) must not hide.
        Assert.True(guest.TryWrite(new PhysicalAddress(0x7c06), [0x0e], out _));
        guest.Resume();
        TestVm.Hit(target);
        Assert.Equal(0x1233, Word(target));
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_running_guest_is_stopped_and_resumed(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Real.Image(), accel, vcpus: 2);
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        Assert.True(target.QueryRunState().IsRunning);
        for (int i = 0; i < 5; i++)
        {
            QemuStoppedGuest guest = target.Stop();
            Assert.Equal(StopReason.Requested, guest.Reason);
            Assert.Same(guest, target.Stop());
            Assert.Same(guest, target.WaitForStop(TimeSpan.Zero).Guest);
            Assert.False(target.QueryRunState().IsRunning);
            Assert.Equal(2, guest.ReadAllRegisters().Count);
            guest.Resume();
            Assert.True(target.QueryRunState().IsRunning);
            Assert.True(target.TryMeasureStop(guest, Patience, out long us));
            Assert.InRange(us, 1, 30_000_000);
        }
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void Four_hardware_breakpoints_and_not_five(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Real.Image(), accel);
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        Assert.Throws<TargetException>(() => target.ArmBreakpoints(1, 2, 3, 4, 5));
        QemuStoppedGuest guest = target.ArmBreakpoints(0xffff_ffff_8100_0000, 0x7fff_0000, 0x7fff_1000, TinyGuest.Real.Point) ?? TestVm.Hit(target);
        Assert.Equal(TinyGuest.Real.Point, guest.ReadRegisters(0).Rip);
        Assert.Null(target.Disarm());
        Assert.Empty(target.Armed);
        guest.Resume();
        Assert.Equal(QemuWaitKind.TimedOut, target.WaitForStop(TimeSpan.FromMilliseconds(1)).Kind);
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void Several_vcpus_hit_and_only_one_is_stepped(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel, vcpus: 3);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest);
        var seen = new HashSet<int>();
        for (int i = 0; i < 2000 && seen.Count < 3; i++)
        {
            seen.Add(guest.StoppedVcpu);
            Assert.Equal(TinyGuest.Long.Point, guest.ReadRegisters(guest.StoppedVcpu).Rip);
            guest.Resume();
            guest = TestVm.Hit(target);
        }

        Assert.Equal(3, seen.Count);
        ulong[] before = [Counter(target, 0), Counter(target, 1), Counter(target, 2)];
        int vcpu = guest.StoppedVcpu;
        guest.StepOver(vcpu); // nop
        guest.StepOver(vcpu); // jmp
        Assert.Equal(TinyGuest.Long.Loop, guest.ReadRegisters(vcpu).Rip);
        guest.StepOver(vcpu); // inc
        for (int i = 0; i < 3; i++)
            Assert.Equal(before[i] + (i == vcpu ? 1ul : 0), Counter(target, i));
        Assert.Equal(TinyGuest.Long.Point, guest.ReadRegisters(vcpu).Rip);
        Assert.NotEqual(-1, guest.FindVcpuAt(0, TinyGuest.Long.Point));
        Assert.Equal(-1, guest.FindVcpuAt(0x1234));
        target.Disarm();
        guest.Resume();
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void Page_tables_of_a_vcpu_are_walked(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest);
        AddressSpace space = guest.AddressSpaceOf(0)!;
        Assert.Equal((0x10000ul, PagingMode.FourLevel), (space.Root.Value, space.Mode));
        Assert.True(space.TryTranslate(new VirtualAddress(0x8088), out Translation t, out _));
        Assert.Equal((0x8088ul, 2ul << 20), (t.Physical.Value, t.PageSize));
        Assert.Equal(0xc337_048du, space.ReadUInt32(new VirtualAddress(TinyGuest.Long.Add + 1), "code"));
        byte[] viaStub = new byte[32], direct = new byte[32];
        target.Gdb.ReadVirtual(0, TinyGuest.Long.Loop, viaStub);
        Assert.True(space.TryRead(new VirtualAddress(TinyGuest.Long.Loop), direct, out _));
        Assert.Equal(direct, viaStub);
        Assert.False(space.TryRead(new VirtualAddress(0x20_0000), direct, out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotPresent, fault.Kind);

        // The local APIC: mapped, but no RAM.
        Assert.False(space.TryRead(new VirtualAddress(0xfee0_0020), direct, out fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotBacked, 0xfee0_0020, IsPhysical: true), fault);
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_function_of_the_guest_is_called_on_one_vcpu(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Long.Image(), accel, vcpus: 2);
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Long.Point, out QemuStoppedGuest guest);
        int vcpu = guest.StoppedVcpu;
        VcpuRegisters before = guest.ReadRegisters(vcpu);
        ulong[] counters = [Counter(target, 0), Counter(target, 1)];
        Assert.Equal(5ul, guest.CallFunction(vcpu, new VirtualAddress(TinyGuest.Long.Add), 2, 3));
        Assert.Equal(before, guest.ReadRegisters(vcpu));

        // Away from the breakpoint, and with all four in use.
        target.ArmBreakpoints(0x1000, 0x2000, 0x3000, TinyGuest.Long.Point);
        guest.StepOver(vcpu);
        Assert.Equal(0xffff_ffff_ffff_fffful, guest.CallFunction(vcpu, new VirtualAddress(TinyGuest.Long.Add), 1, 0xffff_ffff_ffff_fffe));
        Assert.Equal(4, target.Armed.Count);
        for (int i = 0; i < 2; i++)
            Assert.Equal(counters[i], Counter(target, i));

        target.CommandTimeout = TimeSpan.FromMilliseconds(300);
        before = guest.ReadRegisters(vcpu);
        Assert.Throws<TargetException>(() => guest.CallFunction(vcpu, new VirtualAddress(TinyGuest.Long.Spin)));
        target.CommandTimeout = Patience;
        Assert.Equal(before, guest.ReadRegisters(vcpu));
        guest.Resume();
        guest = TestVm.Hit(target);
        Assert.Equal(TinyGuest.Long.Point, guest.ReadRegisters(guest.StoppedVcpu).Rip);
    }

    [Fact]
    public void A_wait_ends_by_wake_by_reset_and_by_the_end_of_qemu()
    {
        using var vm = new TestVm(TinyGuest.Real.Image(), more: TestVm.Bios); // Attached to while firmware rearranges memory.
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        target.Wake();
        Assert.Equal(QemuWaitKind.Woken, target.WaitForStop(Patience).Kind);
        Assert.Equal(QemuWaitKind.TimedOut, target.WaitForStop(TimeSpan.Zero).Kind);

        target.Qmp.Execute("system_reset");
        Assert.Equal(QemuWaitKind.Woken, target.WaitForStop(Patience).Kind);
        var names = new List<string>();
        while (target.TryTakeEvent(out QmpEvent? e))
            names.Add(e!.Name);
        Assert.Contains("RESET", names);
        target.RefreshMemory();
        Assert.True(target.Memory.TryRead(new PhysicalAddress(0), new byte[16], out _));

        vm.Kill();
        QemuWait wait;
        while ((wait = target.WaitForStop(Patience)).Kind == QemuWaitKind.Woken)
        {
        }

        Assert.Equal(QemuWaitKind.Gone, wait.Kind);
        Assert.True(SpinWait.SpinUntil(() => target.IsGone, Patience));
        Assert.False(target.Memory.TryRead(new PhysicalAddress(0), new byte[16], out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.Gone, fault.Kind);
        Assert.Throws<QmpConnectionException>(() => target.QueryRunState());
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("kvm")]
    public void A_guest_paused_by_its_operator_stays_paused(string accel)
    {
        Accelerators.Need(accel);
        using var vm = new TestVm(TinyGuest.Real.Image(), accel, more: "-S");
        using (QemuTarget target = QemuTarget.Attach(vm.Spec))
        {
            Assert.Equal("prelaunch", target.StateAtAttach.Status);
            Assert.Null(target.FoundStopped);
            Assert.Equal(StopReason.Other, target.Stopped!.Reason);
            target.ArmBreakpoints(TinyGuest.Real.Point);
            Assert.False(target.QueryRunState().IsRunning);
        }

        using (QmpClient qmp = QmpClient.Connect(vm.QmpPath))
        {
            Assert.False(qmp.Execute("query-status").GetProperty("running").GetBoolean());
            qmp.Execute("cont");
            Assert.DoesNotContain("label\":\"gdb\"", qmp.Execute("query-chardev").GetRawText(), StringComparison.Ordinal);
        }

        // The breakpoint is gone: the guest loops for ever now.
        using QemuTarget again = QemuTarget.Attach(vm.Spec);
        Assert.Equal("running", again.StateAtAttach.Status);
        Assert.Equal(QemuWaitKind.TimedOut, again.WaitForStop(TimeSpan.FromMilliseconds(50)).Kind);
    }

    private static ushort Word(QemuTarget target)
    {
        byte[] raw = new byte[2];
        Assert.True(target.Memory.TryRead(new PhysicalAddress(TinyGuest.Real.Counter), raw, out MemoryFault fault), fault.ToString());
        return BinaryPrimitives.ReadUInt16LittleEndian(raw);
    }

    private static ulong Counter(QemuTarget target, int vcpu)
    {
        byte[] raw = new byte[8];
        Assert.True(target.Memory.TryRead(new PhysicalAddress(TinyGuest.Long.Counters + (8 * (ulong)vcpu)), raw, out MemoryFault fault), fault.ToString());
        return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }
}
