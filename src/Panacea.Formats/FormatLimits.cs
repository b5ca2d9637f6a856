namespace Panacea.Formats;

/// <summary>Ceilings for what untrusted bytes may claim: counts, lengths, nesting. One object, so that hostile input has one answer.</summary>
public sealed record FormatLimits
{
    /// <summary>The limits used unless a caller has a reason for others.</summary>
    public static FormatLimits Default { get; } = new();

    /// <summary>Symbols of one table. A distribution kernel with KALLSYMS_ALL has 100,000 to 250,000.</summary>
    public int MaxSymbols { get; init; } = 2_000_000;

    /// <summary>Bytes of one expanded symbol name; the kernel's own ceiling is 512 (KSYM_NAME_LEN, include/linux/kallsyms.h).</summary>
    public int MaxSymbolNameBytes { get; init; } = 1024;

    /// <summary>Bytes of all expanded names of one table.</summary>
    public int MaxSymbolNamesBytes { get; init; } = 128 << 20;

    /// <summary>Bytes of one BTF blob.</summary>
    public int MaxBtfBytes { get; init; } = 64 << 20;

    /// <summary>Types of one BTF blob; the kernel's own ceiling is 0x000fffff (BTF_MAX_TYPE, include/uapi/linux/btf.h).</summary>
    public int MaxBtfTypes { get; init; } = 1 << 20;

    /// <summary>Rows of one ORC table. A distribution kernel has about 400,000.</summary>
    public int MaxOrcRows { get; init; } = 16_000_000;

    /// <summary>Bytes of a note section or of one VMCOREINFO text.</summary>
    public int MaxNoteBytes { get; init; } = 1 << 20;

    /// <summary>Lines of one VMCOREINFO text.</summary>
    public int MaxVmcoreInfoLines { get; init; } = 16_384;
}
