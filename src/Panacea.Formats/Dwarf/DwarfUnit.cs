namespace Panacea.Formats.Dwarf;

/// <summary>One unit of .debug_info: its bytes, and what its first entry says of the whole (DWARF 5, 7.5.1 and 3.1).</summary>
internal sealed class DwarfUnit
{
    private const int HeadBytes = 4096, MaxOrigins = 8;
    private const uint Compile = 1, Partial = 3;
    private readonly DwarfSections _sections;
    private readonly byte[] _bytes;
    private readonly int _firstEntry;
    private readonly DwarfAbbreviations _abbreviations;
    private readonly ulong _textOffsetsBase, _addressBase, _rangeListsBase;

    private DwarfUnit(DwarfSections sections, ulong offset, in Header header, byte[] bytes)
    {
        (_sections, Offset, End, Encoding, _bytes, _firstEntry) = (sections, offset, header.End, header.Encoding, bytes, header.FirstEntry);
        _abbreviations = DwarfAbbreviations.Read(sections, header.Abbreviations);
        var at = new DwarfCursor(bytes, header.FirstEntry);
        ulong code = at.Uleb();
        if (code == 0)
            return;
        DwarfAbbreviation shape = _abbreviations[code];
        DwarfValue name = default, directory = default, low = default, high = default, ranges = default;
        foreach (DwarfAttribute attribute in shape.Attributes)
        {
            DwarfValue value = DwarfValue.Read(ref at, attribute.Form, attribute.Constant, header.Encoding);
            switch (attribute.Name)
            {
                case At.Name: name = value; break;
                case At.CompDir: directory = value; break;
                case At.StmtList: Lines = value.Number; break;
                case At.LowPc: low = value; break;
                case At.HighPc: high = value; break;
                case At.Ranges: ranges = value; break;
                case At.Language: Language = value.Number; break;
                case At.StrOffsetsBase: _textOffsetsBase = value.Number; break;
                case At.AddrBase: _addressBase = value.Number; break;
                case At.RngListsBase: _rangeListsBase = value.Number; break;
            }
        }

        // Only now are the bases known that these may count from.
        Base = low.Exists ? AddressOf(low) : 0;
        Name = TextOf(name);
        Directory = TextOf(directory);
        Place = new DwarfPlace(low, high, ranges);
    }

    private readonly record struct Header(ulong End, DwarfEncoding Encoding, ulong Abbreviations, int FirstEntry, bool IsCode);

    /// <summary>Where it begins in .debug_info.</summary>
    public ulong Offset { get; }

    /// <summary>First byte of .debug_info past it.</summary>
    public ulong End { get; }

    public DwarfEncoding Encoding { get; }

    /// <summary>What range lists count from, until they say otherwise.</summary>
    public ulong Base { get; }

    /// <summary>Source file that was compiled.</summary>
    public string? Name { get; }

    /// <summary>Directory in which it was.</summary>
    public string? Directory { get; }

    /// <summary>Offset of its lines; null where it has none.</summary>
    public ulong? Lines { get; }

    /// <summary>DW_LANG_….</summary>
    public ulong Language { get; }

    /// <summary>Where its code is.</summary>
    public DwarfPlace Place { get; }

    /// <summary>Bytes that are held.</summary>
    public int Held => _bytes.Length;

    public FormatLimits Limits => _sections.Limits;

    public DwarfSections Sections => _sections;

    /// <summary>First byte past the unit that begins at an offset; for going from one to the next.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static ulong EndOf(DwarfSections sections, ulong offset)
    {
        var at = new DwarfCursor(sections.Info.ReadUpTo(offset, 12));
        ulong length = at.InitialLength(out _);
        return checked(offset + (ulong)at.Position + length);
    }

    /// <summary>Reads a unit; null where it is one of types alone, or one whose entries are in another file.</summary>
    /// <param name="sections">Sections.</param>
    /// <param name="offset">Where it begins.</param>
    /// <param name="headOnly">Only the first entry is wanted.</param>
    /// <exception cref="InvalidDataException">It is damaged, or beyond the limits.</exception>
    public static DwarfUnit? Read(DwarfSections sections, ulong offset, bool headOnly = false)
    {
        Header header = ReadHeader(sections.Info.ReadUpTo(offset, 32), offset);
        if (!header.IsCode)
            return null;
        ulong size = header.End - offset;
        if (size > (ulong)sections.Limits.MaxDwarfUnitBytes && !headOnly)
            throw new InvalidDataException($"a unit of its debug information has {size} bytes, more than {sections.Limits.MaxDwarfUnitBytes}");
        if (headOnly && size > HeadBytes)
        {
            try
            {
                return new DwarfUnit(sections, offset, header, sections.Info.Read(offset, HeadBytes));
            }
            catch (DwarfCutException) when (size <= (ulong)sections.Limits.MaxDwarfUnitBytes)
            {
                // Its first entry is longer than any compiler's.
            }
        }

        return new DwarfUnit(sections, offset, header, sections.Info.Read(offset, checked((int)size)));
    }

    /// <summary>Begins to read entries, at the first.</summary>
    public DwarfCursor Entries() => new(_bytes, _firstEntry);

