using Panacea.Kernel.Memory;
using Panacea.Target;
using Panacea.TestKit.Memory;

namespace Panacea.Kernel.Tests.Memory;

public sealed class EvidenceMemoryTests
{
    private readonly SparsePhysicalMemory _live = new(new PhysicalRange(new PhysicalAddress(0x1000), 0x8000), new PhysicalRange(new PhysicalAddress(0x10_0000), 0x1800));

    public EvidenceMemoryTests()
    {
        for (ulong i = 0; i < 0x8000; i += 8)
            _live.WriteUInt64(0x1000 + i, i);
    }

    [Fact]
    public void What_was_read_stays_as_it_was_when_the_guest_goes_on()
    {
        var memory = new EvidenceMemory(_live);
        Assert.Equal(0x10UL, Word(memory, 0x1010));
        _live.WriteUInt64(0x1010, 99);
        Assert.Equal(0x10UL, Word(memory, 0x1010));
        memory.Seal();
        Assert.Equal(0x10UL, Word(memory, 0x1010));
        Assert.Equal(0x18UL, Word(memory, 0x1018));
        Assert.Equal(1, memory.Pages);
    }

    [Fact]
    public void Sealed_it_reads_nothing_from_the_guest()
    {
        var memory = new EvidenceMemory(_live);
        Word(memory, 0x2000);
        memory.Seal();
        long reads = _live.Reads;
        Span<byte> across = stackalloc byte[16];
        Assert.False(memory.TryRead(new PhysicalAddress(0x2ff8), across, out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotCaptured, 0x3000, IsPhysical: true), fault);
        Assert.False(memory.TryRead(new PhysicalAddress(0x5004), across, out fault));
        Assert.Equal(0x5004UL, fault.Address);
        Assert.Equal(reads, _live.Reads);
        Assert.True(memory.IsSealed);
    }

    [Fact]
    public void A_page_is_fetched_once_however_often_it_is_read()
    {
        var memory = new EvidenceMemory(_live);
        for (ulong at = 0x1000; at < 0x3000; at += 8)
            Assert.Equal(at - 0x1000, Word(memory, at));
        Assert.Equal(2, _live.Reads);
        byte[] all = new byte[0x2000];
        Assert.True(memory.TryRead(new PhysicalAddress(0x1000), all, out _));
        Assert.Equal(2, _live.Reads);
        Assert.Equal(0x1ff8UL, BitConverter.ToUInt64(all, 0x1ff8));
    }

    /// <summary>Past the ceiling reads still work, from the guest itself; they are gone once sealed.</summary>
    [Fact]
    public void Past_its_ceiling_it_keeps_nothing_more()
    {
        var memory = new EvidenceMemory(_live, maxPages: 2);
        foreach (ulong at in (ulong[])[0x1000, 0x2000, 0x3000, 0x4000])
            Assert.Equal(at - 0x1000, Word(memory, at));
        Assert.Equal(2, memory.Pages);
        _live.WriteUInt64(0x3000, 7);
        Assert.Equal(7UL, Word(memory, 0x3000));
        memory.Seal();
        Assert.Equal(0x1000UL, Word(memory, 0x2000));
        Assert.False(memory.TryRead(new PhysicalAddress(0x3000), new byte[1], out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotCaptured, fault.Kind);
    }

    /// <summary>RAM that ends within a page: the bytes that are there are read.</summary>
    [Fact]
    public void A_page_that_is_not_whole_is_read_as_far_as_it_goes()
    {
        var memory = new EvidenceMemory(_live);
        Assert.Equal(0UL, Word(memory, 0x10_17f8));
        Assert.False(memory.TryRead(new PhysicalAddress(0x10_17f8), new byte[16], out MemoryFault fault));
        Assert.Equal((MemoryFaultKind.NotBacked, 0x10_1800UL), (fault.Kind, fault.Address));
        Assert.Equal(0, memory.Pages);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0xff8UL)]
    [InlineData(0x9000UL)]
    [InlineData(ulong.MaxValue - 3)]
    public void What_is_no_memory_fails_with_its_address(ulong address)
    {
        var memory = new EvidenceMemory(_live);
        Assert.False(memory.TryRead(new PhysicalAddress(address), new byte[8], out MemoryFault fault));
        Assert.Equal((MemoryFaultKind.NotBacked, address), (fault.Kind, fault.Address));
    }

    [Fact]
    public void More_pages_than_it_began_with_keep_their_content()
    {
        var large = new SparsePhysicalMemory(8 << 20);
        for (ulong page = 0; page < 1000; page++)
            large.WriteUInt64(page * 4096, page);
        var memory = new EvidenceMemory(large);
        for (ulong page = 0; page < 1000; page++)
            Word(memory, page * 4096);
        memory.Seal();
        for (ulong page = 0; page < 1000; page++)
            Assert.Equal(page, Word(memory, page * 4096));
        Assert.Equal(1000, memory.Pages);
    }

    [Fact]
    public void Nothing_to_read_is_always_read()
    {
        var memory = new EvidenceMemory(_live);
        memory.Seal();
        Assert.True(memory.TryRead(new PhysicalAddress(ulong.MaxValue), [], out _));
    }

    private static ulong Word(EvidenceMemory memory, ulong address)
    {
        Span<byte> raw = stackalloc byte[8];
        Assert.True(memory.TryRead(new PhysicalAddress(address), raw, out MemoryFault fault), fault.ToString());
        return BitConverter.ToUInt64(raw);
    }
}
