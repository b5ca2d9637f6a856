using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Btf;

/// <summary>
/// The types of the kernel, or of one module on top of the kernel's (split BTF: ids and string offsets go on where the base's end).
/// Searched in the raw bytes with two small indexes that are blobs themselves, to be stored beside them.
/// </summary>
/// <remarks>Immutable and safe for concurrent use. <see cref="TryBuild"/> validates every record; <see cref="TryOpen"/> trusts stored bytes
/// that were validated once, checks lengths only, and a lookup that meets damage throws <see cref="InvalidDataException"/>.</remarks>
public sealed partial class BtfData
{
    /// <summary>Aliases followed before a type counts as cyclic.</summary>
    public const int MaxDepth = 64;

    /// <summary>Bytes of one name; the kernel's own ceiling is 512 (KSYM_NAME_LEN, btf_name_valid_identifier in kernel/bpf/btf.c).</summary>
    public const int MaxNameBytes = 1024;

    private readonly ReadOnlyMemory<byte> _types;
    private readonly ReadOnlyMemory<byte> _strings;
    private readonly NameIndex _names;

    private BtfData(BtfLayout layout, BtfData? baseData, ReadOnlyMemory<byte> typeOffsets, NameIndex names)
    {
        Blob = layout.Blob;
        Base = baseData;
        _types = layout.Types;
        _strings = layout.Strings;
        TypeOffsets = typeOffsets;
        _names = names;
        StartId = baseData?.EndId ?? 1;
        EndId = StartId + (uint)(typeOffsets.Length / 4);
        StringStart = baseData?.StringEnd ?? 0;
    }

    /// <summary>The raw BTF.</summary>
    public ReadOnlyMemory<byte> Blob { get; }

    /// <summary>The kernel's types, where this is a module's.</summary>
    public BtfData? Base { get; }

    /// <summary>Index section to store: u32 per own type, its record's offset in the type section.</summary>
    public ReadOnlyMemory<byte> TypeOffsets { get; }

    /// <summary>Index section to store: hash index from names to own type ids.</summary>
    public ReadOnlyMemory<byte> NameIndexBlob => _names.Blob;

    /// <summary>First own type id.</summary>
    public uint StartId { get; }

    /// <summary>One past the last type id.</summary>
    public uint EndId { get; }

    /// <summary>First own string offset.</summary>
    public uint StringStart { get; }

    /// <summary>One past the last string offset.</summary>
    public uint StringEnd => StringStart + (uint)_strings.Length;

    /// <summary>Takes stored bytes and their indexes without looking at a single record.</summary>
    /// <returns>False with the reason where the header or the indexes' lengths do not fit.</returns>
    public static bool TryOpen(
        ReadOnlyMemory<byte> blob, ReadOnlyMemory<byte> typeOffsets, ReadOnlyMemory<byte> nameIndex, BtfData? baseData, out BtfData data, out string whyNot)
    {
        data = null!;
        if (!BtfLayout.TryRead(blob, FormatLimits.Default with { MaxBtfBytes = int.MaxValue }, out BtfLayout layout, out whyNot))
            return false;
        if (typeOffsets.Length % 4 != 0 || typeOffsets.Length / 4 > layout.Types.Length / BtfType.HeaderBytes
            || !NameIndex.TryOpen(nameIndex, out NameIndex names))
        {
            whyNot = "the indexes of a BTF blob do not have the right lengths";
            return false;
        }

        data = new BtfData(layout, baseData, typeOffsets, names);
        return true;
    }

    /// <summary>Gets a type by id, from the base where it is the base's.</summary>
    /// <returns>False where there is no such id.</returns>
    /// <exception cref="InvalidDataException">The stored bytes are damaged.</exception>
    public bool TryGetType(uint id, out BtfType type)
    {
        if (id == 0)
        {
            type = new BtfType(this, 0, BtfKind.Void, false, 0, 0, 0, default);
            return true;
        }

        if (id < StartId && Base is not null)
            return Base.TryGetType(id, out type);
        type = default;
        if (id >= EndId)
            return false;
        uint at = BinaryPrimitives.ReadUInt32LittleEndian(TypeOffsets.Span[(int)(4 * (id - StartId))..]);
        if (at > int.MaxValue || !TryReadRecord((int)at, id, out type, out _))
            throw new InvalidDataException($"BTF type {id} lies outside its blob");
        return true;
    }

    /// <summary>Gets a type by an id that came from another type of the same data.</summary>
    /// <exception cref="InvalidDataException">There is none: the bytes are damaged.</exception>
    public BtfType GetType(uint id) => TryGetType(id, out BtfType type) ? type : throw new InvalidDataException($"there is no BTF type {id}");

