namespace Panacea.Formats.Elf;

/// <summary>Kinds of an ELF object (e_type, ELF gABI).</summary>
public enum ElfObjectType
{
    /// <summary>ET_REL: addresses count from the start of a section; what points elsewhere is left to relocations. Modules are of this kind.</summary>
    Relocatable = 1,

    /// <summary>ET_EXEC: linked to fixed addresses. vmlinux of x86-64.</summary>
    Executable = 2,

    /// <summary>ET_DYN: linked, to be moved as a whole.</summary>
    Shared = 3,
}

/// <summary>One section of an ELF object.</summary>
/// <param name="Index">Its number.</param>
/// <param name="Name">Name.</param>
/// <param name="Type">sh_type.</param>
/// <param name="Flags">sh_flags.</param>
/// <param name="Address">Where it lies: sh_addr; in a relocatable object, a place of its own that <see cref="ElfObject"/> gives it, so that addresses of two sections never meet. 0 where it is not loaded.</param>
/// <param name="Offset">Byte of the file at which it begins.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Link">sh_link.</param>
/// <param name="Info">sh_info.</param>
public sealed record ElfSection(int Index, string Name, uint Type, ulong Flags, ulong Address, ulong Offset, ulong Size, uint Link, uint Info)
{
    internal const uint SymbolTable = 2, Rela = 4, Note = 7, NoBits = 8;
    private const ulong Alloc = 2, ExecInstr = 4, CompressedFlag = 0x800;

    /// <summary>SHF_ALLOC: it is in memory when the program runs.</summary>
    public bool IsLoaded => (Flags & Alloc) != 0;

    /// <summary>SHF_EXECINSTR: it holds code.</summary>
    public bool IsCode => (Flags & ExecInstr) != 0;

    /// <summary>SHF_COMPRESSED.</summary>
    public bool IsCompressed => (Flags & CompressedFlag) != 0;

    /// <summary>SHT_NOBITS: the file has none of its bytes, as in a file that keeps debug information alone.</summary>
    public bool IsEmpty => Type == NoBits;
}
