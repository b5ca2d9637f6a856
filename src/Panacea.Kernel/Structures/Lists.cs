using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Structures;

/// <summary>The kernel's linked lists (include/linux/types.h, list.h, list_nulls.h, list_bl.h, llist.h, plist.h). Their layouts are two pointers, or one, in every kernel, so no BTF is
/// needed. A walk yields elements as it goes and throws where the list breaks, so that what came before is not lost (<see cref="Walk.Collect"/>).</summary>
public static class Lists
{
    /// <summary>The list_head of every element of a list, in order, without the head.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="head">Guest-virtual address of the list's head.</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="limits">Ceilings; <see cref="TargetLimits.MaxChain"/> bounds the walk.</param>
    /// <exception cref="StructureException">While enumerating: a link is NULL or poison, an element's prev is not the one before it, or the list does not return to its head.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a link points to memory that can't be read.</exception>
    public static IEnumerable<ulong> Nodes(LinuxKernel kernel, ulong head, string what, TargetLimits limits)
    {
        var guard = new ChainGuard(what, limits.MaxChain);
        (ulong at, ulong last) = ReadPair(kernel, head, what);
        ulong before = head;
        Walk.CheckLink(at, head, what);
        while (at != head)
        {
            guard.Step(at);
            (ulong next, ulong prev) = ReadPair(kernel, at, what);
            Walk.CheckLink(next, at, what);
            if (prev != before)
                throw Walk.NotBack(at, prev, before, what);
            yield return at;
            before = at;
            at = next;
        }

        if (last != before)
            throw Walk.NotBack(head, last, before, what);
    }

    /// <summary>The objects of a list, by the list_head embedded in each.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="head">Guest-virtual address of the list's head.</param>
    /// <param name="member">The embedded list_head, <c>type.member[.member]</c>.</param>
    /// <param name="limits">Ceilings.</param>
    /// <inheritdoc cref="Nodes" path="/exception"/>
    public static IEnumerable<ulong> Entries(LinuxKernel kernel, ulong head, string member, TargetLimits limits)
    {
        ulong offset = kernel.Offset(member);
        foreach (ulong node in Nodes(kernel, head, member, limits))
            yield return unchecked(node - offset);
    }

    /// <summary>True where a list has no elements.</summary>
    public static bool IsEmpty(LinuxKernel kernel, ulong head, string what) => kernel.ReadU64(head, what) == head;

    /// <summary>The hlist_node of every element of one hlist_head (a bucket of a hash table).</summary>
    /// <exception cref="StructureException">While enumerating: a poisoned link, a pprev that is not the link before it, or a cycle.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a link points to memory that can't be read.</exception>
    public static IEnumerable<ulong> HlistNodes(LinuxKernel kernel, ulong head, string what, TargetLimits limits) =>
        Hlist(kernel, head, kernel.ReadU64(head, what), what, nulls: false, limits);

    /// <summary>As <see cref="HlistNodes"/>, of an hlist_nulls_head: the chain ends with a link whose lowest bit is set.</summary>
    public static IEnumerable<ulong> HlistNullsNodes(LinuxKernel kernel, ulong head, string what, TargetLimits limits) =>
        Hlist(kernel, head, kernel.ReadU64(head, what), what, nulls: true, limits);

    /// <summary>As <see cref="HlistNodes"/>, of an hlist_bl_head: the lowest bit of the head's link is its lock.</summary>
    public static IEnumerable<ulong> HlistBlNodes(LinuxKernel kernel, ulong head, string what, TargetLimits limits) =>
        Hlist(kernel, head, kernel.ReadU64(head, what) & ~1UL, what, nulls: false, limits);

    /// <summary>The hlist_nodes of all buckets of a hash table.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="table">Guest-virtual address of the first hlist_head.</param>
    /// <param name="buckets">Number of heads.</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="limits">Ceilings, for the buckets, and for all elements together.</param>
    /// <inheritdoc cref="HlistNodes" path="/exception"/>
    public static IEnumerable<ulong> HashNodes(LinuxKernel kernel, ulong table, int buckets, string what, TargetLimits limits)
    {
        if (buckets < 0 || buckets > limits.MaxChain)
            throw new StructureException(StructureFault.TooLong, table, $"{what}: {buckets} buckets are beyond the limit");
        int count = 0;
        for (int i = 0; i < buckets; i++)
        {
            foreach (ulong node in HlistNodes(kernel, unchecked(table + ((ulong)i * 8)), what, limits))
            {
                if (++count > limits.MaxChain)
                    throw new StructureException(StructureFault.TooLong, node, $"{what}: more than {limits.MaxChain} elements");
                yield return node;
            }
        }
    }

    /// <summary>A chain through one pointer that ends with NULL: an llist (newest first), or any object that points to the next of its kind.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="first">Guest-virtual address of the first element, 0 for none.</param>
    /// <param name="nextOffset">Bytes from an element to its link; 0 for llist_node.</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="StructureException">While enumerating: a poisoned link, or a cycle.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a link points to memory that can't be read.</exception>
    public static IEnumerable<ulong> Chain(LinuxKernel kernel, ulong first, ulong nextOffset, string what, TargetLimits limits)
    {
        var guard = new ChainGuard(what, limits.MaxChain);
        for (ulong at = first; at != 0;)
        {
            guard.Step(at);
            ulong next = kernel.ReadU64(unchecked(at + nextOffset), what);
            if (next != 0)
                Walk.CheckLink(next, at, what);
            yield return at;
            at = next;
        }
    }

    /// <summary>The plist_nodes of a priority list in order (plist_head.node_list through plist_node.node_list).</summary>
    /// <exception cref="StructureException">While enumerating: as <see cref="Nodes"/>, or priorities that are not ascending.</exception>
    public static IEnumerable<ulong> PlistNodes(LinuxKernel kernel, ulong head, string what, TargetLimits limits)
    {
        int last = int.MinValue;
        foreach (ulong node in Entries(kernel, unchecked(head + kernel.Offset("plist_head.node_list")), "plist_node.node_list", limits))
        {
            int priority = kernel.ReadS32(node, "plist_node.prio");
            if (priority < last)
                throw new StructureException(StructureFault.Shape, node, $"{what}: the element at 0x{node:x} has priority {priority} behind {last}");
            last = priority;
            yield return node;
        }
    }

    private static IEnumerable<ulong> Hlist(LinuxKernel kernel, ulong head, ulong first, string what, bool nulls, TargetLimits limits)
    {
        var guard = new ChainGuard(what, limits.MaxChain);
        ulong link = head;
        for (ulong at = first; at != 0 && !(nulls && (at & 1) != 0);)
        {
            guard.Step(at);
            (ulong next, ulong pprev) = ReadPair(kernel, at, what);
            if (next != 0)
                Walk.CheckLink(next, at, what);
            if (pprev != link)
                throw Walk.NotBack(at, pprev, link, what);
            yield return at;
            link = at;
            at = next;
        }
    }

    /// <summary>Both pointers in one read, so that they fit together.</summary>
    private static (ulong First, ulong Second) ReadPair(LinuxKernel kernel, ulong address, string what)
    {
        Span<byte> raw = stackalloc byte[16];
        kernel.Space.Read(new VirtualAddress(address), raw, what);
        return (BinaryPrimitives.ReadUInt64LittleEndian(raw), BinaryPrimitives.ReadUInt64LittleEndian(raw[8..]));
    }
}
