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
/// Control flow that stands in tables instead of instructions, of the kernel or of one module: jump labels (<c>__jump_table</c>), exception fixups
/// (<c>__ex_table</c>), and which UD2 is a WARN (<c>__bug_table</c>). Kept as sorted offsets from a base, so that it is searched in place and
/// is the same at every KASLR base. A jump label may have been switched since the text was copied: the table holds both ways.
/// </summary>
/// <remarks>Immutable, safe for concurrent use. Layout, little-endian: u32 pairs, u32 warnings, s32 from[pairs] ascending, s32 to[pairs], s32 warning[warnings] ascending.</remarks>
public sealed class ControlFlowTable : IControlFlowHints
{
    private const int HeaderSize = 8;
    private const int JumpEntrySize = 16;
    private const int ExceptionEntrySize = 12;
    private const ushort BugFlagWarning = 1;
    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly ulong _base;
    private readonly int _pairs;
    private readonly int _warnings;
    private readonly IReadOnlySet<ulong>? _noReturn;

    private ControlFlowTable(ReadOnlyMemory<byte> bytes, ulong baseAddress, int pairs, int warnings, IReadOnlySet<ulong>? noReturn) =>
        (_bytes, _base, _pairs, _warnings, _noReturn) = (bytes, baseAddress, pairs, warnings, noReturn);

    /// <summary>Functions that never come back, of those that Linux's objtool lists (tools/objtool/noreturns.h) the ones often called; a name that a kernel lacks costs nothing.</summary>
    public static IReadOnlyList<string> NoReturnNames { get; } =
    [
        "panic", "vpanic", "nmi_panic", "__stack_chk_fail", "do_exit", "do_group_exit", "make_task_dead", "rewind_stack_and_make_dead", "rewind_stack_do_exit", "kthread_exit",
        "kthread_complete_and_exit", "__module_put_and_kthread_exit", "do_task_dead", "__fortify_panic", "fortify_panic", "usercopy_abort", "ex_handler_msr_mce",
        "stop_this_cpu", "machine_real_restart", "cpu_startup_entry", "rest_init", "nmi_panic_self_stop", "panic_smp_self_stop", "snp_abort", "sev_es_terminate",
        "hlt_play_dead", "play_dead", "arch_cpu_idle_dead", "cpu_bringup_and_idle", "__reiserfs_panic", "__ubsan_handle_builtin_unreachable",
    ];

    /// <summary>Pairs of a place and where control may go from it.</summary>
    public int Count => _pairs;

