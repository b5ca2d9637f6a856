using Panacea.Kernel.Structures;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Structures;

public sealed class ListsTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    private static (ulong Head, ulong[] Nodes) Make(SyntheticKernel k, int count)
    {
        ulong head = k.Allocate(16);
        ulong[] nodes = [.. Enumerable.Range(0, count).Select(_ => k.Allocate(16))];
        k.Ring([head, .. nodes]);
        return (head, nodes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(100)]
    public void A_list_yields_its_elements_in_order(int count)
    {
        using var g = new KernelGuest();
        (ulong head, ulong[] nodes) = Make(g.Guest, count);
        Assert.Equal(nodes, Lists.Nodes(g.Kernel, head, "list", Few));
        Assert.Equal(count == 0, Lists.IsEmpty(g.Kernel, head, "list"));
    }

    [Fact]
    public void Entries_are_the_objects_around_their_links()
    {
        using var g = new KernelGuest();
        ulong tasks = g.Guest.Types.Offset("task_struct.tasks");
        Assert.Equal(
            g.Guest.Tasks.Skip(1).Select(t => t.Address), Lists.Entries(g.Kernel, g.Guest["init_task"] + tasks, "task_struct.tasks", Few));
        Assert.Equal(g.Guest["init_task"], Walk.ContainerOf(g.Kernel, g.Guest["init_task"] + tasks, "task_struct.tasks"));
    }

    [Theory]
    [InlineData(1, 0, 0UL, StructureFault.Null, 1)]
    [InlineData(1, 0, Walk.ListPoison1, StructureFault.Poison, 1)]
    [InlineData(2, 8, 0x1234UL, StructureFault.BackPointer, 2)]
    [InlineData(0, 8, 0UL, StructureFault.BackPointer, 0)]
    public void A_broken_link_names_its_element_and_keeps_what_came_before(int element, int offset, ulong value, StructureFault fault, int before)
    {
        using var g = new KernelGuest();
        (ulong head, ulong[] nodes) = Make(g.Guest, 4);
        g.Guest.WriteU64(nodes[element] + (ulong)offset, value);
        StructureException e = Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count());
        Assert.Equal((fault, nodes[element]), (e.Fault, e.Address));
        Assert.Contains($"0x{nodes[element]:x}", e.Message);
        Walked<ulong> walked = Walk.Collect(Lists.Nodes(g.Kernel, head, "list", Few));
        Assert.Equal(nodes.Take(before), walked.Items);
        Assert.Equal(e.Message, walked.Broken);
    }

    [Fact]
    public void A_list_whose_end_points_into_its_middle_does_not_go_on_for_ever()
    {
        using var g = new KernelGuest();
        (ulong head, ulong[] nodes) = Make(g.Guest, 6);
        g.Guest.WriteU64(nodes[5], nodes[2]);
        Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count());

        // A closed ring that has lost its head.
        g.Guest.WriteU64(head, nodes[0]);
        g.Guest.Ring(nodes);
        g.Guest.WriteU64(nodes[0] + 8, head);
        Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count());
    }

    [Fact]
    public void A_head_that_does_not_close_the_ring_is_a_broken_list()
    {
        using var g = new KernelGuest();
        (ulong head, ulong[] nodes) = Make(g.Guest, 3);
        g.Guest.WriteU64(head + 8, nodes[1]);
        StructureException e = Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count());
        Assert.Equal((StructureFault.BackPointer, head), (e.Fault, e.Address));
        g.Guest.WriteU64(head, 0);
        Assert.Equal(StructureFault.Null, Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count()).Fault);
    }

    [Fact]
    public void More_elements_than_the_limit_are_refused()
    {
        using var g = new KernelGuest();
        (ulong head, _) = Make(g.Guest, 101);
        Assert.Equal(StructureFault.TooLong, Assert.Throws<StructureException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count()).Fault);
    }

    [Fact]
    public void What_is_not_mapped_is_a_typed_failure()
    {
        using var g = new KernelGuest();
        (ulong head, ulong[] nodes) = Make(g.Guest, 3);
        g.Guest.WriteU64(nodes[1], 0xffff_c900_0000_0000);
        GuestMemoryException e = Assert.Throws<GuestMemoryException>(() => Lists.Nodes(g.Kernel, head, "list", Few).Count());
        Assert.Equal(0xffff_c900_0000_0000, e.Fault.Address);
    }

    [Fact]
    public void Hash_chains_of_all_three_kinds()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong table = k.Allocate(8 * 4), a = k.Allocate(16), b = k.Allocate(16), c = k.Allocate(16);
        void Link(ulong link, ulong node, ulong next)
        {
            k.WriteU64(link, node);
            k.WriteU64(node, next);
            k.WriteU64(node + 8, link);
        }

        Link(table, a, b);
        Link(a, b, 0);
        Link(table + 16, c, 0);
        Assert.Equal([a, b], Lists.HlistNodes(g.Kernel, table, "hash", Few));
        Assert.Equal([a, b, c], Lists.HashNodes(g.Kernel, table, 4, "hash", Few));
        Assert.Throws<StructureException>(() => Lists.HashNodes(g.Kernel, table, 101, "hash", Few).Count());

        k.WriteU64(table, a | 1);
        Assert.Equal([a, b], Lists.HlistBlNodes(g.Kernel, table, "hash", Few));
        k.WriteU64(table, a);
        k.WriteU64(b, 3);
        Assert.Equal([a, b], Lists.HlistNullsNodes(g.Kernel, table, "hash", Few));
        k.WriteU64(b, a);
        Assert.Equal(StructureFault.Cycle, Assert.Throws<StructureException>(() => Lists.HlistNodes(g.Kernel, table, "hash", Few).Count()).Fault);
        k.WriteU64(b, c);
        Assert.Equal(StructureFault.BackPointer, Assert.Throws<StructureException>(() => Lists.HlistNodes(g.Kernel, table, "hash", Few).Count()).Fault);
        k.WriteU64(b, Walk.ListPoison1);
        Assert.Equal(StructureFault.Poison, Assert.Throws<StructureException>(() => Lists.HlistNodes(g.Kernel, table, "hash", Few).Count()).Fault);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(9)]
    public void A_chain_that_returns_into_itself_ends(int target)
    {
        using var g = new KernelGuest();
        ulong[] nodes = [.. Enumerable.Range(0, 10).Select(_ => g.Guest.Allocate(24))];
        for (int i = 0; i < 9; i++)
            g.Guest.WriteU64(nodes[i] + 16, nodes[i + 1]);
        Assert.Equal(nodes, Lists.Chain(g.Kernel, nodes[0], 16, "chain", Few));
        Assert.Empty(Lists.Chain(g.Kernel, 0, 16, "chain", Few));
        g.Guest.WriteU64(nodes[9] + 16, nodes[target]);
        Assert.Equal(StructureFault.Cycle, Assert.Throws<StructureException>(() => Lists.Chain(g.Kernel, nodes[0], 16, "chain", Few).Count()).Fault);
    }

    [Fact]
    public void A_priority_list_is_ascending()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong head = k.Allocate(16);
        ulong[] nodes = [.. Enumerable.Range(0, 3).Select(_ => k.Allocate(k.Types.SizeOf("plist_node")))];
        k.Ring([head, .. nodes.Select(n => n + k.Types.Offset("plist_node.node_list"))]);
        for (int i = 0; i < 3; i++)
            k.Put(nodes[i], "plist_node.prio", (ulong)(10 + i));
        Assert.Equal(nodes, Lists.PlistNodes(g.Kernel, head, "plist", Few));
        k.Put(nodes[2], "plist_node.prio", 9);
        StructureException e = Assert.Throws<StructureException>(() => Lists.PlistNodes(g.Kernel, head, "plist", Few).Count());
        Assert.Equal((StructureFault.Shape, nodes[2]), (e.Fault, e.Address));
    }
}
