using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Structures;

/// <summary>An element of an XArray.</summary>
/// <param name="Index">Its index; of an IDR, the id.</param>
/// <param name="Value">As it is stored: a pointer, or a number in the upper 63 bits where <see cref="IsNumber"/>.</param>
public readonly record struct XArrayEntry(ulong Index, ulong Value)
{
    /// <summary>A value entry: no pointer, but the number <see cref="Value"/> >> 1 (xa_is_value).</summary>
    public bool IsNumber => (Value & 1) != 0;
}

/// <summary>XArrays, and the radix trees and IDRs that have been XArrays in other clothes since 4.20 (include/linux/xarray.h, commit f8d5d0cc145c, "xarray: Add definition of struct xarray").</summary>
public static class XArrays
{
    /// <summary>Internal entries have binary 10 in their lowest bits; those above 4096 are pointers to nodes (xa_is_node).</summary>
    private const ulong InternalMask = 3, Internal = 2, FirstNode = 4096;

    private sealed record Shape(int Slots, int ShiftBits, int SlotsAt, int ShiftAt, int OffsetAt, int ParentAt, int Bytes);

    /// <summary>Every element in the order of indexes.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="array">Guest-virtual address of the struct xarray (radix_tree_root).</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="limits">Ceilings; <see cref="TargetLimits.MaxChain"/> bounds elements and nodes.</param>
    /// <exception cref="StructureException">While enumerating: a node's parent, offset or shift is not what its place says.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a node can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel's types have no such structure.</exception>
    public static IEnumerable<XArrayEntry> Entries(LinuxKernel kernel, ulong array, string what, TargetLimits limits)
    {
        Shape shape = ShapeOf(kernel);
        ulong head = kernel.Read(array, "xarray.xa_head");
        if (!IsNode(head))
        {
            if (head != 0 && !IsInternal(head))
                yield return new XArrayEntry(0, head);
            yield break;
        }

        int nodes = 0, entries = 0;
        var path = new Stack<(ulong Node, byte[] Raw, int Slot, ulong Base)>();
        path.Push((head & ~InternalMask, ReadNode(kernel, shape, head & ~InternalMask, 0, -1, -1, what), 0, 0));
        while (path.Count > 0)
        {
            (ulong node, byte[] raw, int slot, ulong start) = path.Pop();
            int shift = raw[shape.ShiftAt];

            // A node that indexes the highest bits has more slots than there are indexes.
            int slots = shift + shape.ShiftBits > 64 ? 1 << (64 - shift) : shape.Slots;
            for (; slot < slots; slot++)
            {
                ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(shape.SlotsAt + (slot * 8)));
                ulong index = start | ((ulong)slot << shift);
                if (IsNode(entry))
                {
                    if (++nodes > limits.MaxChain)
                        throw new StructureException(StructureFault.TooLong, node, $"{what}: more than {limits.MaxChain} nodes");
                    ulong child = entry & ~InternalMask;
                    byte[] inner = ReadNode(kernel, shape, child, node, slot, shift - shape.ShiftBits, what);
                    path.Push((node, raw, slot + 1, start));
                    path.Push((child, inner, 0, index));
                    break;
                }

                // Other internal entries are siblings of a multi-index element, or "retry" and "zero" (xa_is_sibling, xa_is_zero): no elements.
                if (entry == 0 || IsInternal(entry))
                    continue;
                if (++entries > limits.MaxChain)
                    throw new StructureException(StructureFault.TooLong, node, $"{what}: more than {limits.MaxChain} elements");
                yield return new XArrayEntry(index, entry);
            }
        }
    }

    /// <summary>The element at one index.</summary>
    /// <returns>False where there is none.</returns>
    /// <inheritdoc cref="Entries" path="/exception"/>
    public static bool TryGet(LinuxKernel kernel, ulong array, ulong index, string what, out XArrayEntry entry)
    {
        Shape shape = ShapeOf(kernel);
        ulong at = kernel.Read(array, "xarray.xa_head"), parent = 0;
        int slot = -1, shift = -1;
        while (IsNode(at))
        {
            ulong node = at & ~InternalMask;
            byte[] raw = ReadNode(kernel, shape, node, parent, slot, shift, what);
            shift = raw[shape.ShiftAt];
            ulong wide = index >> shift;
            if (parent == 0 && wide >= (ulong)shape.Slots)
            {
                entry = default;
                return false;
            }

            slot = (int)(wide & (ulong)(shape.Slots - 1));
            at = Slot(shape, raw, slot);

            // A sibling entry names the slot that holds the element.
            if (IsInternal(at) && !IsNode(at) && at >> 2 < (ulong)shape.Slots)
                at = Slot(shape, raw, (int)(at >> 2));
            parent = node;
            shift -= shape.ShiftBits;
        }

        entry = new XArrayEntry(index, at);
        return at != 0 && !IsInternal(at) && (parent != 0 || index == 0);
    }

    /// <summary>Every element of an IDR with its id (struct idr: idr_rt, and the lowest id idr_base where the kernel has that member, since 4.16).</summary>
    /// <inheritdoc cref="Entries" path="/exception"/>
    public static IEnumerable<XArrayEntry> IdrEntries(LinuxKernel kernel, ulong idr, string what, TargetLimits limits)
    {
        ulong first = kernel.HasMember("idr.idr_base") ? kernel.ReadU32(idr, "idr.idr_base") : 0;
        foreach (XArrayEntry entry in Entries(kernel, unchecked(idr + kernel.Offset("idr.idr_rt")), what, limits))
            yield return entry with { Index = unchecked(entry.Index + first) };
    }

    private static bool IsInternal(ulong entry) => (entry & InternalMask) == Internal;

    private static bool IsNode(ulong entry) => IsInternal(entry) && entry > FirstNode;

    private static ulong Slot(Shape shape, byte[] raw, int slot) => BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(shape.SlotsAt + (slot * 8)));

    private static Shape ShapeOf(LinuxKernel kernel)
    {
        MemberInfo slots = kernel.Image.Types.Member("xa_node.slots");
        int count = slots.BitSize / 64, bytes = kernel.Image.Types.SizeOf("xa_node");

        // 64 slots, or 16 with CONFIG_BASE_SMALL (XA_CHUNK_SHIFT).
        if (count is < 2 or > 512 || !int.IsPow2(count) || bytes > 16384)
            throw new KernelShapeException($"xa_node has {count} slots");
        return new Shape(
            count, int.Log2(count), slots.ByteOffset, kernel.Image.Types.Member("xa_node.shift").ByteOffset, kernel.Image.Types.Member("xa_node.offset").ByteOffset,
            kernel.Image.Types.Member("xa_node.parent").ByteOffset, bytes);
    }

    /// <param name="kernel">The kernel.</param>
    /// <param name="shape">Layout of a node.</param>
    /// <param name="at">The node.</param>
    /// <param name="parent">The node it hangs off, 0 for the top one.</param>
    /// <param name="slot">Its place there; negative where it is free.</param>
    /// <param name="shift">Its shift; negative for the top one, whose own counts.</param>
    /// <param name="what">For messages.</param>
    private static byte[] ReadNode(LinuxKernel kernel, Shape shape, ulong at, ulong parent, int slot, int shift, string what)
    {
        byte[] raw = new byte[shape.Bytes];
        kernel.Space.Read(new VirtualAddress(at), raw, what);
        ulong back = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(shape.ParentAt));
        if (back != parent)
            throw Walk.NotBack(at, back, parent, what);
        int own = raw[shape.ShiftAt];
        if (own > 63 || own % shape.ShiftBits != 0 || (parent != 0 && own != shift) || (slot >= 0 && raw[shape.OffsetAt] != slot))
            throw new StructureException(StructureFault.Shape, at, $"{what}: the node at 0x{at:x} says shift {own}, offset {raw[shape.OffsetAt]}; its place says {shift}, {slot}");
        return raw;
    }
}
