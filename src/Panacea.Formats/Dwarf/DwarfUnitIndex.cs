namespace Panacea.Formats.Dwarf;

/// <summary>Which unit an address belongs to: by .debug_aranges (DWARF 5, 6.1.2), and for units that are not in there by what the units say of themselves.</summary>
internal sealed class DwarfUnitIndex(DwarfSections sections)
{
    private readonly List<(ulong Start, ulong End, ulong Unit)> _listed = [], _own = [];
    private List<ulong>? _units;
    private bool _isListed, _isWalked;

    /// <summary>Offsets of the units that may hold the address, the likeliest first.</summary>
    /// <exception cref="InvalidDataException">The index is damaged, or beyond the limits.</exception>
    public IEnumerable<ulong> Find(ulong address)
    {
        ReadListed();
        foreach (ulong unit in Covering(_listed, address))
            yield return unit;
        Walk();
        foreach (ulong unit in Covering(_own, address))
            yield return unit;
    }

    /// <summary>Offset of the unit whose bytes include an offset of .debug_info; null where none does.</summary>
    /// <exception cref="InvalidDataException">The units are damaged.</exception>
    public ulong? Containing(ulong offset)
    {
        List<ulong> units = Units();
        int at = units.BinarySearch(offset);
        at = at < 0 ? ~at - 1 : at;
        return at < 0 ? null : units[at];
    }

    private static List<ulong> Covering(List<(ulong Start, ulong End, ulong Unit)> ranges, ulong address)
    {
        // Ranges of code do not overlap but where a file is damaged; a few are looked at, not all.
        const int most = 8;
        int at = ranges.BinarySearch((address, ulong.MaxValue, ulong.MaxValue));
        var found = new List<ulong>();
        for (int i = (at < 0 ? ~at : at) - 1, seen = 0; i >= 0 && seen < most; i--, seen++)
        {
            if (address >= ranges[i].Start && address < ranges[i].End && !found.Contains(ranges[i].Unit))
                found.Add(ranges[i].Unit);
        }

        return found;
    }

    private void ReadListed()
    {
        if (_isListed)
            return;
        _isListed = true;
        if (sections.Aranges.Length > (ulong)sections.Limits.MaxElfTableBytes)
            throw new InvalidDataException($".debug_aranges has {sections.Aranges.Length} bytes, more than {sections.Limits.MaxElfTableBytes}");
        byte[] bytes = sections.Aranges.Read(0, (int)sections.Aranges.Length);
        for (int set = 0; set < bytes.Length;)
        {
            var at = new DwarfCursor(bytes, set);
            ulong length = at.InitialLength(out int offsetSize);
            if (length > (ulong)at.Left)
                throw new DwarfCutException(".debug_aranges ends too early");
            int end = at.Position + (int)length;
            int version = at.U16();
            ulong unit = at.Unsigned(offsetSize);
            int size = at.U8(), segment = at.U8();
            if (version != 2 || size is < 1 or > 8 || segment != 0)
                throw new InvalidDataException(".debug_aranges has a header that makes no sense");

            // The first pair is aligned to its own size, counted from the set's first byte.
            int pair = 2 * size;
            at.MoveTo(Math.Min(end, set + (at.Position - set + pair - 1) / pair * pair));
            while (end - at.Position >= pair)
            {
                ulong start = at.Unsigned(size), bytesOfCode = at.Unsigned(size);
                if (start == 0 && bytesOfCode == 0)
                    break;
                Add(_listed, start, unchecked(start + bytesOfCode), unit);
            }

            set = end;
        }

        _listed.Sort();
    }

    /// <summary>Reads the head of every unit that .debug_aranges does not list: compilers need not write it, and do not write all.</summary>
    private void Walk()
    {
        if (_isWalked)
            return;
        _isWalked = true;
        var known = _listed.Select(l => l.Unit).ToHashSet();
        foreach (ulong offset in Units())
        {
            if (!known.Contains(offset) && DwarfUnit.Read(sections, offset, headOnly: true) is { } unit)
                unit.Place.Visit(unit, (start, end) => Add(_own, start, end, offset));
        }

        _own.Sort();
    }

    private List<ulong> Units()
    {
        if (_units is not null)
            return _units;
        _units = [];
        for (ulong offset = 0; offset < sections.Info.Length;)
        {
            if (_units.Count >= sections.Limits.MaxDwarfUnits)
                throw new InvalidDataException($"its debug information has more than {sections.Limits.MaxDwarfUnits} units");
            _units.Add(offset);
            offset = DwarfUnit.EndOf(sections, offset);
        }

        return _units;
    }

    private void Add(List<(ulong Start, ulong End, ulong Unit)> to, ulong start, ulong end, ulong unit)
    {
        if (end <= start)
            return;
        if (to.Count >= sections.Limits.MaxDwarfRanges)
            throw new InvalidDataException($"its debug information has more than {sections.Limits.MaxDwarfRanges} ranges");
        to.Add((start, end, unit));
    }
}
