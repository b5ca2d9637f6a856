namespace Panacea.Formats.Kallsyms;

/// <summary>The order in which the linker laid the kallsyms tables into .rodata, and what the offsets are relative to.</summary>
public enum KallsymsOrder
{
    /// <summary>offsets, relative_base, num_syms, names, markers, [seqs_of_names], token_table, token_index: Linux up to 6.3 (scripts/kallsyms.c).</summary>
    OffsetsFirst,

    /// <summary>num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names: Linux 6.4 to 6.19
    /// (commit 404bad70fcf7 "scripts/kallsyms: change the output order").</summary>
    TokensFirst,

    /// <summary>As <see cref="TokensFirst"/>, without relative_base: each offset is relative to its own slot. Linux 7.0 and later (commit a081b5789255,
    /// "kallsyms: Get rid of kallsyms relative base").</summary>
    SelfRelative,
}

/// <summary>Where the in-memory kallsyms tables are. Addresses are guest-virtual; a table that is not there has address 0.</summary>
public readonly record struct KallsymsLayout
{
    /// <summary>Order of the tables, found by shape.</summary>
    public required KallsymsOrder Order { get; init; }

    /// <summary>kallsyms_num_syms: symbols in the tables.</summary>
    public required int SymbolCount { get; init; }

    /// <summary>Address of kallsyms_num_syms (u32).</summary>
    public required ulong NumSyms { get; init; }

    /// <summary>Address of kallsyms_names: per symbol a length and that many token numbers.</summary>
    public required ulong Names { get; init; }

    /// <summary>Bytes of kallsyms_names, without padding.</summary>
    public required int NamesLength { get; init; }

    /// <summary>Address of kallsyms_markers (u32 for every 256th symbol).</summary>
    public required ulong Markers { get; init; }

    /// <summary>Address of kallsyms_token_table (256 NUL-terminated strings).</summary>
    public required ulong TokenTable { get; init; }

    /// <summary>Address of kallsyms_token_index (256 u16).</summary>
    public required ulong TokenIndex { get; init; }

    /// <summary>Address of kallsyms_offsets (s32 per symbol).</summary>
    public required ulong Offsets { get; init; }

    /// <summary>Address of kallsyms_relative_base (u64), 0 where the kernel has none.</summary>
    public ulong RelativeBaseAddress { get; init; }

    /// <summary>Value of kallsyms_relative_base: the address of the lowest symbol that moves with KASLR; 0 where the kernel has none.</summary>
    public ulong RelativeBase { get; init; }

    /// <summary>Address of kallsyms_seqs_of_names (3 bytes, big-endian, per symbol), 0 where the kernel has none.</summary>
    public ulong SeqsOfNames { get; init; }

    /// <summary>Non-negative offsets are absolute (per-CPU) values and negative ones count down from relative_base − 1
    /// (CONFIG_KALLSYMS_ABSOLUTE_PERCPU; dropped with zero-based per-CPU addresses in 6.15).</summary>
    public bool AbsolutePerCpu { get; init; }

    /// <summary>A name longer than 127 tokens has a two-byte ULEB128 length (Linux 6.1, commit 73bbb94466fd); else the length is one plain byte.
    /// True also where no name is that long, and the question has no meaning.</summary>
    public bool LongNames { get; init; }
}

/// <summary>Addresses of kallsyms tables that are known already, from VMCOREINFO (since Linux 6.0) or from an earlier look. 0: not known.</summary>
/// <param name="TokenTable">SYMBOL(kallsyms_token_table). The one that must be known.</param>
/// <param name="TokenIndex">SYMBOL(kallsyms_token_index).</param>
/// <param name="NumSyms">SYMBOL(kallsyms_num_syms).</param>
/// <param name="Names">SYMBOL(kallsyms_names).</param>
/// <param name="Offsets">SYMBOL(kallsyms_offsets).</param>
/// <param name="RelativeBase">SYMBOL(kallsyms_relative_base): the address of the variable.</param>
public readonly record struct KallsymsAddresses(
    ulong TokenTable, ulong TokenIndex = 0, ulong NumSyms = 0, ulong Names = 0, ulong Offsets = 0, ulong RelativeBase = 0);
