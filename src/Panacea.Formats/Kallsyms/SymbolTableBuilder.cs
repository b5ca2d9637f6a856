using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Kallsyms;

/// <summary>Collects (address, type, name) triples in any order and lays out a <see cref="SymbolTable"/>. Not for concurrent use.</summary>
/// <param name="limits">Ceilings; what is over them makes <see cref="TryBuild"/> fail.</param>
/// <param name="expected">Symbols that are likely to come: room is made for them at once.</param>
public sealed class SymbolTableBuilder(FormatLimits limits, int expected = 0)
{
    /// <summary>Fewer are hashed by one thread.</summary>
    private const int WorthSharing = 1 << 14;

    private readonly List<ulong> _addresses = new(expected);
    private readonly List<byte> _types = new(expected);
    private readonly List<bool> _absolute = new(expected);
    private readonly List<uint> _nameEnds = new(expected);
    private byte[] _names = new byte[4096];
    private int _namesLength;
    private string _failure = "";

    /// <summary>A builder with the default limits.</summary>
    public SymbolTableBuilder() : this(FormatLimits.Default)
    {
    }

    /// <summary>Symbols added so far.</summary>
    public int Count => _addresses.Count;

    /// <summary>Adds one symbol.</summary>
    /// <param name="address">Guest-virtual address, or the value where <paramref name="absolute"/>.</param>
    /// <param name="type">nm's letter.</param>
    /// <param name="name">Name without terminator.</param>
    /// <param name="absolute">It does not move with the base (a per-CPU offset, a constant).</param>
    public void Add(ulong address, char type, ReadOnlySpan<byte> name, bool absolute = false)
    {
        if (_failure.Length != 0)
            return;
        if (_addresses.Count >= limits.MaxSymbols)
            _failure = $"more than {limits.MaxSymbols} symbols";
        else if (name.Length > limits.MaxSymbolNameBytes)
            _failure = $"a symbol name longer than {limits.MaxSymbolNameBytes} bytes";
        else if (name.Length > limits.MaxSymbolNamesBytes - _namesLength)
            _failure = $"more than {limits.MaxSymbolNamesBytes} bytes of symbol names";
        if (_failure.Length != 0)
            return;
        if (name.Length > _names.Length - _namesLength)
            Array.Resize(ref _names, (int)Math.Min(Math.Max(2L * _names.Length, (long)_namesLength + name.Length), Array.MaxLength));
        name.CopyTo(_names.AsSpan(_namesLength));
        _namesLength += name.Length;
        _addresses.Add(address);
        _types.Add((byte)type);
        _absolute.Add(absolute);
        _nameEnds.Add((uint)_namesLength);
    }

    /// <inheritdoc cref="Add(ulong, char, ReadOnlySpan{byte}, bool)"/>
    public void Add(ulong address, char type, string name, bool absolute = false) => Add(address, type, Encoding.UTF8.GetBytes(name), absolute);

    /// <summary>Sorts, and lays out the table. Its base is the lowest address that is not absolute.</summary>
    /// <param name="endAddress">First address past what the table covers, or 0: then the last symbol has size 0.</param>
    /// <param name="table">The table.</param>
    /// <param name="baseAddress">The base's address in the guest that the symbols came from; 0 where all are absolute. It is not part of the table.</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public bool TryBuild(ulong endAddress, out SymbolTable table, out ulong baseAddress, out string whyNot)
    {
        table = null!;
        whyNot = _failure;
        int count = _addresses.Count;
        int absoluteCount = 0;
        bool sorted = true;
        baseAddress = ulong.MaxValue;
        for (int i = 0; i < count; i++)
        {
            absoluteCount += _absolute[i] ? 1 : 0;
            if (!_absolute[i])
                baseAddress = Math.Min(baseAddress, _addresses[i]);
            if (i > 0)
                sorted &= _absolute[i - 1] == _absolute[i] ? _addresses[i - 1] <= _addresses[i] : _absolute[i - 1];
        }

        if (absoluteCount == count)
            baseAddress = 0;
        if (whyNot.Length != 0)
            return false;

        int[] order = new int[count];
        for (int i = 0; i < count; i++)
            order[i] = i;
        if (!sorted)
        {
            // The index as last key keeps the order of symbols at one address.
            Array.Sort(order, (x, y) => _absolute[x] != _absolute[y] ? (_absolute[x] ? -1 : 1)
                : _addresses[x] != _addresses[y] ? _addresses[x].CompareTo(_addresses[y]) : x.CompareTo(y));
        }

        byte[] values = new byte[4 * count];
        byte[] types = new byte[count];
        byte[] nameOffsets = new byte[4 * count + 4];
        byte[] names = sorted ? _names : new byte[_namesLength];
        uint[] hashes = new uint[count];
        uint[] ids = new uint[count];
        int at = 0;
        uint last = 0;
        for (int i = 0; i < count; i++)
        {
            int from = order[i];
            ulong value = _absolute[from] ? _addresses[from] : _addresses[from] - baseAddress;
            if (value > uint.MaxValue)
            {
                whyNot = $"a symbol at 0x{_addresses[from]:x} is more than 4 GiB from the base";
                return false;
            }

            last = (uint)value;
            BinaryPrimitives.WriteUInt32LittleEndian(values.AsSpan(4 * i), (uint)value);
            types[i] = _types[from];
            int start = from == 0 ? 0 : (int)_nameEnds[from - 1];
            int length = (int)_nameEnds[from] - start;
            BinaryPrimitives.WriteUInt32LittleEndian(nameOffsets.AsSpan(4 * i), (uint)at);
            if (!sorted)
                _names.AsSpan(start, length).CopyTo(names.AsSpan(at));
            at += length;
            ids[i] = (uint)i;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(nameOffsets.AsSpan(4 * count), (uint)at);
        Hash(nameOffsets, names, hashes);
        byte[] header = new byte[SymbolTable.HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, SymbolTable.Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), SymbolTable.Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), (uint)count);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), (uint)absoluteCount);
        ulong end = endAddress > baseAddress && absoluteCount != count ? endAddress - baseAddress : last;
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(16), end);
        var sections = new SymbolTableSections(header, values, types, nameOffsets, names.AsMemory(0, _namesLength), NameIndex.Build(hashes, ids).Blob);
        return SymbolTable.TryOpen(sections, out table, out whyNot);
    }

    private static void Hash(byte[] nameOffsets, byte[] names, uint[] hashes)
    {
        if (hashes.Length < WorthSharing)
            Some(0, hashes.Length);
        else
            Parallel.For(0, (hashes.Length + WorthSharing - 1) / WorthSharing, part => Some(part * WorthSharing, Math.Min(hashes.Length, (part + 1) * WorthSharing)));

        void Some(int from, int to)
        {
            for (int i = from; i < to; i++)
            {
                int start = BinaryPrimitives.ReadInt32LittleEndian(nameOffsets.AsSpan(4 * i));
                hashes[i] = NameIndex.Hash(names.AsSpan(start, BinaryPrimitives.ReadInt32LittleEndian(nameOffsets.AsSpan((4 * i) + 4)) - start));
            }
        }
    }
}
