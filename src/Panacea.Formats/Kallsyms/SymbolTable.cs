using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Kallsyms;

/// <summary>
/// The symbols of the kernel or of one module, independent of where KASLR put it: searched in stored bytes, nothing is built per lookup.
/// Every lookup takes the run-time address of the table's base (for a kernel: of its lowest symbol that moves, which is <c>_text</c>).
/// </summary>
/// <remarks>Immutable and safe for concurrent use. Opening checks lengths only; a lookup that meets damaged bytes throws
/// <see cref="InvalidDataException"/> instead of giving a wrong answer outside the blobs.</remarks>
public sealed class SymbolTable
{
    internal const uint Magic = 0x4d595350; // "PSYM"
    internal const uint Version = 1;
    internal const int HeaderBytes = 32;

    private readonly SymbolTableSections _sections;
    private readonly NameIndex _index;

    private SymbolTable(SymbolTableSections sections, NameIndex index, int count, int absolute, ulong end) =>
        (_sections, _index, Count, AbsoluteCount, EndOffset) = (sections, index, count, absolute, end);

    /// <summary>Symbols in the table.</summary>
    public int Count { get; }

    /// <summary>How many of them are absolute; they come first.</summary>
    public int AbsoluteCount { get; }

    /// <summary>Bytes from the base to the end of what the table covers; an address at or past it belongs to no symbol, except that the last
    /// symbol's own address is always found.</summary>
    public ulong EndOffset { get; }

    /// <summary>The blobs to store.</summary>
    public SymbolTableSections Sections => _sections;

