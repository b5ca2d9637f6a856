namespace Panacea.Kernel.Types;

/// <summary>What a function gives back, as far as returning an error is concerned.</summary>
public enum ReturnKind
{
    /// <summary>Nothing.</summary>
    Void,
    /// <summary>A signed integer: negative errno values are errors.</summary>
    SignedInteger,
    /// <summary>An unsigned integer: no value says an error.</summary>
    UnsignedInteger,
    /// <summary>bool.</summary>
    Bool,
    /// <summary>A pointer.</summary>
    Pointer,
    /// <summary>A struct, an enum, or anything else.</summary>
    Other,
}

/// <summary>A function's return type.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Bytes">Size in bytes, 0 for void.</param>
/// <param name="Name">As C spells it.</param>
public readonly record struct ReturnType(ReturnKind Kind, int Bytes, string Name);
