using Panacea.Target.Paging;
using Panacea.Target.Tests.Paging;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Tests;

/// <summary>Page tables that a guest has overwritten: a walk ends after as many reads as there are levels, and says what a second implementation says.</summary>
public sealed class FuzzTests
{
    private const ulong Tables = 0x10_0000, Ram = 64UL << 20;

    [Fact]
    public void Page_tables()
    {
        (SparsePhysicalMemory Memory, AddressSpace Space, GuestMutator Mutator)[] guests = [Guest(PagingMode.FourLevel), Guest(PagingMode.FiveLevel)];
        var ceilings = new FuzzCeilings { Reads = () => guests.Sum(g => g.Memory.Reads), MaxReads = 20 * 6 };
        Fuzzer.Run(nameof(Page_tables), random =>
        {
            (SparsePhysicalMemory memory, AddressSpace space, GuestMutator mutator) = guests[random.Next(guests.Length)];
            mutator.Case(random, () =>
            {
                for (int i = 0; i < 8; i++)
                    Check(memory, space, Address(random));
            });
        }, ceilings);
    }

    private static void Check(SparsePhysicalMemory memory, AddressSpace space, ulong address)
    {
        long before = memory.Reads;
        bool mapped = space.TryTranslate(new VirtualAddress(address), out Translation translation, out MemoryFault fault);
        Assert.True(memory.Reads - before <= (int)space.Mode);
        if (mapped)
        {
            Assert.Equal(ReferenceTranslation.Translate(memory, space.Root.Value, (int)space.Mode, address), translation.Physical.Value);
            Assert.True(translation.PageSize is 4096 or 2 << 20 or 1 << 30);
        }
        else
        {
            Assert.True(fault.Kind is MemoryFaultKind.NotPresent or MemoryFaultKind.NotBacked or MemoryFaultKind.MalformedPageTable or MemoryFaultKind.NonCanonical);
        }
    }

    private static ulong Address(Random random) => random.Next(5) switch
    {
        0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
        1 => ByteMutator.Edges[random.Next(ByteMutator.Edges.Count)],
        2 => 0xffff_ffff_8100_0000 + (ulong)random.Next(0x4000),
        3 => 0xffff_8880_0000_0000 + (ulong)random.Next(32 << 20),
        _ => (ulong)random.Next(0x6000),
    };

    private static (SparsePhysicalMemory, AddressSpace, GuestMutator) Guest(PagingMode mode)
    {
        var memory = new SparsePhysicalMemory(Ram);
        var builder = new PageTableBuilder(memory, mode, Tables);
        builder.Map(0x1000, 0x5000, access: PageAccess.Writable | PageAccess.User).Map(0x4000, 0x7000);
        builder.MapRange(0xffff_8880_0000_0000, 0, 32 << 20, PageTableBuilder.Size2M, PageAccess.Writable);
        builder.MapRange(0xffff_ffff_8100_0000, 0x100_0000, 0x4000);
        int bytes = (int)(builder.TablesEnd - builder.Root.Value);
        ulong[] pointers = [.. Enumerable.Range(0, bytes / 4096).Select(i => builder.Root.Value + ((ulong)i * 4096) + 7), 0x83, Ram | 7, (Ram - 4096) | 7];
        return (memory, builder.Space, new GuestMutator(memory, [.. Used(memory, builder.Root.Value, bytes)], pointers));
    }

    /// <summary>Where entries stand: most of a table is empty, and damage there changes nothing.</summary>
    private static IEnumerable<(ulong, int)> Used(SparsePhysicalMemory memory, ulong root, int bytes)
    {
        for (ulong at = root; at < root + (ulong)bytes; at += 8)
        {
            if (memory.ReadUInt64(at) != 0)
                yield return (at, 8);
        }
    }
}
