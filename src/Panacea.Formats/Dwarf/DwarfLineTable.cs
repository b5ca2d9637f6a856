using System.Text;

namespace Panacea.Formats.Dwarf;

/// <summary>The lines of one unit: which address comes of which line of which file (.debug_line, DWARF 5, 6.2). Versions 2 to 5.</summary>
internal sealed class DwarfLineTable
{
    private const int EndOfSequence = -1, MaxNameBytes = 4096;
    private readonly List<Row> _rows = [];
    private readonly List<string> _directories = [];
    private readonly List<(string Name, ulong Directory)> _files = [];
    private readonly int _firstFile;
    private readonly FormatLimits _limits;

    private DwarfLineTable(DwarfUnit unit, ReadOnlySpan<byte> bytes)
    {
        _limits = unit.Limits;
        var at = new DwarfCursor(bytes);
        at.InitialLength(out int offsetSize);
        int version = at.U16();
        if (version is < 2 or > 5)
            throw new InvalidDataException($"its line table is of version {version}; versions 2 to 5 are known");
        int addressSize = unit.Encoding.AddressSize;
        if (version >= 5)
        {
            addressSize = at.U8();
            at.Skip(1);
        }

        if (addressSize is < 1 or > 8)
            throw new InvalidDataException("its line table has a header that makes no sense");
        ulong headerLength = at.Unsigned(offsetSize);
        int program = checked(at.Position + (int)Math.Min(headerLength, int.MaxValue / 2));
        var header = new Header(at.U8(), version >= 4 ? at.U8() : (byte)1, at.U8(), unchecked((sbyte)at.U8()), at.U8(), at.U8());
        byte[] operands = new byte[Math.Max(1, (int)header.OpcodeBase)];
        for (int i = 1; i < header.OpcodeBase; i++)
            operands[i] = at.U8();
        if (header.LineRange == 0)
            throw new InvalidDataException("its line table has a header that makes no sense");
        _firstFile = version >= 5 ? 0 : 1;
        if (version >= 5)
        {
            foreach ((string name, _) in ReadEntries(unit, ref at, offsetSize))
                _directories.Add(name);
            _files.AddRange(ReadEntries(unit, ref at, offsetSize));
        }
        else
        {
            ReadOldNames(unit, ref at);
        }

        at.MoveTo(program);
        Run(ref at, header, operands);
    }

    private readonly record struct Header(byte MinimumLength, byte MaximumOperations, byte IsStatement, sbyte LineBase, byte LineRange, byte OpcodeBase);

    /// <summary>From an address on, up to the next row's; a file of −1 ends the sequence.</summary>
    private readonly record struct Row(ulong Address, int File, int Line);

    /// <summary>Bytes that it holds, about.</summary>
    public int Held => _rows.Count * 16;

    /// <summary>Reads the lines of a unit.</summary>
    /// <exception cref="InvalidDataException">They are damaged, or beyond the limits.</exception>
    public static DwarfLineTable Read(DwarfUnit unit, ulong offset)
    {
        var at = new DwarfCursor(unit.Sections.Line.ReadUpTo(offset, 12));
        ulong size = at.InitialLength(out _);
        size = checked(size + (ulong)at.Position);
        if (size > (ulong)unit.Limits.MaxDwarfUnitBytes)
            throw new InvalidDataException($"a line table has {size} bytes, more than {unit.Limits.MaxDwarfUnitBytes}");
        unit.Sections.Spend((int)size);
        return new DwarfLineTable(unit, unit.Sections.Line.Read(offset, (int)size));
    }

    /// <summary>The file and line that an address comes of. Of rows at one address the last counts, as for binutils: those before it cover nothing.</summary>
    /// <param name="address">Address.</param>
    /// <param name="file">Number of the file.</param>
    /// <param name="line">Line from 1; 0 where the code comes of no line.</param>
    public bool TryFind(ulong address, out int file, out int line)
    {
        for (int i = 0; i + 1 < _rows.Count; i++)
        {
            if (_rows[i].File != EndOfSequence && address >= _rows[i].Address && address < _rows[i + 1].Address)
            {
                (file, line) = (_rows[i].File, _rows[i].Line);
                return true;
            }
        }

        (file, line) = (0, 0);
        return false;
    }

    /// <summary>A file by its number: relative to the directory of the compilation where it was named so. Null where there is no such file.</summary>
    public string? FileName(ulong number)
    {
        if (number < (ulong)_firstFile || number - (ulong)_firstFile >= (ulong)_files.Count)
            return null;
        (string name, ulong directory) = _files[(int)(number - (ulong)_firstFile)];
        if (name.StartsWith('/') || directory == 0)
            return name;

        // Directory 0 is that of the compilation; since version 5 it stands in the table too.
        ulong at = directory - (ulong)_firstFile;
        return at < (ulong)_directories.Count ? $"{_directories[(int)at]}/{name}" : name;
    }

