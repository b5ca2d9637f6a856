using Panacea.Target.Paging;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Tests.Paging;

public sealed class PageTableWalkerTests
{
    private const ulong Tables = 0x10_0000;
    private static readonly ulong[] Sizes = [PageTableBuilder.Size4K, PageTableBuilder.Size2M, PageTableBuilder.Size1G];

    [Theory]
    [InlineData(PagingMode.FourLevel, 1)]
    [InlineData(PagingMode.FourLevel, 2)]
    [InlineData(PagingMode.FiveLevel, 3)]
    [InlineData(PagingMode.FiveLevel, 4)]
    public void Agrees_with_a_second_implementation_on_random_tables(PagingMode mode, int seed)
    {
        var random = new Random(seed);
        var memory = new SparsePhysicalMemory(1UL << 45);
        var builder = new PageTableBuilder(memory, mode, Tables);
        var mapped = new List<(ulong Address, ulong Size, ulong Physical)>();
        int width = mode == PagingMode.FiveLevel ? 57 : 48;
        while (mapped.Count < 300)
        {
            ulong size = Sizes[random.Next(3)];
            ulong address = Canonical((ulong)random.NextInt64() & ~(size - 1), width);

            // Most pages lie close to one another, so that tables are shared.
            if (mapped.Count > 0 && random.Next(3) > 0)
                address = Canonical(unchecked(mapped[random.Next(mapped.Count)].Address + (size * (ulong)random.Next(1, 600))) & ~(size - 1), width);
            if (mapped.Exists(m => unchecked(address - m.Address) < m.Size || unchecked(m.Address - address) < size))
                continue;
            ulong physical = (ulong)random.NextInt64(1L << 44) & ~(size - 1);
            builder.Map(address, physical, size);
            mapped.Add((address, size, physical));
        }

        AddressSpace space = builder.Space;
        foreach ((ulong address, ulong size, ulong physical) in mapped)
        {
            foreach (ulong offset in (ulong[])[0, size - 1, (ulong)random.NextInt64((long)size)])
            {
                Assert.True(space.TryTranslate(new VirtualAddress(address + offset), out Translation t, out MemoryFault fault), fault.ToString());
                Assert.Equal(physical + offset, t.Physical.Value);
                Assert.Equal(size, t.PageSize);
                Assert.Equal(ReferenceTranslation.Translate(memory, Tables, (int)mode, address + offset), t.Physical.Value);
            }
        }

        for (int i = 0; i < 3000; i++)
        {
            ulong near = unchecked(mapped[random.Next(mapped.Count)].Address + (ulong)random.NextInt64(-(1L << random.Next(13, 40)), 1L << random.Next(13, 40)));
            ulong probe = random.Next(10) == 0 ? Any(random) : near;
            ulong? expected = ReferenceTranslation.Translate(memory, Tables, (int)mode, probe);
            bool ok = space.TryTranslate(new VirtualAddress(probe), out Translation t, out MemoryFault fault);
            Assert.Equal(expected.HasValue, ok);
            if (ok)
                Assert.Equal(expected!.Value, t.Physical.Value);
            else
                Assert.True(fault.Kind is MemoryFaultKind.NotPresent or MemoryFaultKind.NonCanonical, fault.ToString());
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Tables_full_of_noise_are_values_and_never_exceptions(int seed)
    {
        var random = new Random(seed);
        var memory = new SparsePhysicalMemory(64UL << 20);
        byte[] noise = new byte[8 << 20];
        random.NextBytes(noise);

        // Entries that stay inside RAM most of the time, so that walks get deep.
        for (int i = 0; i < noise.Length; i += 8)
        {
            noise[i] |= 1;
            noise[i + 6] &= 0x0f;
            if (random.Next(8) > 0)
                noise.AsSpan(i + 3, 4).Clear();
        }

        memory.Write(0, noise);
        int translated = 0, kinds = 0;
        for (int i = 0; i < 20000; i++)
        {
            PagingMode mode = random.Next(2) == 0 ? PagingMode.FourLevel : PagingMode.FiveLevel;
            ulong root = (ulong)random.Next(2048) * 4096;
            ulong address = Canonical(Any(random), mode == PagingMode.FiveLevel ? 57 : 48);
            if (PageTableWalker.TryTranslate(memory, new PhysicalAddress(root), mode, 0, new VirtualAddress(address), out Translation t, out MemoryFault fault))
            {
                translated++;
                Assert.Contains(t.PageSize, Sizes);
                Assert.Equal(address % t.PageSize, t.Physical.Value % t.PageSize);
            }
            else
            {
                kinds |= 1 << (int)fault.Kind;
            }
        }

        Assert.True(translated > 0);
        Assert.NotEqual(0, kinds & (1 << (int)MemoryFaultKind.NotBacked));
        Assert.NotEqual(0, kinds & (1 << (int)MemoryFaultKind.MalformedPageTable));
    }

    [Fact]
    public void A_table_that_points_at_itself_ends()
    {
        var memory = new SparsePhysicalMemory(1 << 20);
        memory.WriteUInt64(0x1000, 0x1000 | 3);
        Assert.True(PageTableWalker.TryTranslate(
            memory, new PhysicalAddress(0x1000), PagingMode.FiveLevel, 0, new VirtualAddress(0x123), out Translation t, out _));
        Assert.Equal(0x1123ul, t.Physical.Value);
        Assert.Equal(5, memory.Reads);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void A_large_page_above_level_three_is_malformed(int level)
    {
        var memory = new SparsePhysicalMemory(16UL << 20);
        var builder = new PageTableBuilder(memory, PagingMode.FiveLevel, Tables);
        memory.WriteUInt64(builder.EntryAddress(0x4000, level), 0x83);
        AssertFault(builder.Space, 0x4000, MemoryFaultKind.MalformedPageTable);
    }

    [Theory]
    [InlineData(2, 13)]
    [InlineData(2, 20)]
    [InlineData(3, 21)]
    [InlineData(3, 29)]
    public void Reserved_bits_in_a_large_page_are_malformed(int level, int bit)
    {
        var memory = new SparsePhysicalMemory(16UL << 20);
        var builder = new PageTableBuilder(memory, PagingMode.FourLevel, Tables);
        memory.WriteUInt64(builder.EntryAddress(0, level), 0x83 | (1UL << bit));
        AssertFault(builder.Space, 0, MemoryFaultKind.MalformedPageTable);

        // Bit 12 is PAT there, and no fault.
        memory.WriteUInt64(builder.EntryAddress(0, level), 0x83 | (1UL << 12));
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(5), out Translation t, out _));
        Assert.Equal(5ul, t.Physical.Value);
    }

    [Fact]
    public void Access_is_what_every_level_allows()
    {
        var memory = new SparsePhysicalMemory(64UL << 20);
        var builder = new PageTableBuilder(memory, PagingMode.FourLevel, Tables);
        builder.Map(0x1000, 0x5000, access: PageAccess.Writable | PageAccess.User);
        builder.Map(0x2000, 0x6000, access: PageAccess.NoExecute);
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(0x1000), out Translation t, out _));
        Assert.Equal((true, true, false), (t.Writable, t.User, t.NoExecute));
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(0x2000), out t, out _));
        Assert.Equal((false, false, true), (t.Writable, t.User, t.NoExecute));

        ulong upper = builder.EntryAddress(0x1000, 3);
        memory.WriteUInt64(upper, (memory.ReadUInt64(upper) & ~6UL) | (1UL << 63));
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(0x1000), out t, out _));
        Assert.Equal((false, false, true), (t.Writable, t.User, t.NoExecute));
    }

    [Fact]
    public void The_encryption_bit_is_no_part_of_an_address()
    {
        const ulong bit = 1UL << 47;
        var memory = new SparsePhysicalMemory(64UL << 20);
        var builder = new PageTableBuilder(memory, PagingMode.FourLevel, Tables, bit);
        builder.Map(0x1000, 0x5000).Map(0x20_0000, 0x40_0000, PageTableBuilder.Size2M);
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(0x1008), out Translation t, out _));
        Assert.Equal(0x5008ul, t.Physical.Value);
        Assert.True(builder.Space.TryTranslate(new VirtualAddress(0x20_0008), out t, out _));
        Assert.Equal(0x40_0008ul, t.Physical.Value);
        var without = new AddressSpace(memory, builder.Root, PagingMode.FourLevel);
        AssertFault(without, 0x1008, MemoryFaultKind.NotBacked);
    }

    [Theory]
    [InlineData(PagingMode.FourLevel, 0x0000_8000_0000_0000ul)]
    [InlineData(PagingMode.FourLevel, 0xffff_7fff_ffff_fffful)]
    [InlineData(PagingMode.FiveLevel, 0x0100_0000_0000_0000ul)]
    [InlineData(PagingMode.FiveLevel, 0xfeff_ffff_ffff_fffful)]
    public void Addresses_between_the_halves_are_not_canonical(PagingMode mode, ulong address)
    {
        var memory = new SparsePhysicalMemory(16UL << 20);
        AssertFault(new AddressSpace(memory, new PhysicalAddress(Tables), mode), address, MemoryFaultKind.NonCanonical);
        Assert.Equal(0, memory.Reads);
    }

    private static ulong Any(Random random) => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue));

    private static ulong Canonical(ulong address, int width) => unchecked((ulong)((long)(address << (64 - width)) >> (64 - width)));

    private static void AssertFault(AddressSpace space, ulong address, MemoryFaultKind kind)
    {
        Assert.False(space.TryTranslate(new VirtualAddress(address), out _, out MemoryFault fault));
        Assert.Equal(kind, fault.Kind);
    }
}
