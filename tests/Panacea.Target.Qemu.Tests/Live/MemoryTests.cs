using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Live;

[Collection("live")]
public sealed class MemoryTests
{
    private const ulong GiB = 1UL << 30;

    [Theory]
    [InlineData("memfd", true)]
    [InlineData("file", true)]
    [InlineData("memfd", false)]
    [InlineData("private", false)]
    [InlineData("anonymous", false)]
    public void Six_gibibytes_with_the_hole_are_read_and_written_and_stay_sparse(string kind, bool mapped)
    {
        string[] backing = kind switch
        {
            "memfd" => ["-object", "memory-backend-memfd,id=mem,size=6G,share=on", "-machine", "pc,memory-backend=mem"],
            "file" => ["-object", "memory-backend-file,id=mem,size=6G,share=on,mem-path=$DIR/ram", "-machine", "pc,memory-backend=mem"],
            "private" => ["-object", "memory-backend-file,id=mem,size=6G,share=off,mem-path=$DIR/ram", "-machine", "pc,memory-backend=mem"],
            _ => [],
        };
        using var vm = new TestVm(TinyGuest.Long.Image(), more: ["-m", "6G", .. backing]);
        using QemuTarget target = vm.AttachAndReach(
            TinyGuest.Long.Point, out QemuStoppedGuest guest, new QemuAttachOptions { AllowSharedMapping = mapped || kind is not "memfd" });
        QemuMemory memory = target.Memory;
        Assert.Equal(mapped, memory.IsShared);

        // 3 GiB below the hole (the pc machine's layout), the rest from 4 GiB up.
        Assert.Equal(new PhysicalRange(new PhysicalAddress(4 * GiB), 3 * GiB), memory.Ranges[^1]);
        Assert.Contains(memory.Ranges, r => r.Start.Value == 0x10_0000 && r.End.Value == 3 * GiB);
        Fails(memory, 3 * GiB);
        Fails(memory, 0xfee0_0000);
        Fails(memory, 7 * GiB);
        Fails(memory, (3 * GiB) - 4, at: 3 * GiB);
        Fails(memory, ulong.MaxValue - 3);

        long before = ResidentKiB(vm);
        byte[] pattern = [1, 2, 3, 4, 5, 6, 7, 8], back = new byte[8];
        foreach (ulong address in (ulong[])[0x9000, 0x2000_0000 + 0xffc, (3 * GiB) - 8, 4 * GiB, (5 * GiB) + 0x123_4567, (7 * GiB) - 8])
        {
            Assert.True(guest.TryWrite(new PhysicalAddress(address), pattern, out MemoryFault fault), fault.ToString());
            Assert.True(memory.TryRead(new PhysicalAddress(address), back, out _));
            Assert.Equal(pattern, back);
            string said = target.Qmp.HumanMonitor($"xp /8xb 0x{address:x}");
            Assert.Contains("0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08", said, StringComparison.Ordinal);
        }

        // Half in RAM, half in the hole: nothing is written.
        Assert.False(guest.TryWrite(new PhysicalAddress((3 * GiB) - 4), [9, 9, 9, 9, 9, 9, 9, 9], out MemoryFault half));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotBacked, 3 * GiB, IsPhysical: true), half);
        Assert.True(memory.TryRead(new PhysicalAddress((3 * GiB) - 8), back, out _));
        Assert.Equal(pattern, back);

        // Everything that holds data is found and read without making the rest exist.
        IReadOnlyList<PhysicalRange> extents = memory.PopulatedExtents();
        foreach (ulong address in (ulong[])[0x9000, (3 * GiB) - 8, 4 * GiB, (7 * GiB) - 8])
            Assert.Contains(extents, e => address >= e.Start.Value && address < e.End.Value);
        if (mapped || kind == "anonymous")
        {
            Assert.InRange(extents.Aggregate(0ul, (sum, e) => sum + e.Length), 1ul, 256ul << 20);
            byte[] page = new byte[4096];
            foreach (PhysicalRange extent in extents)
            {
                for (ulong done = 0; done + 4096 <= extent.Length; done += 4096)
                    Assert.True(memory.TryRead(extent.Start.Plus(done), page, out _));
            }

            Assert.InRange(ResidentKiB(vm) - before, long.MinValue, 300 << 10);
        }

        for (int i = 1; i < extents.Count; i++)
            Assert.True(extents[i].Start.Value > extents[i - 1].End.Value);
    }

    [Fact]
    public void Rom_is_read_and_never_written()
    {
        using var vm = new TestVm(TinyGuest.Real.Image());
        using QemuTarget target = vm.AttachAndReach(TinyGuest.Real.Point, out QemuStoppedGuest guest);
        byte[] reset = new byte[5];
        Assert.True(target.Memory.TryRead(new PhysicalAddress(0xffff_fff0), reset, out _));
        Assert.Equal("EA001000F0", Convert.ToHexString(reset));
        Assert.False(guest.TryWrite(new PhysicalAddress(0xffff_fff0), [0], out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotBacked, fault.Kind);
        Assert.True(target.Memory.TryRead(new PhysicalAddress(0xffff_fff0), reset, out _));
        Assert.Equal(0xea, reset[0]);
    }

    [Fact]
    public void A_framebuffer_is_no_guest_ram()
    {
        using var vm = new TestVm(TinyGuest.Real.Image(), more: ["-device", "VGA,vgamem_mb=16", "-device", "ivshmem-plain,memdev=shm", "-object", "memory-backend-memfd,id=shm,size=4M,share=on"]);
        using QemuTarget target = QemuTarget.Attach(vm.Spec);
        Assert.Equal(64ul << 20, target.Memory.Ranges[^1].End.Value);
    }

    [Fact]
    public void Reads_fail_as_gone_after_qemu_has_ended()
    {
        using var vm = new TestVm(TinyGuest.Real.Image());
        using QmpClient qmp = QmpClient.Connect(vm.QmpPath);
        using QemuMemory memory = QemuMemoryMapper.Open(vm.Pid, QemuMemoryMapper.Locate(qmp), allowShared: false);
        Assert.True(memory.TryRead(new PhysicalAddress(0x7c00), new byte[2], out _));
        vm.Kill();
        Assert.False(memory.TryRead(new PhysicalAddress(0x7c00), new byte[2], out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.Gone, fault.Kind);
    }

    private static void Fails(QemuMemory memory, ulong address, ulong? at = null)
    {
        Assert.False(memory.TryRead(new PhysicalAddress(address), new byte[8], out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotBacked, at ?? address, IsPhysical: true), fault);
    }

    private static long ResidentKiB(TestVm vm)
    {
        string line = File.ReadLines($"/proc/{vm.Pid}/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture);
    }
}
