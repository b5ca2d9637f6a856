using System.Buffers.Binary;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Target.Qemu.Tests.Live;

[Collection("live")]
public sealed class ControlTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void A_breakpoint_is_hit_and_the_guest_goes_on()
    {
        using var vm = new TestVm(BootSector.Long.Image(), vcpus: 2);
        using QemuTarget target = vm.AttachAndReach(BootSector.Long.Point, out QemuStoppedGuest guest);
        Assert.Equal(vm.Pid, target.Pid);
        Assert.Equal(2, target.VcpuCount);
        Assert.False(target.IsKvm);
        VcpuRegisters registers = guest.ReadRegisters(guest.StoppedVcpu);
        Assert.Equal(BootSector.Long.Point, registers.Rip);
        Assert.True(registers.IsLongMode);
        Assert.Equal(0x10000ul, registers.Cr3);
        ulong before = Counter(target, guest.StoppedVcpu);
        guest.Resume();
        Assert.True(target.TryMeasureStop(guest, s_patience, out long us));
        Assert.InRange(us, 1, 30_000_000);

        QemuStoppedGuest again = TestVm.Hit(target);
        Assert.True(Counter(target, again.StoppedVcpu) > 0);
        Assert.True(Counter(target, guest.StoppedVcpu) >= before);
        Assert.Throws<TargetException>(() => guest.ReadRegisters(0));
        target.Disarm();
        again.Resume();
        target.Dispose();
        AssertRuns(vm);
    }

    private static ulong Counter(QemuTarget target, int vcpu)
    {
        byte[] raw = new byte[8];
        Assert.True(target.Memory.TryRead(new PhysicalAddress(BootSector.Long.Counters + (8 * (ulong)vcpu)), raw, out MemoryFault fault), fault.ToString());
        return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }

    private static void AssertRuns(TestVm vm)
    {
        using Qmp.QmpClient qmp = Panacea.Target.Qemu.Qmp.QmpClient.Connect(vm.QmpPath);
        Assert.Equal("running", qmp.Execute("query-status").GetProperty("status").GetString());
    }
}
