using System.Buffers.Binary;

namespace Panacea.Formats.Btf;

/// <summary>A view of one type record (struct btf_type and what follows it). It reads the blob when asked and allocates nothing but names.</summary>
public readonly struct BtfType
{
    // struct btf_type: u32 name_off, u32 info, u32 size_or_type.
    internal const int HeaderBytes = 12;
    private readonly ReadOnlyMemory<byte> _tail;

    internal BtfType(BtfData data, uint id, BtfKind kind, bool kindFlag, int vlen, uint nameOffset, uint sizeOrType, ReadOnlyMemory<byte> tail)
    {
        Data = data;
        Id = id;
        Kind = kind;
        KindFlag = kindFlag;
        Length = vlen;
        NameOffset = nameOffset;
        SizeOrType = sizeOrType;
        _tail = tail;
    }

    /// <summary>The blob in which the record stands: the module's own or the kernel's.</summary>
    public BtfData Data { get; }

    /// <summary>Type id; 0 is void.</summary>
    public uint Id { get; }

    /// <summary>Kind.</summary>
    public BtfKind Kind { get; }

    /// <summary>The kind flag: members with bitfield sizes, a signed enum, a union's forward declaration.</summary>
    public bool KindFlag { get; }

    /// <summary>Number of members, enumerators, parameters or section entries.</summary>
    public int Length { get; }

    /// <summary>Offset of the name in the strings; 0 is no name.</summary>
    public uint NameOffset { get; }

    /// <summary>The third word: a size in bytes or a type id, as the kind has it.</summary>
    public uint SizeOrType { get; }

    /// <summary>The name; empty where it has none.</summary>
    public string Name => NameOffset == 0 ? "" : Data.GetString(NameOffset);

    /// <summary>True for void.</summary>
    public bool IsVoid => Kind == BtfKind.Void;

    /// <summary>True for a struct or a union.</summary>
    public bool IsComposite => Kind is BtfKind.Struct or BtfKind.Union;

    /// <summary>True for what has the same layout as the type it refers to: typedef, const, volatile, restrict, type tag.</summary>
    public bool IsAlias => Kind is BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag;

    /// <summary>The type that this refers to: pointee, aliased type, a function's prototype, a prototype's return type, an array's element; else 0 (void).</summary>
    public uint TargetId => Kind switch
    {
        BtfKind.Array => U32(0),
        BtfKind.Ptr or BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag
            or BtfKind.Func or BtfKind.FuncProto or BtfKind.Var or BtfKind.DeclTag => SizeOrType,
        _ => 0,
    };

    /// <summary>Size in bytes as the record states it: of an int, struct, union, enum, float, section; else 0. For any type: <see cref="BtfData.TrySizeOf"/>.</summary>
    public uint Size => Kind is BtfKind.Int or BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float or BtfKind.Datasec
        ? SizeOrType : 0;

    /// <summary>The type of an array's index.</summary>
    public uint IndexTypeId => Kind == BtfKind.Array ? U32(4) : 0;

    /// <summary>An array's number of elements; 0 for a flexible one.</summary>
    public uint ElementCount => Kind == BtfKind.Array ? U32(8) : 0;

    /// <summary>An integer's encoding.</summary>
    public BtfIntEncoding IntEncoding => Kind == BtfKind.Int ? (BtfIntEncoding)((U32(0) >> 24) & 0xf) : BtfIntEncoding.None;

    /// <summary>An integer's bits: less than eight times its size only where old compilers described a bitfield so.</summary>
    public int IntBits => Kind == BtfKind.Int ? (int)(U32(0) & 0xff) : 0;

    /// <summary>Where an integer's bits begin; not 0 only in old descriptions of bitfields.</summary>
    public int IntBitOffset => Kind == BtfKind.Int ? (int)((U32(0) >> 16) & 0xff) : 0;

    /// <summary>One member of a struct or union.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not a composite, or no such member.</exception>
    public BtfMember Member(int index)
    {
        Check(index, IsComposite);
        uint offset = U32(12 * index + 8);
        uint type = U32(12 * index + 4);
        return KindFlag
            ? new BtfMember(Data, U32(12 * index), type, offset & 0xff_ffff, (int)(offset >> 24))
            : new BtfMember(Data, U32(12 * index), type, offset, 0);
    }

    /// <summary>One parameter of a prototype; a last one without name and type is the ellipsis.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not a prototype, or no such parameter.</exception>
    public BtfParameter Parameter(int index)
    {
        Check(index, Kind == BtfKind.FuncProto);
        return new BtfParameter(Data, U32(8 * index), U32(8 * index + 4));
    }

    /// <summary>One enumerator.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not an enum, or no such enumerator.</exception>
    public BtfEnumerator Enumerator(int index)
    {
        Check(index, Kind is BtfKind.Enum or BtfKind.Enum64);
        return Kind == BtfKind.Enum64
            ? new BtfEnumerator(Data, U32(12 * index), unchecked((long)(U32(12 * index + 4) | (ulong)U32(12 * index + 8) << 32)), KindFlag)
            : new BtfEnumerator(Data, U32(8 * index), KindFlag ? unchecked((int)U32(8 * index + 4)) : U32(8 * index + 4), KindFlag);
    }

    /// <summary>One variable of a section.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not a section, or no such variable.</exception>
    public BtfVariable Variable(int index)
    {
        Check(index, Kind == BtfKind.Datasec);
        return new BtfVariable(U32(12 * index), U32(12 * index + 4), U32(12 * index + 8));
    }

    /// <summary>The member or parameter that a declaration tag is on; −1: the declaration itself.</summary>
    public int TaggedIndex => Kind == BtfKind.DeclTag ? unchecked((int)U32(0)) : -1;

    /// <inheritdoc/>
    public override string ToString() => $"[{Id}] {Kind} '{Name}'";

    /// <summary>Bytes that follow the header; negative for a kind that no known kernel has.</summary>
    internal static long TailBytes(BtfKind kind, int vlen) => kind switch
    {
        BtfKind.Int or BtfKind.Var or BtfKind.DeclTag => 4,
        BtfKind.Array => 12,
        BtfKind.Struct or BtfKind.Union or BtfKind.Datasec or BtfKind.Enum64 => 12L * vlen,
        BtfKind.Enum or BtfKind.FuncProto => 8L * vlen,
        BtfKind.Ptr or BtfKind.Fwd or BtfKind.Typedef or BtfKind.Volatile or BtfKind.Const or BtfKind.Restrict or BtfKind.Func
            or BtfKind.Float or BtfKind.TypeTag => 0,
        _ => -1,
    };

    private void Check(int index, bool kindFits)
    {
        if (!kindFits || index < 0 || index >= Length)
            throw new ArgumentOutOfRangeException(nameof(index), $"{Kind} type {Id} has no element {index} of that sort");
    }

    private uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_tail.Span[at..]);
}

