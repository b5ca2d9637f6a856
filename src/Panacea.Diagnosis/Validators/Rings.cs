using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Walks rings of list_heads and goes on behind what is broken: an element that does not point back is told and passed, and where the way ahead ends the ring is followed backward
/// from its head.</summary>
internal static class Rings
{
    /// <summary>The list_heads of a ring, without its head.</summary>
    /// <param name="context">What is looked at.</param>
    /// <param name="notes">Receives what is broken.</param>
    /// <param name="head">Guest-virtual address of the head.</param>
    /// <param name="what">What is walked, for messages.</param>
    /// <param name="max">Elements at most.</param>
    public static List<ulong> Nodes(CheckContext context, CheckNotes notes, ulong head, string what, int max)
    {
        LinuxKernel kernel = context.Kernel;
        var nodes = new List<ulong>();
        var seen = new HashSet<ulong> { head };
        if (Forward())
            return nodes;

        // As far as the other direction leads; what the first has seen is not told again.
        for (ulong at = head; ;)
        {
            if (!kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(at + 8)), out ulong before, out _) || !seen.Add(before) || nodes.Count >= max)
                return nodes;
            if (before is 0 or Walk.ListPoison1 or Walk.ListPoison2 || !kernel.Space.TryReadUInt64(new VirtualAddress(before), out _, out _))
                return nodes;
            nodes.Add(before);
            at = before;
        }

        bool Forward()
        {
            ulong before = head;
            Span<byte> raw = stackalloc byte[16];
            for (ulong at = head; ;)
            {
                if (!kernel.Space.TryRead(new VirtualAddress(at), raw, out MemoryFault fault))
                {
                    notes.Broken(what, new GuestMemoryException(fault, $"the element behind 0x{before:x}"));
                    return false;
                }

                ulong next = BinaryPrimitives.ReadUInt64LittleEndian(raw), prev = BinaryPrimitives.ReadUInt64LittleEndian(raw[8..]);
                if (at != head)
                {
                    if (prev != before)
                        notes.Broken(what, new StructureException(StructureFault.BackPointer, at, $"the element at 0x{at:x} points back to 0x{prev:x}, not to 0x{before:x}"));
                    nodes.Add(at);
                }

                if (next is 0 or Walk.ListPoison1 or Walk.ListPoison2)
                {
                    notes.Broken(what, new StructureException(
                        next == 0 ? StructureFault.Null : StructureFault.Poison, at, $"the element at 0x{at:x} points on to {(next == 0 ? "NULL" : $"the poison 0x{next:x}")}"));
                    return false;
                }

                if (next == head)
                {
                    if (kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(head + 8)), out ulong last, out _) && last != at)
                        notes.Broken(what, new StructureException(StructureFault.BackPointer, head, $"the head at 0x{head:x} points back to 0x{last:x}, not to 0x{at:x}"));
                    return true;
                }

                if (!seen.Add(next))
                {
                    notes.Broken(what, new StructureException(StructureFault.Cycle, next, $"the chain returns to 0x{next:x}, which is not its head"));
                    return false;
                }

                if (nodes.Count >= max)
                {
                    notes.Skip($"{what}: no more than {max} elements were followed");
                    return true;
                }

                (before, at) = (at, next);
            }
        }
    }

    /// <summary>The objects of a ring by the list_head embedded in each.</summary>
    public static IEnumerable<ulong> Entries(CheckContext context, CheckNotes notes, ulong head, string member, string what, int max)
    {
        ulong offset = context.Kernel.Offset(member);
        return Nodes(context, notes, head, what, max).Select(node => unchecked(node - offset));
    }
}
