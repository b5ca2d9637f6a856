using System.Buffers.Binary;

namespace Panacea.Formats.Orc;

/// <summary>
/// The unwind rows of the kernel or of one module, searched in the raw bytes of <c>.orc_unwind_ip</c> and <c>.orc_unwind</c>. Instruction
/// addresses are stored relative to their own slot, so the bytes are good at every KASLR base: <see cref="IpAddress"/> says where the slots are now.
/// </summary>
/// <remarks>Immutable and safe for concurrent use. A lookup is a binary search without allocation.</remarks>
public sealed class OrcTable : IOrcLookup
{
    private readonly ReadOnlyMemory<byte> _ips;
    private readonly ReadOnlyMemory<byte> _rows;

    private OrcTable(ReadOnlyMemory<byte> ips, ReadOnlyMemory<byte> rows, ulong ipAddress, OrcVersion version) =>
        (_ips, _rows, IpAddress, Version) = (ips, rows, ipAddress, version);

    /// <summary>Guest-virtual address of the first slot (<c>__start_orc_unwind_ip</c>, <c>mod-&gt;arch.orc_unwind_ip</c>).</summary>
    public ulong IpAddress { get; }

    /// <summary>The rows' version.</summary>
    public OrcVersion Version { get; }

    /// <summary>Number of rows.</summary>
    public int Count => _ips.Length / OrcFormat.IpBytes;

    /// <summary>Bytes of <c>.orc_unwind_ip</c>, to store.</summary>
    public ReadOnlyMemory<byte> IpSection => _ips;

    /// <summary>Bytes of <c>.orc_unwind</c>, to store.</summary>
    public ReadOnlyMemory<byte> RowSection => _rows;

    /// <summary>Takes bytes read from a guest: lengths, count and sort order are checked.</summary>
    /// <param name="ips">Bytes of <c>.orc_unwind_ip</c>.</param>
    /// <param name="rows">Bytes of <c>.orc_unwind</c>.</param>
    /// <param name="ipAddress">Guest-virtual address of the first slot.</param>
    /// <param name="version">The rows' version, from <see cref="OrcFormat.TryDetect"/> over the kernel's own rows.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="table">The table.</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public static bool TryCreate(
        ReadOnlyMemory<byte> ips, ReadOnlyMemory<byte> rows, ulong ipAddress, OrcVersion version, FormatLimits limits,
        out OrcTable table, out string whyNot)
    {
        if (!TryOpen(ips, rows, ipAddress, version, out table, out whyNot))
            return false;
        if (table.Count > limits.MaxOrcRows)
        {
            whyNot = $"{table.Count} ORC rows are more than the {limits.MaxOrcRows} allowed";
            table = null!;
            return false;
        }

        // The kernel sorts at build time (scripts/sorttable.c) and modules when they load (unwind_module_init); a table that is not sorted is not one.
        ReadOnlySpan<byte> raw = ips.Span;
        long last = long.MinValue;
        for (int i = 0; i < table.Count; i++)
        {
            long ip = RelativeIp(raw, i);
            if (ip < last)
            {
                whyNot = $"ORC row {i} is out of order";
                table = null!;
                return false;
            }

            last = ip;
        }

        // What is past the end of the address space would be found at its beginning.
        if (table.Count > 0 && (Wraps(ipAddress, RelativeIp(raw, 0)) || Wraps(ipAddress, last)))
        {
            whyNot = "ORC rows lie outside the address space";
            table = null!;
            return false;
        }

        return true;
    }

    /// <summary>Takes stored bytes that were checked when they were stored: lengths only, in constant time.</summary>
    public static bool TryOpen(
        ReadOnlyMemory<byte> ips, ReadOnlyMemory<byte> rows, ulong ipAddress, OrcVersion version, out OrcTable table, out string whyNot)
    {
        table = null!;
        int count = ips.Length / OrcFormat.IpBytes;
        whyNot = version is < OrcVersion.V1 or > OrcVersion.V4 ? $"ORC version {(int)version} is not known"
            : ips.Length % OrcFormat.IpBytes != 0 || rows.Length != (long)count * OrcFormat.RowBytes
                ? $"{ips.Length} bytes of ORC addresses and {rows.Length} bytes of rows do not belong together"
            : "";
        if (whyNot.Length != 0)
            return false;
        table = new OrcTable(ips, rows, ipAddress, version);
        return true;
    }

    /// <summary>The same bytes with their slots at another address (another KASLR base).</summary>
    public OrcTable At(ulong ipAddress) => new(_ips, _rows, ipAddress, Version);

    /// <summary>Instruction address of row <paramref name="index"/>.</summary>
    public ulong InstructionAt(int index) => unchecked(IpAddress + (ulong)RelativeIp(_ips.Span, index));

    /// <summary>Row <paramref name="index"/>, decoded.</summary>
    public OrcEntry EntryAt(int index) => OrcFormat.Decode(_rows.Span.Slice(index * OrcFormat.RowBytes, OrcFormat.RowBytes), Version);

    /// <summary>The last row at or before <paramref name="instruction"/>; of several at one address the last, as the kernel does (__orc_find).</summary>
    /// <returns>False where the first row is behind the instruction. A gap between functions is found and has type
    /// <see cref="OrcType.Undefined"/>: the kernel ends each run of rows with such a terminator. The last row has no end: ask only about
    /// instructions of the kernel or the module that the table belongs to.</returns>
    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        bool found = TryFindIndex(instruction, out int index);
        entry = found ? EntryAt(index) : default;
        return found;
    }

    /// <summary>As <see cref="TryFind"/>, for the row's index.</summary>
    public bool TryFindIndex(ulong instruction, out int index)
    {
        ReadOnlySpan<byte> raw = _ips.Span;

        // Not a wrapping difference: address 0 is far below the kernel, not 2 GiB behind its rows.
        long target = instruction >= IpAddress
            ? (long)Math.Min(instruction - IpAddress, long.MaxValue)
            : -(long)Math.Min(IpAddress - instruction, long.MaxValue);
        int low = 0, high = Count;
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (RelativeIp(raw, middle) <= target)
                low = middle + 1;
            else
                high = middle;
        }

        index = low - 1;
        return index >= 0;
    }

    private static bool Wraps(ulong address, long distance) => distance < 0 ? address < (ulong)-distance : ulong.MaxValue - address < (ulong)distance;

    private static long RelativeIp(ReadOnlySpan<byte> raw, int index)
    {
        int at = OrcFormat.IpBytes * index;
        return at + (long)BinaryPrimitives.ReadInt32LittleEndian(raw[at..]);
    }
}
