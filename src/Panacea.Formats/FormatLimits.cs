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

    /// <summary>Bytes of all notes of a dump: some 800 a CPU.</summary>
    public int MaxDumpNoteBytes { get; init; } = 16 << 20;

    /// <summary>Notes of a dump: two a CPU and a few.</summary>
    public int MaxDumpNotes { get; init; } = 20_000;

    /// <summary>Program headers of an ELF core. One of physical memory has a few; QEMU's <c>paging</c> option makes many.</summary>
    public int MaxDumpSegments { get; init; } = 262_144;

    /// <summary>Records of a flattened dump, about 4 to 16 KiB each; an index of them is held, some 24 bytes a record.</summary>
    public int MaxFlattenedRecords { get; init; } = 8_000_000;

    /// <summary>Pages of guest memory that a kdump-compressed dump may speak of: 64 TiB, what x86-64 Linux with four levels takes (MAX_PHYSMEM_BITS).</summary>
    public long MaxDumpPages { get; init; } = 1L << 34;

    /// <summary>Runs of RAM that a dump may have; a machine has some tens.</summary>
    public int MaxMemoryRanges { get; init; } = 65_536;

    /// <summary>Files of one split dump.</summary>
    public int MaxDumpFiles { get; init; } = 256;

    /// <summary>Characters of one line of a console log that are kept; what comes after them is dropped and counted. printk itself writes at most 1024 (PRINTKRB_RECORD_MAX, kernel/printk/internal.h).</summary>
    public int MaxLogLineChars { get; init; } = 4096;

    /// <summary>Lines of one report in a console log. The OOM killer's table of tasks is the longest that kernels write.</summary>
    public int MaxLogReportLines { get; init; } = 2_000;

    /// <summary>Reports of one console log that are kept, the earliest ones; later ones are counted.</summary>
    public int MaxLogReports { get; init; } = 1_000;

    /// <summary>Reports that may be written at one time, by different CPUs; the oldest is closed where there are more.</summary>
    public int MaxOpenLogReports { get; init; } = 16;

    /// <summary>Boots of one console log that are told apart; what comes later counts to the last.</summary>
    public int MaxLogBoots { get; init; } = 1_000;

    /// <summary>Section headers of an ELF object. A kernel with debug information has some 80, a module built with a section a function some thousands.</summary>
    public int MaxElfSections { get; init; } = 65_536;

    /// <summary>Bytes of one table of an ELF object that is held in memory: symbols, their names, relocations. Those of a distribution kernel's symbols are 5 MB, of the largest modules'
    /// relocations 150 MB.</summary>
    public long MaxElfTableBytes { get; init; } = 256 << 20;

    /// <summary>Bytes that a compressed section of debug information may unpack to; .debug_info of a distribution kernel has 210 MB.</summary>
    public long MaxUnpackedSectionBytes { get; init; } = 2L << 30;

    /// <summary>Bytes of one DWARF unit, or of one table that belongs to it (abbreviations, lines). A C file's of the kernel are up to 1 MB, those of link-time optimisation more.</summary>
    public int MaxDwarfUnitBytes { get; init; } = 64 << 20;

    /// <summary>DWARF units of one object; a distribution kernel has some 3,000.</summary>
    public int MaxDwarfUnits { get; init; } = 1_000_000;

    /// <summary>Bytes of DWARF that may be gone through for one address. Where .debug_aranges is missing, the heads of all units are read once: 200 MB in a distribution kernel.</summary>
    public long MaxDwarfWork { get; init; } = 1L << 30;

    /// <summary>Address ranges of one object, or of one entry of its DWARF.</summary>
    public int MaxDwarfRanges { get; init; } = 4_000_000;

    /// <summary>Rows of one line table.</summary>
    public int MaxDwarfLines { get; init; } = 4_000_000;

    /// <summary>Inlined calls, one within the other, at one address.</summary>
    public int MaxInlineDepth { get; init; } = 256;
}