    /// <summary>Takes stored blobs in constant time.</summary>
    /// <returns>False with the reason where lengths, magic or version do not fit.</returns>
    public static bool TryOpen(SymbolTableSections sections, out SymbolTable table, out string whyNot)
    {
        table = null!;
        ReadOnlySpan<byte> header = sections.Header.Span;
        whyNot = "not a symbol table of this version";
        if (header.Length != HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(header) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) != Version)
            return false;
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
        uint absolute = BinaryPrimitives.ReadUInt32LittleEndian(header[12..]);
        whyNot = "a symbol table's blobs do not have the lengths that its header says";
        if (absolute > count || sections.Types.Length != count || sections.Values.Length != 4L * count
            || sections.NameOffsets.Length != 4L * count + 4 || !NameIndex.TryOpen(sections.NameIndex, out NameIndex index))
            return false;
        whyNot = "";
        table = new SymbolTable(sections, index, (int)count, (int)absolute, BinaryPrimitives.ReadUInt64LittleEndian(header[16..]));
        return true;
    }

    /// <summary>Makes the name index again from a table's names: it need not be stored where space is dearer than time.</summary>
    /// <exception cref="InvalidDataException">The names are damaged.</exception>
    public static ReadOnlyMemory<byte> MakeNameIndex(ReadOnlySpan<byte> nameOffsets, ReadOnlySpan<byte> names)
    {
        int count = Math.Max(0, (nameOffsets.Length / 4) - 1);
        uint[] hashes = new uint[count], ids = new uint[count];
        for (int i = 0; i < count; i++)
        {
            uint from = ValueAt(nameOffsets, i), to = ValueAt(nameOffsets, i + 1);
            if (from > to || to > (uint)names.Length)
                throw new InvalidDataException("a symbol table is damaged: a name lies outside its names");
            hashes[i] = Formats.NameIndex.Hash(names[(int)from..(int)to]);
            ids[i] = (uint)i;
        }

        return Formats.NameIndex.Build(hashes, ids).Blob;
    }

    /// <summary>The symbol at a place in the table's order.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="index"/> is not below <see cref="Count"/>.</exception>
    public Symbol this[int index]
    {
        get
        {
            Check(index);
            return new Symbol(index, ValueAt(_sections.Values.Span, index), index < AbsoluteCount, (char)_sections.Types.Span[index]);
        }
    }

    /// <summary>All symbols in the table's order.</summary>
    public IEnumerable<Symbol> Enumerate()
    {
        for (int i = 0; i < Count; i++)
            yield return this[i];
    }

    /// <summary>A symbol's name as the guest's bytes, without terminator.</summary>
    /// <exception cref="InvalidDataException">The stored table is damaged.</exception>
    public ReadOnlySpan<byte> NameBytes(int index)
    {
        Check(index);
        ReadOnlySpan<byte> offsets = _sections.NameOffsets.Span.Slice(4 * index, 8);
        uint from = BinaryPrimitives.ReadUInt32LittleEndian(offsets);
        uint to = BinaryPrimitives.ReadUInt32LittleEndian(offsets[4..]);
        if (from > to || to > (uint)_sections.Names.Length)
            throw new InvalidDataException("a symbol table is damaged: a name lies outside its names");
        return _sections.Names.Span[(int)from..(int)to];
    }

    /// <summary>A symbol's name; bytes that are not UTF-8 become U+FFFD.</summary>
    /// <exception cref="InvalidDataException">The stored table is damaged.</exception>
    public string Name(int index) => Encoding.UTF8.GetString(NameBytes(index));

    /// <inheritdoc cref="Name(int)"/>
    public string Name(Symbol symbol) => Name(symbol.Index);

    /// <summary>The symbol that an address belongs to (not for absolute symbols).</summary>
    /// <param name="address">Guest-virtual address.</param>
    /// <param name="baseAddress">Where the table's base is in this guest.</param>
    /// <param name="hit">The symbol, the offset into it and its size.</param>
    /// <returns>False where the address is before the first symbol or past the end.</returns>
    public bool TryFindByAddress(ulong address, ulong baseAddress, out SymbolHit hit)
    {
        hit = default;
        ulong wide = unchecked(address - baseAddress);
        if (address < baseAddress || wide > uint.MaxValue || AbsoluteCount == Count)
            return false;
        ReadOnlySpan<byte> values = _sections.Values.Span;
        uint offset = (uint)wide;
        int after = UpperBound(values, offset, AbsoluteCount, Count);
        if (after == AbsoluteCount)
            return false;
        uint value = ValueAt(values, after - 1);
        if (after == Count && offset != value && offset >= EndOffset)
            return false;
        int first = LowerBound(values, value, AbsoluteCount, after);
        ulong next = after < Count ? ValueAt(values, after) : Math.Max(EndOffset, value);

        // Unsorted values can only come from damaged bytes; the subtraction must not wrap there.
        if (value > offset || next < value)
            throw new InvalidDataException("a symbol table is damaged: its values are not sorted");
        hit = new SymbolHit(this[first], offset - value, next - value);
        return true;
    }

    /// <summary>The absolute (per-CPU) symbol that a value belongs to: the last one at or before it.</summary>
    public bool TryFindAbsolute(ulong value, out SymbolHit hit)
    {
        hit = default;
        if (value > uint.MaxValue)
            return false;
        ReadOnlySpan<byte> values = _sections.Values.Span;
        int after = UpperBound(values, (uint)value, 0, AbsoluteCount);
        if (after == 0)
            return false;
        uint at = ValueAt(values, after - 1);
        uint next = after < AbsoluteCount ? ValueAt(values, after) : at;
        if (at > value || next < at)
            throw new InvalidDataException("a symbol table is damaged: its values are not sorted");
        hit = new SymbolHit(this[LowerBound(values, at, 0, after)], value - at, next - at);
        return true;
    }

    /// <summary>The first symbol of a name in the table's order.</summary>
    /// <exception cref="InvalidDataException">The stored table is damaged.</exception>
    public bool TryFindByName(ReadOnlySpan<byte> name, out Symbol symbol)
    {
        SymbolMatches all = FindAllByName(name);
        bool found = all.MoveNext();
        symbol = found ? all.Current : default;
        return found;
    }

    /// <inheritdoc cref="TryFindByName(ReadOnlySpan{byte}, out Symbol)"/>
    public bool TryFindByName(string name, out Symbol symbol) => TryFindByName(Encoding.UTF8.GetBytes(name), out symbol);

    /// <summary>The address of the first symbol of a name, where the table's base is at <paramref name="baseAddress"/>.</summary>
    public bool TryFindAddress(string name, ulong baseAddress, out ulong address)
    {
        bool found = TryFindByName(name, out Symbol symbol);
        address = found ? symbol.AddressAt(baseAddress) : 0;
        return found;
    }

    /// <summary>All symbols of a name, in the table's order; local functions of one name are common in a kernel.</summary>
    public SymbolMatches FindAllByName(ReadOnlySpan<byte> name) => new(this, name, _index.Candidates(NameIndex.Hash(name)).Span);

    /// <inheritdoc cref="FindAllByName(ReadOnlySpan{byte})"/>
    public SymbolMatches FindAllByName(string name) => FindAllByName(Encoding.UTF8.GetBytes(name));

    internal static uint ValueAt(ReadOnlySpan<byte> values, int index) => BinaryPrimitives.ReadUInt32LittleEndian(values[(4 * index)..]);

    private void Check(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
    }

    private static int UpperBound(ReadOnlySpan<byte> values, uint value, int low, int high)
    {
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (ValueAt(values, middle) <= value)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private static int LowerBound(ReadOnlySpan<byte> values, uint value, int low, int high)
    {
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (ValueAt(values, middle) < value)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    /// <summary>Enumerates the symbols of one name without allocating; works with foreach.</summary>
    public ref struct SymbolMatches
    {
        private readonly SymbolTable _table;
        private readonly ReadOnlySpan<byte> _name;
        private ReadOnlySpan<byte> _candidates;

        internal SymbolMatches(SymbolTable table, ReadOnlySpan<byte> name, ReadOnlySpan<byte> candidates)
        {
            _table = table;
            _name = name;
            _candidates = candidates;
        }

        /// <summary>The symbol that <see cref="MoveNext"/> found.</summary>
        public Symbol Current { get; private set; }

        /// <summary>Itself.</summary>
        public readonly SymbolMatches GetEnumerator() => this;

        /// <summary>Goes to the next symbol of the name.</summary>
        /// <exception cref="InvalidDataException">The stored table is damaged.</exception>
        public bool MoveNext()
        {
            while (_candidates.Length >= 4)
            {
                uint index = BinaryPrimitives.ReadUInt32LittleEndian(_candidates);
                _candidates = _candidates[4..];
                if (index >= (uint)_table.Count)
                    throw new InvalidDataException("a symbol table is damaged: its name index points outside it");
                if (!_table.NameBytes((int)index).SequenceEqual(_name))
                    continue;
                Current = _table[(int)index];
                return true;
            }

            return false;
        }
    }
}