/// <summary>A member as its record states it.</summary>
/// <param name="Data">Where its strings are.</param>
/// <param name="NameOffset">Offset of the name; 0: an anonymous struct or union (or padding).</param>
/// <param name="TypeId">Its type.</param>
/// <param name="BitOffset">Bits from the start of the struct.</param>
/// <param name="BitfieldBits">Bits of a bitfield; 0: not one, or described by an old-style integer (<see cref="BtfType.IntBits"/>).</param>
public readonly record struct BtfMember(BtfData Data, uint NameOffset, uint TypeId, uint BitOffset, int BitfieldBits)
{
    /// <summary>The name; empty for an anonymous member.</summary>
    public string Name => NameOffset == 0 ? "" : Data.GetString(NameOffset);
}

/// <summary>A parameter.</summary>
/// <param name="Data">Where its strings are.</param>
/// <param name="NameOffset">Offset of the name; 0: none.</param>
/// <param name="TypeId">Its type; 0 for the ellipsis.</param>
public readonly record struct BtfParameter(BtfData Data, uint NameOffset, uint TypeId)
{
    /// <summary>The name; empty where it has none.</summary>
    public string Name => NameOffset == 0 ? "" : Data.GetString(NameOffset);
}

/// <summary>An enumerator.</summary>
/// <param name="Data">Where its strings are.</param>
/// <param name="NameOffset">Offset of the name.</param>
/// <param name="Value">Its value; of an unsigned 64-bit enum, the same bits.</param>
/// <param name="IsSigned">The enum is signed.</param>
public readonly record struct BtfEnumerator(BtfData Data, uint NameOffset, long Value, bool IsSigned)
{
    /// <summary>The name.</summary>
    public string Name => Data.GetString(NameOffset);
}

/// <summary>A variable in a section.</summary>
/// <param name="TypeId">A type of kind <see cref="BtfKind.Var"/>.</param>
/// <param name="Offset">Bytes from the start of the section.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct BtfVariable(uint TypeId, uint Offset, uint Size);
