using System.Text;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;
using Panacea.TestKit.Memory;

namespace Panacea.Kernel.Tests.Image;

/// <summary>The kernel in a capture: found by what the capture tells, and understood as far as it goes.</summary>
public sealed class DumpKernelTests
{
    private sealed record Capture(IGuestMemory Memory) : IGuestCapture
    {
        public IReadOnlyList<VcpuRegisters> Vcpus { get; init; } = [];

        public ReadOnlyMemory<byte> VmcoreInfo { get; init; }

        public bool IsBareMemory { get; init; }

        public IReadOnlyList<string> Missing { get; init; } = [];

        public static Capture Of(SyntheticKernel guest) => new(guest.Memory) { VmcoreInfo = Encoding.ASCII.GetBytes(guest.VmcoreInfo) };
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void By_vmcoreinfo_alone(KernelShape shape, int levels)
    {
        var guest = new SyntheticKernel(RepairImageTests.Options(shape, levels));
        using DumpKernel dump = DumpKernel.Open(Capture.Of(guest), TargetLimits.Default);
        Assert.Equal((guest.Release, guest.Tables.Root.Value, levels), (dump.Image.Meta.Release, dump.Image.Meta.RootPhysical, dump.Image.Meta.PagingLevels));
        Assert.Empty(dump.Missing);
        Assert.Empty(dump.Image.Meta.TextGaps);
        Assert.Equal(guest["idt_table"], dump.Image.Meta.TrapTableAddress);
        Assert.Contains(Tasks.Enumerate(dump.Kernel, TargetLimits.Default), t => t.Pid == 1);
    }

    /// <summary>A QEMU note has no EFER; a vCPU in firmware and one without notes do not matter.</summary>
    [Fact]
    public void By_control_registers_where_vmcoreinfo_leads_nowhere()
    {
        var guest = new SyntheticKernel();
        var capture = new Capture(guest.Memory)
        {
            VmcoreInfo = Encoding.ASCII.GetBytes(guest.VmcoreInfo.Replace("phys_base)=", "phys_base)=1")),
            Vcpus = [Registers(guest, RegisterGroups.Integer, cr3: 0x7777_0000), Registers(guest, RegisterGroups.Control, cr0: 0x10), Registers(guest, RegisterGroups.Control | RegisterGroups.TrapTable)],
        };
        BootstrapResult found = CaptureBootstrap.Find(capture, TargetLimits.Default);
        Assert.Equal((guest.Tables.Root, guest["idt_table"]), (found.Space.Root, found.IdtBase));
    }

    [Fact]
    public void In_bare_memory_by_searching_for_vmcoreinfo()
    {
        var guest = new SyntheticKernel();

        // What an earlier kernel left behind leads nowhere.
        byte[] note = new byte[4096];
        Assert.True(guest.Memory.TryRead(new PhysicalAddress(guest.VmcoreInfoNote), note, out _));
        guest.Memory.Write(0x3000, Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(note).Replace("swapper_pg_dir)=ffffffff9", "swapper_pg_dir)=ffffffff8")));
        guest.Memory.Write(0x5000, note[..24]);
        BootstrapResult found = CaptureBootstrap.Find(new Capture(guest.Memory) { IsBareMemory = true }, TargetLimits.Default);
        Assert.Equal(guest.Tables.Root, found.Space.Root);
        NotLinuxException e = Assert.Throws<NotLinuxException>(() => CaptureBootstrap.Find(new Capture(guest.Memory) { IsBareMemory = true }, TargetLimits.Default with { MaxSearchBytes = 1 << 20 }));
        Assert.Contains("4 GiB", e.Message);
        Assert.Throws<NotLinuxException>(() => CaptureBootstrap.Find(new Capture(new SparsePhysicalMemory(4UL << 20)) { IsBareMemory = true }, TargetLimits.Default));
    }