    /// <summary>Begins to read at an offset of .debug_info within the unit.</summary>
    public DwarfCursor EntryAt(ulong offset)
    {
        var at = new DwarfCursor(_bytes);
        at.MoveTo(checked((int)(offset - Offset)));
        return at;
    }

    public DwarfAbbreviation Shape(ulong code) => _abbreviations[code];

    /// <summary>An address, given or by its number in .debug_addr.</summary>
    public ulong AddressOf(DwarfValue value) => value.Form is Form.Addrx or Form.Addrx1 or Form.Addrx2 or Form.Addrx3 or Form.Addrx4 or Form.GnuAddrIndex ? AddressOf(value.Number) : value.Number;

    /// <summary>An address by its number in .debug_addr.</summary>
    public ulong AddressOf(ulong index)
    {
        var at = new DwarfCursor(_sections.Addresses.Read(checked(_addressBase + index * (ulong)Encoding.AddressSize), Encoding.AddressSize));
        return at.Unsigned(Encoding.AddressSize);
    }

    /// <summary>A string; null where it has none, or where it is in another file.</summary>
    public string? TextOf(DwarfValue value)
    {
        switch (value.Form)
        {
            case Form.String:
                var at = new DwarfCursor(_bytes, checked((int)value.Number));
                return System.Text.Encoding.UTF8.GetString(at.Text());
            case Form.Strp:
                return _sections.Text.ReadString(value.Number);
            case Form.LineStrp:
                return _sections.LineText.ReadString(value.Number);
            case Form.Strx or Form.Strx1 or Form.Strx2 or Form.Strx3 or Form.Strx4 or Form.GnuStrIndex:
                var offset = new DwarfCursor(_sections.TextOffsets.Read(checked(_textOffsetsBase + value.Number * (ulong)Encoding.OffsetSize), Encoding.OffsetSize));
                return _sections.Text.ReadString(offset.Unsigned(Encoding.OffsetSize));
            default:
                return null;
        }
    }

    /// <summary>Offset in .debug_rnglists of a list, given or by its number.</summary>
    public ulong RangeListOf(DwarfValue value)
    {
        if (value.Form != Form.RngListx)
            return value.Number;
        var at = new DwarfCursor(_sections.RangeLists.Read(checked(_rangeListsBase + value.Number * (ulong)Encoding.OffsetSize), Encoding.OffsetSize));
        return checked(_rangeListsBase + at.Unsigned(Encoding.OffsetSize));
    }

    /// <summary>Offset in .debug_info that a reference leads to; null where it leads to another file.</summary>
    public ulong? ReferenceOf(DwarfValue value) => value.Form switch
    {
        Form.Ref1 or Form.Ref2 or Form.Ref4 or Form.Ref8 or Form.RefUdata => checked(Offset + value.Number),
        Form.RefAddr => value.Number,
        _ => null,
    };

    /// <summary>The name of an entry, or of what it is an instance of.</summary>
    /// <param name="offset">Where the entry begins in .debug_info.</param>
    /// <param name="unitOf">Finds the unit that holds another offset.</param>
    public string? NameOf(ulong offset, Func<ulong, DwarfUnit?> unitOf)
    {
        DwarfUnit? unit = this;
        for (int i = 0; i < MaxOrigins && unit is not null; i++)
        {
            if (offset < unit.Offset || offset >= unit.End)
                unit = unitOf(offset);
            if (unit is null)
                return null;
            DwarfCursor at = unit.EntryAt(offset);
            DwarfAbbreviation shape = unit.Shape(at.Uleb());
            ulong? origin = null;
            foreach (DwarfAttribute attribute in shape.Attributes)
            {
                DwarfValue value = DwarfValue.Read(ref at, attribute.Form, attribute.Constant, unit.Encoding);
                if (attribute.Name == At.Name && unit.TextOf(value) is { } name)
                    return name;
                if (attribute.Name is At.AbstractOrigin or At.Specification)
                    origin = unit.ReferenceOf(value);
            }

            if (origin is not { } next)
                return null;
            offset = next;
        }

        return null;
    }

    private static Header ReadHeader(ReadOnlySpan<byte> bytes, ulong offset)
    {
        var at = new DwarfCursor(bytes);
        ulong length = at.InitialLength(out int offsetSize);
        ulong end = checked(offset + (ulong)at.Position + length);
        int version = at.U16();
        if (version is < 2 or > 5)
            throw new InvalidDataException($"its debug information is of DWARF version {version}; versions 2 to 5 are known");
        uint type = version >= 5 ? at.U8() : Compile;
        int addressSize = version >= 5 ? at.U8() : 0;
        ulong abbreviations = at.Unsigned(offsetSize);
        if (version < 5)
            addressSize = at.U8();
        if (addressSize is < 1 or > 8 || end - offset < (ulong)at.Position)
            throw new InvalidDataException("a unit of its debug information has a header that makes no sense");
        return new Header(end, new DwarfEncoding(version, offsetSize, addressSize), abbreviations, at.Position, type is Compile or Partial);
    }
}
