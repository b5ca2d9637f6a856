using System.Text;
using Panacea.Target.Paging;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Tests;

public sealed class AddressSpaceTests
{
    private const ulong Kernel = 0xffff_ffff_8100_0000;
    private readonly SparsePhysicalMemory _memory = new(64UL << 20);
    private readonly PageTableBuilder _builder;

    public AddressSpaceTests() => _builder = new PageTableBuilder(_memory, PagingMode.FourLevel, 0x10_0000);

    [Fact]
    public void Reads_run_across_pages_that_lie_apart()
    {
        _builder.Map(Kernel, 0x8000).Map(Kernel + 0x1000, 0x3000);
        _memory.Write(0x8ffe, 1, 2);
        _memory.Write(0x3000, 3, 4);
        byte[] four = new byte[4];
        Assert.True(_builder.Space.TryRead(new VirtualAddress(Kernel + 0xffe), four, out _));
        Assert.Equal([1, 2, 3, 4], four);
        Assert.Equal(0x04030201u, _builder.Space.ReadUInt32(new VirtualAddress(Kernel + 0xffe), "test"));
    }

    [Fact]
    public void A_failure_names_the_first_address_that_failed()
    {
        _builder.Map(Kernel, 0x8000);
        Assert.False(_builder.Space.TryReadUInt64(new VirtualAddress(Kernel + 0xffc), out ulong value, out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotPresent, Kernel + 0x1000, IsPhysical: false), fault);
        Assert.Equal(0ul, value);
        var e = Assert.Throws<GuestMemoryException>(() => _builder.Space.ReadUInt64(new VirtualAddress(Kernel + 0xffc), "the owner of a lock"));
        Assert.Contains("the owner of a lock", e.Message, StringComparison.Ordinal);
        Assert.Equal(fault, e.Fault);
    }

    [Fact]
    public void A_page_without_ram_fails_with_its_physical_address()
    {
        _builder.Map(Kernel, 0x1_0000_0000);
        Assert.False(_builder.Space.TryReadUInt32(new VirtualAddress(Kernel + 4), out _, out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotBacked, 0x1_0000_0004, IsPhysical: true), fault);
    }

    [Fact]
    public void The_last_page_of_the_address_space_can_be_read_to_its_end()
    {
        _builder.Map(0xffff_ffff_ffff_f000, 0x8000);
        byte[] all = new byte[4096];
        Assert.True(_builder.Space.TryRead(new VirtualAddress(0xffff_ffff_ffff_f000), all, out _));
        Assert.False(_builder.Space.TryRead(new VirtualAddress(0xffff_ffff_ffff_f001), all, out MemoryFault fault));
        Assert.Equal(0ul, fault.Address);
    }

    [Fact]
    public void A_string_ends_at_its_nul_even_before_an_unmapped_page()
    {
        _builder.Map(Kernel, 0x8000);
        _memory.Write(0x8ffa, "swapd\0"u8);
        Assert.True(_builder.Space.TryReadString(new VirtualAddress(Kernel + 0xffa), 100, out string value, out _));
        Assert.Equal("swapd", value);
        _memory.Write(0x8fff, (byte)'x');
        Assert.False(_builder.Space.TryReadString(new VirtualAddress(Kernel + 0xffa), 100, out _, out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotPresent, fault.Kind);
        Assert.True(_builder.Space.TryReadString(new VirtualAddress(Kernel + 0xffa), 6, out value, out _));
        Assert.Equal("swapdx", value);
    }

    [Fact]
    public void A_string_crosses_pages_and_odd_bytes_become_replacement_characters()
    {
        _builder.Map(Kernel, 0x8000).Map(Kernel + 0x1000, 0xa000);
        byte[] text = [.. Encoding.UTF8.GetBytes(new string('a', 300)), 0xff, (byte)'b', 0];
        _memory.Write(0x9000 - 10, text[..10]);
        _memory.Write(0xa000, text[10..]);
        Assert.True(_builder.Space.TryReadString(new VirtualAddress(Kernel + 0x1000 - 10), 4096, out string value, out _));
        Assert.Equal(new string('a', 300) + "\ufffdb", value);
        Assert.True(_builder.Space.TryReadString(new VirtualAddress(Kernel), 0, out value, out _));
        Assert.Equal("", value);
    }

    [Fact]
    public void The_same_tables_serve_over_other_memory()
    {
        _builder.Map(Kernel, 0x8000);
        _memory.Write(0x8000, 7);
        AddressSpace nothing = _builder.Space.Over(new SparsePhysicalMemory(0x1000));
        Assert.False(nothing.TryReadUInt32(new VirtualAddress(Kernel), out _, out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotBacked, fault.Kind);
        Assert.Equal(7u, _builder.Space.ReadUInt32(new VirtualAddress(Kernel), "test"));
    }
}