    /// <summary>Memory keeps the kernel of the boot before, here ahead of the one that runs: the trampoline for other CPUs is that of the last boot.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void Of_several_boots_in_bare_memory_the_last(bool isTrampolineOfLast, bool isTrampolineOfEarlier)
    {
        var guest = new SyntheticKernel();
        ulong root = guest.Tables.Root.Value, earlier = 0x1_3000;
        byte[] table = Read(guest, root), next = Read(guest, BitConverter.ToUInt64(table, 511 * 8) & 0x000f_ffff_ffff_f000);
        byte[] running = [.. table];
        BitConverter.TryWriteBytes(table.AsSpan(511 * 8), 0x1_4000 | 0x63UL);
        guest.Memory.Write(earlier, table);
        guest.Memory.Write(0x1_4000, next);
        long physBase = long.Parse(guest.VmcoreInfo.Split("NUMBER(phys_base)=")[1].Split('\n')[0], System.Globalization.CultureInfo.InvariantCulture);
        string info = Encoding.Latin1.GetString(Read(guest, guest.VmcoreInfoNote))
            .Replace($"phys_base)={physBase}", $"phys_base)={physBase - (long)(root - earlier)}");
        guest.Memory.Write(0x3000, Encoding.Latin1.GetBytes(info));

        // As the kernel that sets it up has it, but for bits that the CPU sets.
        running[511 * 8] ^= 0x20;
        if (isTrampolineOfLast)
            guest.Memory.Write(0x9_a000, running);
        if (isTrampolineOfEarlier)
            guest.Memory.Write(0x9_b000, table);

        BootstrapResult found = CaptureBootstrap.Find(new Capture(guest.Memory) { IsBareMemory = true }, TargetLimits.Default);
        Assert.Equal(isTrampolineOfLast && !isTrampolineOfEarlier ? root : earlier, found.Space.Root.Value);
        Assert.Equal(isTrampolineOfLast != isTrampolineOfEarlier, found.Doubt is null);
        using DumpKernel dump = DumpKernel.Open(new Capture(guest.Memory) { IsBareMemory = true }, TargetLimits.Default);
        Assert.Equal(found.Doubt is not null, dump.Missing.Any(m => m.Contains("2 boots", StringComparison.Ordinal)));
    }

    private static byte[] Read(SyntheticKernel guest, ulong page)
    {
        byte[] bytes = new byte[4096];
        Assert.True(guest.Memory.TryRead(new PhysicalAddress(page), bytes, out MemoryFault fault), $"{fault}");
        return bytes;
    }

    [Theory]
    [InlineData("SYMBOL(swapper_pg_dir)", "SYMBOL(nothing)", "swapper_pg_dir")]
    [InlineData("NUMBER(phys_base)=", "NUMBER(phys_base)=4096\nX=", "map no kernel|can't be read")]
    [InlineData("OSRELEASE", "RELEASE", "OSRELEASE")]
    [InlineData("SYMBOL(_stext)=f", "SYMBOL(_stext)=0", "map no kernel")]
    public void Why_not_is_said(string what, string instead, string says)
    {
        var guest = new SyntheticKernel();
        var capture = new Capture(guest.Memory) { VmcoreInfo = Encoding.ASCII.GetBytes(guest.VmcoreInfo.Replace(what, instead)), Missing = ["half of it is gone"] };
        string message = Assert.Throws<NotLinuxException>(() => CaptureBootstrap.Find(capture, TargetLimits.Default)).Message;
        Assert.Matches(says, message);
        Assert.Contains("half of it is gone", message);
    }

    [Fact]
    public void A_dump_without_any_clue_is_told_so()
    {
        var guest = new SyntheticKernel();
        string message = Assert.Throws<NotLinuxException>(() => CaptureBootstrap.Find(new Capture(guest.Memory), TargetLimits.Default)).Message;
        Assert.Contains("no VMCOREINFO", message);
        Assert.Contains("no control registers", message);
    }

    [Fact]
    public void Hostile_numbers_in_vmcoreinfo_are_typed_failures()
    {
        var guest = new SyntheticKernel();
        foreach (string key in (string[])["SYMBOL(swapper_pg_dir)", "NUMBER(phys_base)", "NUMBER(pgtable_l5_enabled)", "NUMBER(sme_mask)", "SYMBOL(_stext)"])
        {
            foreach (string value in (string[])["0", "ffffffffffffffff", "-1", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "zz", "ffffffff80000000", "8000000000000000"])
            {
                string info = string.Join('\n', guest.VmcoreInfo.Split('\n').Select(l => l.StartsWith(key, StringComparison.Ordinal) ? $"{key}={value}" : l));
                Exception? e = Record.Exception(() => CaptureBootstrap.Find(new Capture(guest.Memory) { VmcoreInfo = Encoding.ASCII.GetBytes(info) }, TargetLimits.Default));
                Assert.True(e is null or NotLinuxException, $"{key}={value}: {e}");
            }
        }
    }

