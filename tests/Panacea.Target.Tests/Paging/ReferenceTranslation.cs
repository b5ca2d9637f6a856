using Panacea.TestKit.Memory;

namespace Panacea.Target.Tests.Paging;

/// <summary>A second translation, written from the manual's figures with other means than the walker: strings of bits, no masks, recursion over the levels.</summary>
internal static class ReferenceTranslation
{
    /// <summary>Guest-physical address, or null where nothing is mapped.</summary>
    public static ulong? Translate(SparsePhysicalMemory memory, ulong root, int levels, ulong address)
    {
        string bits = Convert.ToString(unchecked((long)address), 2).PadLeft(64, '0');
        int linear = 12 + (9 * levels);
        if (bits[..(64 - linear)].Any(b => b != bits[64 - linear]))
            return null;
        return Step(memory, root, levels, bits[(64 - linear)..]);
    }

    private static ulong? Step(SparsePhysicalMemory memory, ulong table, int level, string rest)
    {
        if (level == 0)
            return table + Convert.ToUInt64(rest, 2);
        string entry = Convert.ToString(unchecked((long)memory.ReadUInt64(table + (Convert.ToUInt64(rest[..9], 2) * 8))), 2).PadLeft(64, '0');
        if (entry[63] == '0')
            return null;
        string offset = rest[9..];
        bool last = level == 1 || entry[56] == '1';

        // Bits 51 to 12 of the entry, of which a page keeps those above its own offset.
        ulong frame = Convert.ToUInt64(entry[12..(64 - (last ? offset.Length : 12))] + new string('0', last ? offset.Length : 12), 2);
        return last ? frame + Convert.ToUInt64(offset, 2) : Step(memory, frame, level - 1, offset);
    }
}