    /// <summary>Sorts what was read from a guest.</summary>
    /// <param name="jumps">Jump labels, 16 bytes an entry: s32 code, s32 target, s64 key (struct jump_entry, include/linux/jump_label.h).</param>
    /// <param name="exceptions">Exception table, 12 bytes an entry: s32 insn, s32 fixup, 4 more (struct exception_table_entry).</param>
    /// <param name="bugs">Bug table.</param>
    /// <param name="bugLayout">Layout of its entries; one that makes no sense gives no warnings.</param>
    /// <param name="baseAddress">Guest-virtual address that offsets are counted from; entries farther than 2 GiB from it are left out.</param>
    /// <returns>Bytes for <see cref="TryOpen"/>.</returns>
    public static byte[] Build(KernelTable jumps, KernelTable exceptions, KernelTable bugs, BugEntryLayout bugLayout, ulong baseAddress)
    {
        var from = new List<int>();
        var to = new List<int>();
        AddPairs(jumps, JumpEntrySize, baseAddress, from, to);
        AddPairs(exceptions, ExceptionEntrySize, baseAddress, from, to);
        int[] keys = [.. from], targets = [.. to];
        Array.Sort(keys, targets);
        var warnings = new List<int>();
        if (bugLayout.FlagsOffset >= 4 && bugLayout.FlagsOffset <= bugLayout.Size - 2)
            AddWarnings(bugs, bugLayout, baseAddress, warnings);
        warnings.Sort();

        byte[] bytes = new byte[HeaderSize + (8 * keys.Length) + (4 * warnings.Count)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, keys.Length);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), warnings.Count);
        int at = HeaderSize;
        foreach (int value in (IEnumerable<int>)[.. keys, .. targets, .. warnings])
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), value);
            at += 4;
        }

        return bytes;
    }

    /// <summary>Opens what <see cref="Build"/> made.</summary>
    /// <param name="bytes">The bytes; kept.</param>
    /// <param name="baseAddress">Where the base lies now.</param>
    /// <param name="table">The table.</param>
    /// <param name="noReturn">Addresses of functions that never come back, see <see cref="NoReturnNames"/>; null where the caller answers that itself.</param>
    /// <returns>False where the bytes are not such a table.</returns>
    public static bool TryOpen(ReadOnlyMemory<byte> bytes, ulong baseAddress, out ControlFlowTable table, IReadOnlySet<ulong>? noReturn = null)
    {
        table = null!;
        if (bytes.Length < HeaderSize)
            return false;
        uint pairs = BinaryPrimitives.ReadUInt32LittleEndian(bytes.Span), warnings = BinaryPrimitives.ReadUInt32LittleEndian(bytes.Span[4..]);
        if (HeaderSize + (8L * pairs) + (4L * warnings) != bytes.Length)
            return false;
        table = new ControlFlowTable(bytes, baseAddress, (int)pairs, (int)warnings, noReturn);
        return true;
    }

    /// <inheritdoc/>
    public bool IsNoReturn(ulong target) => _noReturn?.Contains(target) ?? false;

    /// <inheritdoc/>
    public bool ContinuesAfterTrap(ulong instruction) =>
        TryOffset(instruction, out int offset) && FirstAtLeast(2 * _pairs, _warnings, offset) is var at && at < _warnings && At((2 * _pairs) + at) == offset;

    /// <inheritdoc/>
    public IReadOnlyList<ulong> ExtraTargets(ulong instruction)
    {
        if (!TryOffset(instruction, out int offset))
            return [];
        List<ulong>? targets = null;
        for (int at = FirstAtLeast(0, _pairs, offset); at < _pairs && At(at) == offset; at++)
            (targets ??= new List<ulong>(1)).Add(unchecked(_base + (ulong)(long)At(_pairs + at)));
        return targets ?? (IReadOnlyList<ulong>)[];
    }

    private bool TryOffset(ulong address, out int offset)
    {
        long distance = unchecked((long)(address - _base));
        offset = unchecked((int)distance);
        return offset == distance;
    }

    private int At(int index) => BinaryPrimitives.ReadInt32LittleEndian(_bytes.Span[(HeaderSize + (4 * index))..]);

    private int FirstAtLeast(int start, int count, int wanted)
    {
        int low = 0, high = count;
        while (low < high)
        {
            int middle = low + ((high - low) / 2);
            if (At(start + middle) < wanted)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private static void AddPairs(KernelTable table, int size, ulong baseAddress, List<int> from, List<int> to)
    {
        ReadOnlySpan<byte> bytes = table.Bytes.Span;
        for (int at = 0; at + size <= bytes.Length; at += size)
        {
            long code = Relative(table, bytes, at, baseAddress), target = Relative(table, bytes, at + 4, baseAddress);
            if (unchecked((int)code) != code || unchecked((int)target) != target)
                continue;
            from.Add(unchecked((int)code));
            to.Add(unchecked((int)target));
        }
    }

    private static void AddWarnings(KernelTable table, BugEntryLayout layout, ulong baseAddress, List<int> warnings)
    {
        ReadOnlySpan<byte> bytes = table.Bytes.Span;
        for (int at = 0; at + layout.Size <= bytes.Length; at += layout.Size)
        {
            long address = Relative(table, bytes, at, baseAddress);
            bool isWarning = (BinaryPrimitives.ReadUInt16LittleEndian(bytes[(at + layout.FlagsOffset)..]) & BugFlagWarning) != 0;
            if (isWarning && unchecked((int)address) == address)
                warnings.Add(unchecked((int)address));
        }
    }

    /// <summary>Every field holds the distance from itself to what it means.</summary>
    private static long Relative(KernelTable table, ReadOnlySpan<byte> bytes, int at, ulong baseAddress) =>
        unchecked((long)(table.Address + (ulong)at + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]) - baseAddress));
}