    [Fact]
    public void Code_that_the_dump_lacks_is_a_gap_and_no_zeros()
    {
        var guest = new SyntheticKernel();
        ulong lost = guest.TextBase + 0x3000;
        guest.Memory.Lose(guest.Physical(lost));
        guest.Memory.Lose(guest.Physical(lost + 0x1000));
        guest.Memory.Lose(guest.Physical(lost + 0x5000));
        using var cache = new TemporaryDirectory();
        using DumpKernel dump = DumpKernel.Open(Capture.Of(guest), TargetLimits.Default);
        Assert.Equal([new TextGap(lost, 0x2000), new TextGap(lost + 0x5000, 0x1000)], dump.Image.Meta.TextGaps);
        Assert.Contains("12 of 128 KiB of the kernel's code", Assert.Single(dump.Missing));
        byte[] code = new byte[16];
        foreach (ulong at in (ulong[])[lost, lost + 0x1fff, lost - 15, lost + 0x4ff1, lost + 0x5800])
            Assert.False(dump.Image.TryReadCode(at, code));
        Assert.True(dump.Image.TryReadCode(lost - 16, code));
        Assert.True(dump.Image.TryReadCode(lost + 0x2000, code));
        Assert.True(dump.Image.TryReadCode(lost + 0x4ff0, code));

        // The same hole in a living guest is no ground to repair on.
        Assert.Contains("text can't be read", Assert.Throws<NotLinuxException>(() => KernelGuest.Build(guest, cache.Path)).Message);
        string file = cache.Path + "/saved.rimg";
        dump.Image.Save(file);
        using RepairImage again = RepairImage.Open(file, cache.Path);
        Assert.Equal(dump.Image.Meta.TextGaps, again.Meta.TextGaps);
    }

    [Fact]
    public void Read_only_data_with_holes_still_has_its_symbols()
    {
        var guest = new SyntheticKernel();
        ulong end = guest.TextBase + 0x40_0000 + 0x10_0000;
        for (ulong at = end - 0x2_0000; at < end; at += 4096)
            guest.Memory.Lose(guest.Physical(at));
        using DumpKernel dump = DumpKernel.Open(Capture.Of(guest), TargetLimits.Default);
        Assert.Equal(guest.Release, dump.Image.Meta.Release);
        Assert.True(dump.Image.SymbolCount > 500);
    }

    [Fact]
    public void Tasks_behind_a_hole_are_lost_and_the_others_are_not()
    {
        var guest = new SyntheticKernel();
        using var cache = new TemporaryDirectory();
        using RepairImage image = KernelGuest.Build(guest, cache.Path);
        List<LinuxTask> all = Tasks.Enumerate(image.KernelOver(guest.Memory), TargetLimits.Default);
        foreach (LinuxTask gone in all.Where(t => t.Pid != 0 && t.Pid == t.Tgid))
        {
            var lost = new List<MemoryFault>();
            var memory = new WithoutPages(guest.Memory, guest.Physical(gone.Address));
            List<LinuxTask> left = Tasks.Enumerate(image.KernelOver(memory), TargetLimits.Default, lost);
            Assert.NotEmpty(lost);
            Assert.All(lost, f => Assert.Equal(MemoryFaultKind.NotCaptured, f.Kind));
            Assert.Empty(left.Except(all));
            Assert.DoesNotContain(left, t => t.Address == gone.Address);
            Assert.Throws<GuestMemoryException>(() => Tasks.Enumerate(image.KernelOver(memory), TargetLimits.Default));
        }
    }

    [Fact]
    public void A_segment_base_that_is_not_known_is_no_cpu()
    {
        using var guest = new KernelGuest();
        VcpuRegisters known = Registers(guest.Guest, RegisterGroups.Live, gs: guest.Guest.PerCpuBase(1));
        Assert.Equal(1, PerCpu.CpuOf(guest.Kernel, known));
        Assert.Null(PerCpu.CpuOf(guest.Kernel, known with { Known = RegisterGroups.Integer }));
    }

    private sealed class WithoutPages(IGuestMemory memory, ulong page) : IGuestMemory
    {
        public IReadOnlyList<PhysicalRange> Ranges => memory.Ranges;

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            if (address.Value / 4096 <= page / 4096 && (address.Value + (ulong)destination.Length - 1) / 4096 >= page / 4096)
            {
                fault = new MemoryFault(MemoryFaultKind.NotCaptured, address.Value, IsPhysical: true);
                return false;
            }

            return memory.TryRead(address, destination, out fault);
        }
    }

    private static VcpuRegisters Registers(SyntheticKernel guest, RegisterGroups known, ulong? cr0 = null, ulong? cr3 = null, ulong gs = 0)
    {
        (ulong c0, ulong c3, ulong c4, _) = guest.ControlRegisters;
        return new VcpuRegisters
        {
            Vcpu = 0, Gpr = default, Rip = 0, Rflags = 0, Cs = 0x10, FsBase = 0, GsBase = gs, KernelGsBase = 0, Cr0 = cr0 ?? c0, Cr2 = 0, Cr3 = cr3 ?? c3, Cr4 = c4, Efer = 0,
            TrapTable = guest["idt_table"], Known = known,
        };
    }
}
