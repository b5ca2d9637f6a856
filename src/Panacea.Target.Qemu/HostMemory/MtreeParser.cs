using System.Globalization;

namespace Panacea.Target.Qemu.HostMemory;

/// <summary>One run of guest-physical addresses in the system's flat view that is RAM or ROM.</summary>
/// <param name="Range">Guest-physical addresses.</param>
/// <param name="Name">QEMU's name of the memory region: <c>pc.ram</c>, a backend's id, <c>pc.bios</c>.</param>
/// <param name="Offset">Byte offset of the run in that region.</param>
/// <param name="IsReadOnly">The guest cannot write there (ROM, or RAM shadowed read-only).</param>
public sealed record FlatRange(PhysicalRange Range, string Name, ulong Offset, bool IsReadOnly);

/// <summary>Reads HMP <c>info mtree -f</c> (QEMU softmmu/memory.c, mtree_print_flatview). Its text is for people, so each line that is not
/// understood is passed over and what is missing in the end is an error.</summary>
public static class MtreeParser
{
    private const int MaxRanges = 4096;
    private const ulong MaxAddress = 1UL << 52;

    /// <summary>The ranges of the address space <c>memory</c> that are guest RAM or ROM, ascending and disjoint.</summary>
    /// <remarks>Left out: <c>ramd</c> (a passed-through device's memory: reading it has side effects), <c>romd</c> (flash), and RAM that a device
    /// owns (a framebuffer), where <c>-o</c> tells owners.</remarks>
    /// <exception cref="TargetException">No such view, no RAM in it, or ranges that cannot be.</exception>
    public static IReadOnlyList<FlatRange> Parse(string text)
    {
        var ranges = new List<FlatRange>();
        bool inView = false, found = false;
        foreach (ReadOnlySpan<char> raw in text.AsSpan().EnumerateLines())
        {
            ReadOnlySpan<char> line = raw.Trim();
            if (line.StartsWith("FlatView #", StringComparison.Ordinal))
            {
                if (found)
                    break;
                inView = false;
            }
            else if (line.StartsWith("AS \"memory\", root: system", StringComparison.Ordinal))
            {
                inView = found = true;
            }
            else if (inView && TryParseRange(line) is { } range)
            {
                if (ranges.Count == MaxRanges)
                    throw new TargetException($"QEMU describes more than {MaxRanges} memory ranges");
                ranges.Add(range);
            }
        }

        if (!found)
            throw new TargetException("QEMU's \"info mtree -f\" shows no system memory");
        ranges.Sort((a, b) => a.Range.Start.CompareTo(b.Range.Start));
        for (int i = 1; i < ranges.Count; i++)
        {
            if (ranges[i].Range.Start.Value < ranges[i - 1].Range.End.Value)
                throw new TargetException($"QEMU describes overlapping memory at {ranges[i].Range.Start}");
        }

        return ranges.Exists(r => !r.IsReadOnly) ? ranges : throw new TargetException("QEMU's \"info mtree -f\" shows no guest RAM");
    }

    /// <summary><c>0000000100000000-00000001bfffffff (prio 0, ram): pc.ram @00000000c0000000 KVM owner:{obj path=/objects/mem}</c>.</summary>
    private static FlatRange? TryParseRange(ReadOnlySpan<char> line)
    {
        int dash = line.IndexOf('-');
        int open = line.IndexOf(" (", StringComparison.Ordinal);
        int close = line.IndexOf("): ", StringComparison.Ordinal);
        if (dash <= 0 || open <= dash || close <= open
            || !TryHex(line[..dash], out ulong first) || !TryHex(line[(dash + 1)..open], out ulong last) || last < first || last >= MaxAddress)
            return null;
        ReadOnlySpan<char> attributes = line[(open + 2)..close];
        int comma = attributes.IndexOf(", ", StringComparison.Ordinal);
        if (comma < 0)
            return null;
        ReadOnlySpan<char> type = attributes[(comma + 2)..];
        bool readOnly = type is "rom" or "nv-rom";
        if (!readOnly && type is not ("ram" or "nv-ram"))
            return null;

        ReadOnlySpan<char> rest = line[(close + 3)..];
        if (rest.Contains("owner:{dev", StringComparison.Ordinal) || rest.Contains("parent:{dev", StringComparison.Ordinal))
            return null;
        foreach (string tail in (ReadOnlySpan<string>)[" owner:{", " parent:{", " orphan"])
        {
            int at = rest.IndexOf(tail, StringComparison.Ordinal);
            if (at >= 0)
                rest = rest[..at];
        }

        ulong offset = 0;
        int sign = rest.LastIndexOf(" @", StringComparison.Ordinal);
        if (sign >= 0)
        {
            ReadOnlySpan<char> digits = rest[(sign + 2)..];
            int space = digits.IndexOf(' ');
            if (!TryHex(space < 0 ? digits : digits[..space], out offset))
                return null;
            rest = rest[..sign];
        }

        // A framebuffer by name, where this QEMU's mtree does not tell owners.
        if (rest.EndsWith(".vram", StringComparison.Ordinal) || rest.StartsWith("qxl", StringComparison.Ordinal))
            return null;
        return new FlatRange(new PhysicalRange(new PhysicalAddress(first), last - first + 1), rest.Trim().ToString(), offset, readOnly);
    }

    private static bool TryHex(ReadOnlySpan<char> text, out ulong value) =>
        ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value) && text.Length <= 16;
}
