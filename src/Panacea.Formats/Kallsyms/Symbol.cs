namespace Panacea.Formats.Kallsyms;

/// <summary>One symbol of a <see cref="SymbolTable"/>.</summary>
/// <param name="Index">Its place in the table's order: absolute ones first, then by address; equal addresses in the kernel's order.</param>
/// <param name="Value">Bytes from the table's base, or the value itself where <paramref name="IsAbsolute"/>.</param>
/// <param name="IsAbsolute">The value does not move with the base: a per-CPU offset (CONFIG_KALLSYMS_ABSOLUTE_PERCPU) or a constant.</param>
/// <param name="Type">nm's letter: T/t text, D/d data, B/b bss, R/r read-only, A/a absolute, W/w weak, V/v weak object; upper case is global.</param>
public readonly record struct Symbol(int Index, uint Value, bool IsAbsolute, char Type)
{
    /// <summary>Its address when the table's base is at <paramref name="baseAddress"/>; of an absolute symbol, its value.</summary>
    public ulong AddressAt(ulong baseAddress) => IsAbsolute ? Value : unchecked(baseAddress + Value);

    /// <summary>nm says it is code: T or t, or a weak symbol (W, w), which is code for all that nm knows.</summary>
    public bool IsText => Type is 'T' or 't' or 'W' or 'w';
}

/// <summary>The symbol that an address belongs to.</summary>
/// <param name="Symbol">The last symbol at or before the address; of several at one address, the first in the kernel's order, as the kernel itself prints it.</param>
/// <param name="Offset">Bytes from the symbol to the address.</param>
/// <param name="Size">Bytes from the symbol to the next one at a higher address, as the kernel prints it; 0 for the last.</param>
public readonly record struct SymbolHit(Symbol Symbol, ulong Offset, ulong Size);

/// <summary>The blobs of a <see cref="SymbolTable"/>, to store and to map again. All integers are little-endian; no blob needs alignment.</summary>
/// <param name="Header">32 bytes: u32 magic "PSYM", u32 version, u32 count, u32 absolute count, u64 end (bytes from the base), u64 zero.</param>
/// <param name="Values">u32 per symbol: bytes from the base, or the absolute value.</param>
/// <param name="Types">One byte per symbol: nm's letter.</param>
/// <param name="NameOffsets">u32 per symbol, and one more: where each name starts in <paramref name="Names"/>.</param>
/// <param name="Names">UTF-8, without terminators.</param>
/// <param name="NameIndex">Hash index from names to symbols.</param>
public readonly record struct SymbolTableSections(
    ReadOnlyMemory<byte> Header, ReadOnlyMemory<byte> Values, ReadOnlyMemory<byte> Types,
    ReadOnlyMemory<byte> NameOffsets, ReadOnlyMemory<byte> Names, ReadOnlyMemory<byte> NameIndex);
