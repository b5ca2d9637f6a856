using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Linux;
using Panacea.TestKit.Memory;

namespace Panacea.Kernel.Tests.Image;

public sealed class KernelBootstrapTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void The_kernel_is_found_from_control_registers_alone(KernelShape shape, int levels)
    {
        var guest = new SyntheticKernel(RepairImageTests.Options(shape, levels));
        BootstrapResult found = KernelBootstrap.Find(guest.Memory, [KernelGuest.ControlState(guest)]);
        Assert.Equal((guest.Tables.Root, (PagingMode)levels, guest["idt_table"]), (found.Space.Root, found.Space.Mode, found.IdtBase));
        Assert.Contains(new KernelExtent(guest.TextBase, 4 << 20, Writable: false, Executable: true), found.Extents);
        Assert.Contains(new KernelExtent(guest.TextBase + (4 << 20), 1 << 20, Writable: false, Executable: false), found.Extents);
    }

    /// <summary>A vCPU in user mode under PTI has the user's root, one page above the kernel's; PCIDs are in the low bits.</summary>
    [Fact]
    public void Under_page_table_isolation_the_kernels_root_is_taken()
    {
        var guest = new SyntheticKernel();
        VcpuControlState state = KernelGuest.ControlState(guest);
        BootstrapResult found = KernelBootstrap.Find(guest.Memory, [state with { Cr3 = state.Cr3 | 0x1000 | 0x806 }]);
        Assert.Equal(guest.Tables.Root, found.Space.Root);
    }

    /// <summary>Without PTI a root may lie on any page; the one below is then something else.</summary>
    [Fact]
    public void A_root_on_an_odd_page_is_taken_as_it_is()
    {
        var guest = new SyntheticKernel(new SyntheticKernelOptions { Tables = 0x10_1000 });
        guest.Memory.Write(0x10_0000, [.. Enumerable.Repeat((byte)0xff, 4096)]);
        Assert.Equal(guest.Tables.Root, KernelBootstrap.Find(guest.Memory, [KernelGuest.ControlState(guest)]).Space.Root);
    }

    [Fact]
    public void One_vcpu_that_runs_the_kernel_is_enough()
    {
        var guest = new SyntheticKernel();
        VcpuControlState good = KernelGuest.ControlState(guest);
        VcpuControlState firmware = good with { Efer = 0, Cr3 = 0 }, lost = good with { Cr3 = 0xf_ffff_f000 };
        Assert.Equal(guest.Tables.Root, KernelBootstrap.Find(guest.Memory, [firmware, lost, good]).Space.Root);
    }

    [Theory]
    [InlineData("firmware", 0x60000010UL, 0UL, "firmware")]
    [InlineData("32 bits", 0x80000011UL, 0UL, "64-bit mode")]
    [InlineData("no paging", 0x11UL, 0xd01UL, "64-bit mode")]
    public void A_guest_that_is_not_in_64_bit_mode_is_told_so(string what, ulong cr0, ulong efer, string says)
    {
        var guest = new SyntheticKernel();
        string message = Message(guest.Memory, KernelGuest.ControlState(guest) with { Cr0 = cr0, Efer = efer });
        Assert.True(message.Contains(says), $"{what}: {message}");
    }

    [Fact]
    public void No_vcpus_at_all_is_no_kernel() => Assert.Throws<NotLinuxException>(() => KernelBootstrap.Find(new SparsePhysicalMemory(1 << 20), []));

    [Fact]
    public void Another_system_maps_nothing_where_linux_does()
    {
        var memory = new SparsePhysicalMemory(64 << 20);
        var tables = new PageTableBuilder(memory, PagingMode.FourLevel, 0x1000).Map(0xffff_f800_0000_0000, 0x20_0000, PageTableBuilder.Size2M);
        Assert.Contains("maps nothing where Linux maps its kernel", Message(memory, new VcpuControlState(0x8000_0001, tables.Root.Value, 0x20, 0x500, 0)));
    }

    [Fact]
    public void A_kernel_that_is_only_half_mapped_is_still_booting()
    {
        var memory = new SparsePhysicalMemory(64 << 20);
        var tables = new PageTableBuilder(memory, PagingMode.FourLevel, 0x1000).Map(0xffff_ffff_8100_0000, 0x20_0000, PageTableBuilder.Size2M, PageAccess.None);
        Assert.Contains("still booting", Message(memory, new VcpuControlState(0x8000_0001, tables.Root.Value, 0x20, 0x500, 0)));
    }

    /// <summary>A root, and tables under it, that lie outside RAM.</summary>
    [Fact]
    public void Tables_that_cannot_be_read_are_no_kernel()
    {
        var guest = new SyntheticKernel();
        VcpuControlState state = KernelGuest.ControlState(guest);
        Assert.NotEmpty(Message(guest.Memory, state with { Cr3 = 0x000f_ffff_ffff_e000 }));
        guest.Memory.WriteUInt64(guest.Tables.EntryAddress(guest.TextBase, 4), 0x000f_ffff_ffff_f003);
        Assert.NotEmpty(Message(guest.Memory, state));
    }

    /// <summary>Tables that point to themselves: every entry is both a table and a page.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void Tables_that_point_to_themselves_end(int levels)
    {
        var memory = new SparsePhysicalMemory(1 << 20);
        for (ulong i = 0; i < 512; i++)
            memory.WriteUInt64(0x1000 + (i * 8), 0x1003);
        Assert.True(KernelMapping.TryEnumerate(memory, new PhysicalAddress(0x1000), (PagingMode)levels, 0, out IReadOnlyList<KernelExtent> extents, out _));
        Assert.Equal(new KernelExtent(KernelMapping.KernelMapStart, KernelMapping.KernelMapEnd - KernelMapping.KernelMapStart, true, true), Assert.Single(extents));
    }

    [Fact]
    public void A_gigabyte_page_is_no_kernel_image()
    {
        var memory = new SparsePhysicalMemory(64 << 20);
        var tables = new PageTableBuilder(memory, PagingMode.FourLevel, 0x1000).Map(0xffff_ffff_8000_0000, 0, PageTableBuilder.Size1G);
        Assert.True(KernelMapping.TryEnumerate(memory, tables.Root, PagingMode.FourLevel, 0, out IReadOnlyList<KernelExtent> extents, out _));
        Assert.Empty(extents);
    }

    [Fact]
    public void Runs_of_pages_with_the_same_rights_are_one_extent_and_others_are_not()
    {
        var memory = new SparsePhysicalMemory(64 << 20);
        PageTableBuilder tables = new PageTableBuilder(memory, PagingMode.FourLevel, 0x1000)
            .MapRange(0xffff_ffff_8020_0000, 0x20_0000, 0x3000, access: PageAccess.NoExecute)
            .MapRange(0xffff_ffff_8020_3000, 0x30_0000, 0x1000, access: PageAccess.Writable | PageAccess.NoExecute)
            .MapRange(0xffff_ffff_8020_5000, 0x40_0000, 0x1000, access: PageAccess.Writable | PageAccess.NoExecute)
            .Map(0xffff_ffff_8040_0000, 0x80_0000, PageTableBuilder.Size2M, PageAccess.None)
            .Map(0xffff_ffff_8060_0000, 0x80_0000, PageTableBuilder.Size2M, PageAccess.None);
        Assert.True(KernelMapping.TryEnumerate(memory, tables.Root, PagingMode.FourLevel, 0, out IReadOnlyList<KernelExtent> extents, out _));
        Assert.Equal(
        [
            new(0xffff_ffff_8020_0000, 0x3000, false, false), new(0xffff_ffff_8020_3000, 0x1000, true, false), new(0xffff_ffff_8020_5000, 0x1000, true, false),
            new(0xffff_ffff_8040_0000, 0x40_0000, false, true),
        ], extents);
    }

    [Fact]
    public void An_encryption_bit_is_no_part_of_an_address()
    {
        const ulong c = 1UL << 47;
        var memory = new SparsePhysicalMemory(64 << 20);
        var tables = new PageTableBuilder(memory, PagingMode.FourLevel, 0x1000, c).Map(0xffff_ffff_8100_0000, 0x20_0000, access: PageAccess.None);
        Assert.True(KernelMapping.TryEnumerate(memory, tables.Root, PagingMode.FourLevel, c, out IReadOnlyList<KernelExtent> extents, out _));
        Assert.Single(extents);
        Assert.False(KernelMapping.TryEnumerate(memory, tables.Root, PagingMode.FourLevel, 0, out _, out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotBacked, fault.Kind);
    }

    private static string Message(IGuestMemory memory, VcpuControlState state) =>
        Assert.Throws<NotLinuxException>(() => KernelBootstrap.Find(memory, [state])).Message;
}
