using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Structures;

public sealed class TreesTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    public void A_red_black_tree_yields_its_nodes_in_order(int count)
    {
        using var g = new KernelGuest();
        (ulong root, ulong[] nodes) = Tree(g.Guest, count);
        Assert.Equal(nodes, RedBlackTrees.Nodes(g.Kernel, root, "tree", Few));
        Assert.Equal(nodes.FirstOrDefault(), RedBlackTrees.CachedLeftmost(g.Kernel, root));
    }

    [Fact]
    public void Every_link_to_a_wrong_place_is_found()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        (ulong root, ulong[] nodes) = Tree(k, 31);
        foreach (ulong node in nodes)
        {
            foreach (ulong link in (ulong[])[0, 8, 16])
            {
                ulong kept = k.ReadU64(node + link);
                foreach (ulong wrong in (ulong[])[node, nodes[0], nodes[15], nodes[30], root, 0x10])
                {
                    if ((wrong & ~3UL) == (kept & ~3UL))
                        continue;
                    k.WriteU64(node + link, wrong);
                    Exception? e = Record.Exception(() => RedBlackTrees.Nodes(g.Kernel, root, "tree", Few).Count());
                    Assert.True(e is StructureException or GuestMemoryException, $"{node:x}+{link}: {wrong:x}");
                }

                k.WriteU64(node + link, kept);
            }
        }

        Assert.Equal(nodes, RedBlackTrees.Nodes(g.Kernel, root, "tree", Few));
    }

    [Fact]
    public void A_tree_that_is_a_chain_or_too_large_is_refused()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        (ulong root, _) = Tree(k, 1001);
        Assert.Equal(StructureFault.TooLong, Assert.Throws<StructureException>(() => RedBlackTrees.Nodes(g.Kernel, root, "tree", Few).Count()).Fault);
        ulong parent = 0, link = root;
        for (int i = 0; i < 200; i++)
        {
            ulong node = k.Allocate(24);
            k.WriteU64(link, node);
            k.WriteU64(node, parent | 1);
            (parent, link) = (node, node + 16);
        }

        Assert.Contains("deep", Assert.Throws<StructureException>(() => RedBlackTrees.Nodes(g.Kernel, root, "tree", Few).Count()).Message);
        k.WriteU64(parent + 8, parent + 0x40);
        k.WriteU64(parent + 16, parent + 0x40);
        Assert.Throws<StructureException>(() => RedBlackTrees.Nodes(g.Kernel, root, "tree", Few).Count());
    }

    public static TheoryData<ulong[]> IndexSets =>
    [
        new ulong[] { }, new ulong[] { 0 }, new ulong[] { 5 }, new ulong[] { 0, 63 }, new ulong[] { 64 }, new ulong[] { 1, 2, 64, 4095, 4096 }, new ulong[] { 0, 1UL << 40 },
        new ulong[] { ulong.MaxValue },
    ];

    [Theory]
    [MemberData(nameof(IndexSets))]
    public void An_xarray_yields_its_elements_by_index(ulong[] indexes)
    {
        using var g = new KernelGuest();
        ulong array = g.Guest.Allocate(g.Guest.Types.SizeOf("xarray"));
        var elements = indexes.ToDictionary(i => i, i => 0xffff_8880_0000_1000 + (unchecked(i % 1000) * 8));
        g.Guest.XArray(array, elements);
        Assert.Equal(elements.OrderBy(e => e.Key).Select(e => new XArrayEntry(e.Key, e.Value)), XArrays.Entries(g.Kernel, array, "array", Few));
        foreach (ulong index in (ulong[])[0, 1, 2, 5, 63, 64, 65, 4095, 4096, 4097, 1UL << 40, ulong.MaxValue])
        {
            bool found = XArrays.TryGet(g.Kernel, array, index, "array", out XArrayEntry entry);
            Assert.Equal(elements.TryGetValue(index, out ulong value), found);
            if (found)
                Assert.Equal(new XArrayEntry(index, value), entry);
        }
    }

    [Fact]
    public void Siblings_and_reserved_entries_are_no_elements()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong array = k.Allocate(k.Types.SizeOf("xarray"));
        ulong node = k.XArray(array, new Dictionary<ulong, ulong> { [4] = 0xffff_8880_0000_1000, [9] = 7 << 1 | 1 })[0];
        ulong slots = node + k.Types.Offset("xa_node.slots");
        k.WriteU64(slots + (5 * 8), 4 << 2 | 2);
        k.WriteU64(slots + (6 * 8), 256 << 2 | 2);
        k.WriteU64(slots + (7 * 8), 257 << 2 | 2);
        Assert.Equal([new XArrayEntry(4, 0xffff_8880_0000_1000), new XArrayEntry(9, 15)], XArrays.Entries(g.Kernel, array, "array", Few));
        Assert.True(XArrays.TryGet(g.Kernel, array, 5, "array", out XArrayEntry sibling));
        Assert.Equal(0xffff_8880_0000_1000, sibling.Value);
        Assert.False(XArrays.TryGet(g.Kernel, array, 7, "array", out _));
        Assert.True(new XArrayEntry(9, 15).IsNumber);
    }

    [Theory]
    [InlineData("xa_node.parent", 0UL)]
    [InlineData("xa_node.offset", 9UL)]
    [InlineData("xa_node.shift", 7UL)]
    [InlineData("xa_node.shift", 200UL)]
    [InlineData("xa_node.shift", 6UL)]
    public void A_node_that_is_not_what_its_place_says_is_refused(string member, ulong value)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong array = k.Allocate(k.Types.SizeOf("xarray"));
        IReadOnlyList<ulong> nodes = k.XArray(array, new Dictionary<ulong, ulong> { [70] = 0x8000, [200] = 0x9000 });
        k.Put(nodes[1], member, value);
        StructureException e = Assert.Throws<StructureException>(() => XArrays.Entries(g.Kernel, array, "array", Few).Count());
        Assert.Equal(nodes[1], e.Address);
        Assert.Throws<StructureException>(() => XArrays.TryGet(g.Kernel, array, 70, "array", out _));
    }

    [Fact]
    public void Nodes_that_hold_themselves_end()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong array = k.Allocate(k.Types.SizeOf("xarray"));
        IReadOnlyList<ulong> nodes = k.XArray(array, new Dictionary<ulong, ulong> { [70] = 0x8000 });
        k.WriteU64(nodes[1] + k.Types.Offset("xa_node.slots"), nodes[1] | 2);
        Assert.Throws<StructureException>(() => XArrays.Entries(g.Kernel, array, "array", Few).Count());
        k.WriteU64(nodes[0] + k.Types.Offset("xa_node.slots"), nodes[0] | 2);
        Assert.Throws<StructureException>(() => XArrays.Entries(g.Kernel, array, "array", Few).Count());
        k.Put(array, "xarray.xa_head", 0xffff_c900_0000_0002);
        Assert.Throws<GuestMemoryException>(() => XArrays.Entries(g.Kernel, array, "array", Few).Count());
    }

    [Fact]
    public void Ids_count_from_the_base_of_their_allocator()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong idr = k.Allocate(k.Types.SizeOf("idr"));
        k.XArray(idr + k.Types.Offset("idr.idr_rt"), new Dictionary<ulong, ulong> { [0] = 0x8000, [3] = 0x9000 });
        k.Put(idr, "idr.idr_base", 1);
        Assert.Equal([new XArrayEntry(1, 0x8000), new XArrayEntry(4, 0x9000)], XArrays.IdrEntries(g.Kernel, idr, "idr", Few));
    }

    [Fact]
    public void Counters_are_summed_over_the_cpus()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Cpus = 3 });
        SyntheticKernel k = g.Guest;
        ulong counter = k.Allocate(k.Types.SizeOf("percpu_counter"));
        k.Put(counter, "percpu_counter.count", 100);
        Assert.Equal(100, Cpus.CounterSum(g.Kernel, counter));
        const ulong offset = 0x8000;
        k.Put(counter, "percpu_counter.counters", offset);
        for (int cpu = 0; cpu < 3; cpu++)
            k.Write(k.PerCpuBase(cpu) + offset, BitConverter.GetBytes(-10 * cpu));
        Assert.Equal([0, 1, 2], Cpus.Possible(g.Kernel));
        Assert.Equal(70, Cpus.CounterSum(g.Kernel, counter));
    }

    [Fact]
    public void A_cpu_that_a_panic_took_offline_is_still_looked_at_and_one_that_was_unplugged_is_not()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Cpus = 4 });
        g.Guest.WriteU64(g.Guest["__cpu_online_mask"], 0b0010);
        g.Guest.WriteU64(g.Guest["__cpu_active_mask"], 0b0111);
        Assert.Equal([1], Cpus.Online(g.Kernel));
        Assert.Equal([0, 1, 2], Cpus.Scheduled(g.Kernel));
        Assert.Equal([0, 1, 2], RunQueues.ReadAll(g.Kernel, Few).Select(q => q.Cpu));
        Assert.Equal([0, 1, 2], Timers.Wheels(g.Kernel, Few).Select(w => w.Cpu).Distinct());
        Assert.Equal([0, 1, 2], CpuStates.ReadAll(g.Kernel).Select(c => c.Cpu));
    }

    private static (ulong Root, ulong[] Nodes) Tree(SyntheticKernel k, int count)
    {
        ulong root = k.Allocate(16);
        ulong[] nodes = [.. Enumerable.Range(0, count).Select(_ => k.Allocate(24))];
        k.Tree(root, nodes, cached: true);
        return (root, nodes);
    }
}
