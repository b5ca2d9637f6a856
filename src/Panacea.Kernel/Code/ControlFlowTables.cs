using System.Buffers.Binary;

namespace Panacea.Kernel.Code;

/// <summary>A table of the kernel or of a module, as it lies in guest memory.</summary>
/// <param name="Address">Guest-virtual address of its first byte.</param>
/// <param name="Bytes">Its content; a last entry that is cut off is left out.</param>
public readonly record struct KernelTable(ulong Address, ReadOnlyMemory<byte> Bytes);

/// <summary>Where <c>struct bug_entry</c> keeps what matters; the structure grows with the configuration and BTF knows it.</summary>
/// <param name="Size">Bytes of an entry.</param>
/// <param name="FlagsOffset">Byte offset of the u16 <c>flags</c>.</param>
public readonly record struct BugEntryLayout(int Size, int FlagsOffset)
{
    /// <summary>With CONFIG_DEBUG_BUGVERBOSE and relative pointers (include/asm-generic/bug.h): s32 address, s32 file, u16 line, u16 flags.</summary>
    public static BugEntryLayout Verbose { get; } = new(12, 10);
}

/// <summary>
/// Control flow that stands in tables instead of instructions: jump labels (<c>__jump_table</c>), exception fixups (<c>__ex_table</c>), and which
/// UD2 is a WARN (<c>__bug_table</c>). Sorted once when made; a lookup is a binary search.
/// </summary>
/// <remarks>All entries hold 32-bit displacements from their own field, so the bytes are good at every KASLR base. Immutable, safe for concurrent use.</remarks>
public sealed class ControlFlowTables : IControlFlowHints
{
    private const int JumpEntrySize = 16;
    private const int ExceptionEntrySize = 12;
    private const ushort BugFlagWarning = 1;
    private readonly ulong[] _from;
    private readonly ulong[] _to;
    private readonly ulong[] _warnings;
    private readonly HashSet<ulong> _noReturn;

    private ControlFlowTables(ulong[] from, ulong[] to, ulong[] warnings, HashSet<ulong> noReturn) =>
        (_from, _to, _warnings, _noReturn) = (from, to, warnings, noReturn);

    /// <summary>Names of functions that never come back, of those that Linux's objtool lists (tools/objtool/noreturns.h) the ones often called.</summary>
    public static IReadOnlyList<string> NoReturnNames { get; } =
    [
        "panic", "vpanic", "nmi_panic", "__stack_chk_fail", "do_exit", "do_group_exit", "make_task_dead", "rewind_stack_and_make_dead", "kthread_exit",
        "kthread_complete_and_exit", "__module_put_and_kthread_exit", "do_task_dead", "__fortify_panic", "fortify_panic", "ex_handler_msr_mce",
        "stop_this_cpu", "machine_real_restart", "cpu_startup_entry", "rest_init", "start_kernel", "x86_64_start_kernel", "x86_64_start_reservations",
        "nmi_panic_self_stop", "panic_smp_self_stop", "__ubsan_handle_builtin_unreachable", "snp_abort", "sev_es_terminate", "hlt_play_dead",
        "play_dead_common", "usercopy_abort", "acpi_processor_ffh_play_dead", "mwait_play_dead", "arch_cpu_idle_dead", "cpu_bringup_and_idle", "xen_cpu_bringup_again",
    ];

    /// <summary>Builds the index.</summary>
    /// <param name="jumps">Jump label tables, 16 bytes an entry: s32 code, s32 target, s64 key (struct jump_entry, include/linux/jump_label.h).</param>
    /// <param name="exceptions">Exception tables, 12 bytes an entry: s32 insn, s32 fixup, 4 more (struct exception_table_entry).</param>
    /// <param name="bugs">Bug tables.</param>
    /// <param name="bugLayout">Layout of their entries.</param>
    /// <param name="noReturn">Addresses of functions that never come back, see <see cref="NoReturnNames"/>.</param>
    public static ControlFlowTables Create(
        IEnumerable<KernelTable> jumps, IEnumerable<KernelTable> exceptions, IEnumerable<KernelTable> bugs, BugEntryLayout bugLayout,
        IEnumerable<ulong> noReturn)
    {
        var from = new List<ulong>();
        var to = new List<ulong>();
        foreach (KernelTable table in jumps)
            AddPairs(table, JumpEntrySize, from, to);
        foreach (KernelTable table in exceptions)
            AddPairs(table, ExceptionEntrySize, from, to);
        ulong[] keys = [.. from], targets = [.. to];
        Array.Sort(keys, targets);
        var warnings = new List<ulong>();
        if (bugLayout.Size >= 6 && bugLayout.FlagsOffset >= 4 && bugLayout.FlagsOffset + 2 <= bugLayout.Size)
        {
            foreach (KernelTable table in bugs)
                AddWarnings(table, bugLayout, warnings);
        }

        warnings.Sort();
        return new ControlFlowTables(keys, targets, [.. warnings], [.. noReturn]);
    }

    /// <summary>Pairs of a place and where control may go from it.</summary>
    public int Count => _from.Length;

    /// <inheritdoc/>
    public bool IsNoReturn(ulong target) => _noReturn.Contains(target);

    /// <inheritdoc/>
    public bool ContinuesAfterTrap(ulong instruction) => Array.BinarySearch(_warnings, instruction) >= 0;

    /// <inheritdoc/>
    public IReadOnlyList<ulong> ExtraTargets(ulong instruction)
    {
        int at = Array.BinarySearch(_from, instruction);
        if (at < 0)
            return [];
        while (at > 0 && _from[at - 1] == instruction)
            at--;
        var targets = new List<ulong>(1);
        for (; at < _from.Length && _from[at] == instruction; at++)
            targets.Add(_to[at]);
        return targets;
    }

    private static void AddPairs(KernelTable table, int size, List<ulong> from, List<ulong> to)
    {
        ReadOnlySpan<byte> bytes = table.Bytes.Span;
        for (int at = 0; at + size <= bytes.Length; at += size)
        {
            from.Add(Relative(table.Address, bytes, at));
            to.Add(Relative(table.Address, bytes, at + 4));
        }
    }

    private static void AddWarnings(KernelTable table, BugEntryLayout layout, List<ulong> warnings)
    {
        ReadOnlySpan<byte> bytes = table.Bytes.Span;
        for (int at = 0; at + layout.Size <= bytes.Length; at += layout.Size)
        {
            if ((BinaryPrimitives.ReadUInt16LittleEndian(bytes[(at + layout.FlagsOffset)..]) & BugFlagWarning) != 0)
                warnings.Add(Relative(table.Address, bytes, at));
        }
    }

    private static ulong Relative(ulong address, ReadOnlySpan<byte> bytes, int at) =>
        unchecked(address + (ulong)at + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]));
}
