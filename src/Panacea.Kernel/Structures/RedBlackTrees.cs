using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Structures;

/// <summary>Red-black trees (include/linux/rbtree_types.h): rb_node is __rb_parent_color, rb_right, rb_left in every kernel; augmented trees and those that cache their leftmost node have the
/// same nodes.</summary>
public static class RedBlackTrees
{
    /// <summary>A balanced tree of n nodes is at most 2·log2(n+1) deep: no tree in 64 bits of memory is deeper.</summary>
    private const int MaxDepth = 128;

    /// <summary>The colour and a flag of its own in the lowest bits of __rb_parent_color (include/linux/rbtree.h, rb_parent).</summary>
    private const ulong ColorMask = 3;

    private readonly record struct Node(ulong Parent, ulong Right, ulong Left);

    /// <summary>The rb_nodes of a tree in order.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="root">Guest-virtual address of its rb_root; of an rb_root_cached the same, it comes first there.</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="limits">Ceilings; <see cref="TargetLimits.MaxChain"/> bounds the nodes.</param>
    /// <exception cref="StructureException">While enumerating: a node's parent is another one, or the tree is too deep or too large.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a link points to memory that can't be read.</exception>
    public static IEnumerable<ulong> Nodes(LinuxKernel kernel, ulong root, string what, TargetLimits limits)
    {
        var path = new Stack<(ulong At, Node Node)>();
        ulong at = kernel.ReadU64(root, what), parent = 0;
        int count = 0;
        while (at != 0 || path.Count > 0)
        {
            while (at != 0)
            {
                Node node = Read(kernel, at, what);
                if (node.Parent != parent)
                    throw Walk.NotBack(at, node.Parent, parent, what);
                if (node.Left == node.Right && node.Left != 0)
                    throw new StructureException(StructureFault.Shape, at, $"{what}: both children of the node at 0x{at:x} are 0x{node.Left:x}");
                if (path.Count == MaxDepth)
                    throw new StructureException(StructureFault.TooLong, at, $"{what}: the tree is more than {MaxDepth} nodes deep at 0x{at:x}");
                path.Push((at, node));
                parent = at;
                at = node.Left;
            }

            (ulong here, Node next) = path.Pop();
            if (++count > limits.MaxChain)
                throw new StructureException(StructureFault.TooLong, here, $"{what}: more than {limits.MaxChain} nodes");
            yield return here;
            parent = here;
            at = next.Right;
        }
    }

    /// <summary>The objects of a tree in order, by the rb_node embedded in each.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="root">Guest-virtual address of its rb_root or rb_root_cached.</param>
    /// <param name="member">The embedded rb_node, <c>type.member[.member]</c>.</param>
    /// <param name="limits">Ceilings.</param>
    /// <inheritdoc cref="Nodes" path="/exception"/>
    public static IEnumerable<ulong> Entries(LinuxKernel kernel, ulong root, string member, TargetLimits limits)
    {
        ulong offset = kernel.Offset(member);
        foreach (ulong node in Nodes(kernel, root, member, limits))
            yield return unchecked(node - offset);
    }

    /// <summary>The leftmost node as an rb_root_cached has it, 0 for an empty tree: compare with the first that <see cref="Nodes"/> yields.</summary>
    public static ulong CachedLeftmost(LinuxKernel kernel, ulong root) => kernel.Read(root, "rb_root_cached.rb_leftmost");

    private static Node Read(LinuxKernel kernel, ulong at, string what)
    {
        Span<byte> raw = stackalloc byte[24];
        kernel.Space.Read(new VirtualAddress(at), raw, what);
        return new Node(
            BinaryPrimitives.ReadUInt64LittleEndian(raw) & ~ColorMask, BinaryPrimitives.ReadUInt64LittleEndian(raw[8..]), BinaryPrimitives.ReadUInt64LittleEndian(raw[16..]));
    }
}