    /// <summary>A string by its offset, as the guest's bytes.</summary>
    /// <exception cref="InvalidDataException">It lies outside the strings or is longer than <see cref="MaxNameBytes"/>.</exception>
    public ReadOnlySpan<byte> GetStringBytes(uint offset) =>
        TryGetStringBytes(offset, out ReadOnlySpan<byte> text) ? text
            : throw new InvalidDataException($"the BTF string at {offset} lies outside its blob or does not end");

    private bool TryGetStringBytes(uint offset, out ReadOnlySpan<byte> text)
    {
        if (offset < StringStart && Base is not null)
            return Base.TryGetStringBytes(offset, out text);
        uint own = offset - StringStart;
        text = own < (uint)_strings.Length ? _strings.Span[(int)own..] : default;
        int length = text[..Math.Min(text.Length, MaxNameBytes + 1)].IndexOf((byte)0);
        text = length >= 0 ? text[..length] : default;
        return length >= 0;
    }

    /// <summary>A string by its offset.</summary>
    /// <exception cref="InvalidDataException">It lies outside the strings.</exception>
    public string GetString(uint offset) => Encoding.UTF8.GetString(GetStringBytes(offset));

    /// <summary>The first type of a name and kind: a module's own before the kernel's.</summary>
    public bool TryFind(ReadOnlySpan<byte> name, BtfKind kind, out BtfType type)
    {
        for (BtfData? data = this; data is not null; data = data.Base)
        {
            BtfMatches all = new(data, name, kind);
            if (all.MoveNext())
            {
                type = all.Current;
                return true;
            }
        }

        type = default;
        return false;
    }

    /// <inheritdoc cref="TryFind(ReadOnlySpan{byte}, BtfKind, out BtfType)"/>
    public bool TryFind(string name, BtfKind kind, out BtfType type) => TryFind(Encoding.UTF8.GetBytes(name), kind, out type);

    /// <summary>All types of a name in this blob alone, not in its base.</summary>
    /// <param name="name">The name.</param>
    /// <param name="kind">Only this kind; Void: every kind.</param>
    public BtfMatches FindAllOwn(ReadOnlySpan<byte> name, BtfKind kind = BtfKind.Void) => new(this, name, kind);

    /// <summary>Reads the record at an offset of the type section.</summary>
    internal bool TryReadRecord(int at, uint id, out BtfType type, out int length) =>
        BtfLayout.TryReadRecord(_types, at, this, id, out type, out length);

    /// <summary>Compares a string with a name without finding its end first.</summary>
    internal bool StringEquals(uint offset, ReadOnlySpan<byte> name)
    {
        if (offset < StringStart && Base is not null)
            return Base.StringEquals(offset, name);
        uint own = offset - StringStart;
        if (own >= (uint)_strings.Length)
            throw new InvalidDataException($"the BTF string at {offset} lies outside its blob");
        ReadOnlySpan<byte> rest = _strings.Span[(int)own..];
        return rest.Length > name.Length && rest[name.Length] == 0 && rest.StartsWith(name);
    }

    /// <summary>Enumerates types of one name without allocating; works with foreach.</summary>
    public ref struct BtfMatches
    {
        private readonly BtfData _data;
        private readonly ReadOnlySpan<byte> _name;
        private readonly BtfKind _kind;
        private ReadOnlySpan<byte> _candidates;

        internal BtfMatches(BtfData data, ReadOnlySpan<byte> name, BtfKind kind)
        {
            _data = data;
            _name = name;
            _kind = kind;
            _candidates = data._names.Candidates(NameIndex.Hash(name)).Span;
        }

        /// <summary>The type that <see cref="MoveNext"/> found.</summary>
        public BtfType Current { get; private set; }

        /// <summary>Itself.</summary>
        public readonly BtfMatches GetEnumerator() => this;

        /// <summary>Goes to the next type of the name.</summary>
        /// <exception cref="InvalidDataException">The stored bytes are damaged.</exception>
        public bool MoveNext()
        {
            while (_candidates.Length >= 4)
            {
                uint id = BinaryPrimitives.ReadUInt32LittleEndian(_candidates);
                _candidates = _candidates[4..];
                if (id < _data.StartId || !_data.TryGetType(id, out BtfType type))
                    throw new InvalidDataException("a BTF name index points outside its blob");
                if ((_kind != BtfKind.Void && type.Kind != _kind) || !_data.StringEquals(type.NameOffset, _name))
                    continue;
                Current = type;
                return true;
            }

            return false;
        }
    }
}
