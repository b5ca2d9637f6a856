namespace Panacea.Formats.Dwarf;

/// <summary>Where the code of an entry is: one range, a list of them, or nowhere (DWARF 5, 2.17).</summary>
/// <param name="Low">DW_AT_low_pc.</param>
/// <param name="High">DW_AT_high_pc: an address, or bytes from the low one.</param>
/// <param name="Ranges">DW_AT_ranges.</param>
internal readonly record struct DwarfPlace(DwarfValue Low, DwarfValue High, DwarfValue Ranges)
{
    private const int FirstRead = 1024;

    /// <summary>It says where.</summary>
    public bool Exists => Ranges.Exists || (Low.Exists && High.Exists);

    /// <summary>The address is in it.</summary>
    /// <exception cref="InvalidDataException">A list is damaged.</exception>
    public bool Contains(DwarfUnit unit, ulong address)
    {
        if (Ranges.Exists)
        {
            bool found = false;
            Visit(unit, (start, end) => found |= address >= start && address < end);
            return found;
        }

        if (!Exists)
            return false;
        (ulong low, ulong high) = Bounds(unit);
        return address >= low && address < high;
    }

    /// <summary>Calls for each range: first address, first address past it.</summary>
    /// <exception cref="InvalidDataException">A list is damaged.</exception>
    public void Visit(DwarfUnit unit, Action<ulong, ulong> range)
    {
        if (!Ranges.Exists)
        {
            if (Exists)
                range(Bounds(unit).Low, Bounds(unit).High);
            return;
        }

        DwarfValue list = Ranges;
        List<(ulong Start, ulong End)> all = unit.Encoding.Version >= 5
            ? unit.Sections.Growing(unit.Sections.RangeLists, unit.RangeListOf(list), FirstRead, bytes => ReadNew(unit, bytes))
            : unit.Sections.Growing(unit.Sections.Ranges, list.Number, FirstRead, bytes => ReadOld(unit, bytes));
        foreach ((ulong start, ulong end) in all)
            range(start, end);
    }

    private (ulong Low, ulong High) Bounds(DwarfUnit unit)
    {
        ulong low = unit.AddressOf(Low);
        bool isAddress = High.Form is Form.Addr or Form.Addrx or Form.Addrx1 or Form.Addrx2 or Form.Addrx3 or Form.Addrx4 or Form.GnuAddrIndex;
        return (low, isAddress ? unit.AddressOf(High) : unchecked(low + High.Number));
    }

    /// <summary>.debug_rnglists (DWARF 5, 7.25).</summary>
    private static List<(ulong Start, ulong End)> ReadNew(DwarfUnit unit, ReadOnlySpan<byte> bytes)
    {
        var at = new DwarfCursor(bytes);
        var all = new List<(ulong Start, ulong End)>();
        int size = unit.Encoding.AddressSize;
        ulong origin = unit.Base;
        while (true)
        {
            byte kind = at.U8();
            ulong start, end;
            switch (kind)
            {
                case 0: // DW_RLE_end_of_list
                    return all;
                case 1: // DW_RLE_base_addressx
                    origin = unit.AddressOf(at.Uleb());
                    continue;
                case 2: // DW_RLE_startx_endx
                    (start, end) = (unit.AddressOf(at.Uleb()), unit.AddressOf(at.Uleb()));
                    break;
                case 3: // DW_RLE_startx_length
                    start = unit.AddressOf(at.Uleb());
                    end = unchecked(start + at.Uleb());
                    break;
                case 4: // DW_RLE_offset_pair
                    (start, end) = (unchecked(origin + at.Uleb()), unchecked(origin + at.Uleb()));
                    break;
                case 5: // DW_RLE_base_address
                    origin = at.Unsigned(size);
                    continue;
                case 6: // DW_RLE_start_end
                    (start, end) = (at.Unsigned(size), at.Unsigned(size));
                    break;
                case 7: // DW_RLE_start_length
                    start = at.Unsigned(size);
                    end = unchecked(start + at.Uleb());
                    break;
                default:
                    throw new InvalidDataException($"a range of its debug information is of a kind that is not known ({kind})");
            }

            Add(unit, all, start, end);
        }
    }

    /// <summary>.debug_ranges (DWARF 4, 7.24).</summary>
    private static List<(ulong Start, ulong End)> ReadOld(DwarfUnit unit, ReadOnlySpan<byte> bytes)
    {
        var at = new DwarfCursor(bytes);
        var all = new List<(ulong Start, ulong End)>();
        int size = unit.Encoding.AddressSize;
        ulong newBase = size == 8 ? ulong.MaxValue : (1UL << (8 * size)) - 1, origin = unit.Base;
        while (true)
        {
            ulong start = at.Unsigned(size), end = at.Unsigned(size);
            if (start == 0 && end == 0)
                return all;
            if (start == newBase)
                origin = end;
            else
                Add(unit, all, unchecked(origin + start), unchecked(origin + end));
        }
    }

    private static void Add(DwarfUnit unit, List<(ulong Start, ulong End)> all, ulong start, ulong end)
    {
        if (all.Count >= unit.Limits.MaxDwarfRanges)
            throw new InvalidDataException($"a list of its debug information has more than {unit.Limits.MaxDwarfRanges} ranges");
        all.Add((start, end));
    }
}