    /// <summary>Directories or files of version 5: their members are described first (DWARF 5, 6.2.4.1).</summary>
    private List<(string Name, ulong Directory)> ReadEntries(DwarfUnit unit, ref DwarfCursor at, int offsetSize)
    {
        const ulong contentPath = 1, contentDirectory = 2;
        var encoding = new DwarfEncoding(5, offsetSize, unit.Encoding.AddressSize);
        var formats = new (ulong Content, uint Form)[at.U8()];
        for (int i = 0; i < formats.Length; i++)
            formats[i] = (at.Uleb(), (uint)Math.Min(at.Uleb(), uint.MaxValue));
        ulong count = at.Uleb();
        if (count > (ulong)at.Left || (formats.Length == 0 && count > 0))
            throw new DwarfCutException("its line table names more files than it has room for");
        var entries = new List<(string, ulong)>();
        for (ulong i = 0; i < count; i++)
        {
            string name = "";
            ulong directory = 0;
            foreach ((ulong content, uint form) in formats)
            {
                if (content == contentPath && form == Form.String)
                {
                    name = Decode(at.Text());
                    continue;
                }

                DwarfValue value = DwarfValue.Read(ref at, form, 0, encoding);
                if (content == contentPath)
                    name = unit.TextOf(value) ?? "";
                else if (content == contentDirectory)
                    directory = value.Number;
            }

            entries.Add((name, directory));
        }

        return entries;
    }

    private void ReadOldNames(DwarfUnit unit, ref DwarfCursor at)
    {
        while (at.Text() is { Length: > 0 } directory)
            _directories.Add(Decode(directory));
        while (at.Text() is { Length: > 0 } name)
        {
            _files.Add((Decode(name), at.Uleb()));
            at.Uleb(); // when it was changed
            at.Uleb(); // its size
        }

        if (_files.Count + _directories.Count > unit.Limits.MaxDwarfLines)
            throw new InvalidDataException("its line table names too many files");
    }

    private static string Decode(ReadOnlySpan<byte> name) => Encoding.UTF8.GetString(name[..Math.Min(name.Length, MaxNameBytes)]);

    /// <summary>The program that makes the rows (DWARF 5, 6.2.5).</summary>
    private void Run(ref DwarfCursor at, in Header header, byte[] operands)
    {
        ulong address = 0;
        long line = 1;
        ulong file = 1;
        while (at.Left > 0)
        {
            byte opcode = at.U8();
            if (opcode >= header.OpcodeBase)
            {
                int adjusted = opcode - header.OpcodeBase;
                address = Advance(address, (ulong)(adjusted / header.LineRange), header);
                line = unchecked(line + header.LineBase + adjusted % header.LineRange);
                Add(address, file, line);
                continue;
            }

            switch (opcode)
            {
                case 0:
                    ulong length = at.Uleb();
                    if (length == 0 || length > (ulong)at.Left)
                        throw new DwarfCutException("an instruction of its line table ends too late");
                    int next = at.Position + (int)length;
                    switch (at.U8())
                    {
                        case 1: // DW_LNE_end_sequence
                            _rows.Add(new Row(address, EndOfSequence, 0));
                            (address, line, file) = (0, 1, 1);
                            break;
                        case 2 when length is > 1 and <= 9: // DW_LNE_set_address
                            address = at.Unsigned((int)length - 1);
                            break;
                    }

                    at.MoveTo(next);
                    break;
                case 1: // DW_LNS_copy
                    Add(address, file, line);
                    break;
                case 2: // DW_LNS_advance_pc
                    address = Advance(address, at.Uleb(), header);
                    break;
                case 3: // DW_LNS_advance_line
                    line = unchecked(line + at.Sleb());
                    break;
                case 4: // DW_LNS_set_file
                    file = at.Uleb();
                    break;
                case 8: // DW_LNS_const_add_pc
                    address = Advance(address, (ulong)((255 - header.OpcodeBase) / header.LineRange), header);
                    break;
                case 9: // DW_LNS_fixed_advance_pc
                    address = unchecked(address + at.U16());
                    break;
                default:
                    // Columns, statement marks and what later versions add change no line.
                    for (int i = 0; i < operands[opcode]; i++)
                        at.Uleb();
                    break;
            }
        }
    }

    private static ulong Advance(ulong address, ulong operations, in Header header) => unchecked(address + operations * header.MinimumLength);

    private void Add(ulong address, ulong file, long line)
    {
        var row = new Row(address, file <= int.MaxValue ? (int)file : int.MaxValue, line is > 0 and <= int.MaxValue ? (int)line : 0);
        if (_rows.Count > 0 && _rows[^1].File != EndOfSequence && _rows[^1].Address == address)
        {
            _rows[^1] = row;
            return;
        }

        if (_rows.Count >= _limits.MaxDwarfLines)
            throw new InvalidDataException($"a line table has more than {_limits.MaxDwarfLines} rows");
        _rows.Add(row);
    }
}
