namespace Panacea.Formats.Btf;

/// <summary>BTF_KIND_* (include/uapi/linux/btf.h).</summary>
public enum BtfKind : byte
{
    /// <summary>Type id 0: void.</summary>
    Void = 0,
    /// <summary>Integer.</summary>
    Int = 1,
    /// <summary>Pointer.</summary>
    Ptr = 2,
    /// <summary>Array.</summary>
    Array = 3,
    /// <summary>Struct.</summary>
    Struct = 4,
    /// <summary>Union.</summary>
    Union = 5,
    /// <summary>Enumeration of up to 32 bits.</summary>
    Enum = 6,
    /// <summary>Forward declaration of a struct, or of a union where the kind flag is set.</summary>
    Fwd = 7,
    /// <summary>Typedef.</summary>
    Typedef = 8,
    /// <summary>volatile.</summary>
    Volatile = 9,
    /// <summary>const.</summary>
    Const = 10,
    /// <summary>restrict.</summary>
    Restrict = 11,
    /// <summary>A function; its type is a <see cref="FuncProto"/>.</summary>
    Func = 12,
    /// <summary>A function's return type and parameters.</summary>
    FuncProto = 13,
    /// <summary>A variable.</summary>
    Var = 14,
    /// <summary>A section of variables.</summary>
    Datasec = 15,
    /// <summary>Floating point.</summary>
    Float = 16,
    /// <summary>A tag on a declaration (Linux 5.16).</summary>
    DeclTag = 17,
    /// <summary>A tag on a pointed-to type (Linux 5.17).</summary>
    TypeTag = 18,
    /// <summary>Enumeration of 64 bits (Linux 6.0).</summary>
    Enum64 = 19,
}

/// <summary>BTF_INT_* encoding bits.</summary>
[Flags]
public enum BtfIntEncoding : byte
{
    /// <summary>Unsigned.</summary>
    None = 0,
    /// <summary>Signed.</summary>
    Signed = 1,
    /// <summary>A character.</summary>
    Char = 2,
    /// <summary>A boolean.</summary>
    Bool = 4,
}
