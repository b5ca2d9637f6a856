using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>
/// A flattened dump, put in order while it is read: the file is a stream of writes, each with the offset at which it belongs. Only an index of the writes is held.
/// </summary>
/// <remarks>makedumpfile.h: a header of 4096 bytes ("makedumpfile", padded to 16 bytes; i64 type 1; i64 version 1), then records (i64 offset; i64 size; the bytes), then one of −1, −1; all
/// big-endian. Between the writes the ordered file has holes, which read as zeros; where the stream is cut off before its end record, what would be a hole may as well be lost, and is not
/// there.</remarks>
public sealed class FlattenedDump : IDumpBytes
{
    private const int HeaderSize = 4096, RecordHeader = 16;
    private readonly IDumpBytes _file;
    private readonly Record[] _records;
    private readonly bool _whole;

    private FlattenedDump(IDumpBytes file, Record[] records, bool whole, IReadOnlyList<string> missing)
    {
        _file = file;
        _records = records;
        _whole = whole;
        Missing = missing;
        Length = records.Length == 0 ? 0 : records[^1].End;
    }

    /// <summary>One write: [Offset, Offset + Length) of the ordered file is at Position of the flattened one.</summary>
    private readonly record struct Record(long Offset, long Length, long Position)
    {
        public long End => Offset + Length;
    }

    /// <inheritdoc/>
    public long Length { get; }

    /// <summary>What the stream lacks, in sentences.</summary>
    public IReadOnlyList<string> Missing { get; }

    /// <summary>Reads the headers of all records: one small read each.</summary>
    /// <returns>False where it is no flattened dump, or has more records than the limit.</returns>
    public static bool TryOpen(IDumpBytes file, FormatLimits limits, out FlattenedDump dump, out string whyNot)
    {
        dump = null!;
        Span<byte> header = stackalloc byte[32];
        if (!file.TryReadExactly(0, header) || !header.StartsWith("makedumpfile\0\0\0\0"u8))
        {
            whyNot = "it has no header of a flattened dump";
            return false;
        }

        if (BinaryPrimitives.ReadInt64BigEndian(header[16..]) != 1 || BinaryPrimitives.ReadInt64BigEndian(header[24..]) != 1)
        {
            whyNot = "it is a flattened dump of an unknown type or version";
            return false;
        }

        var records = new List<Record>();
        List<string> missing = [];
        bool whole = false;
        long at = HeaderSize;
        while (file.TryReadExactly((ulong)at, header[..RecordHeader]))
        {
            long offset = BinaryPrimitives.ReadInt64BigEndian(header), size = BinaryPrimitives.ReadInt64BigEndian(header[8..]);
            if (offset == -1 && size == -1)
            {
                whole = true;
                break;
            }

            at += RecordHeader;
            if (offset < 0 || size < 0 || size > long.MaxValue - offset)
            {
                missing.Add($"the flattened dump is damaged at offset {at - RecordHeader}: everything behind it is lost");
                break;
            }

            if (records.Count == limits.MaxFlattenedRecords)
            {
                whyNot = $"it has more than {limits.MaxFlattenedRecords} records; put it in order with 'makedumpfile -R' first";
                return false;
            }

            long there = Math.Min(size, file.Length - at);
            if (there > 0)
                Append(records, new Record(offset, there, at));
            if (there < size)
            {
                // The last record is cut off.
                break;
            }

            at += size;
        }

        if (!whole && missing.Count == 0)
            missing.Add("the flattened dump is truncated: it has no end mark, and memory at its end is missing");
        whyNot = "";
        dump = new FlattenedDump(file, Order(records), whole, missing);
        return true;
    }

    /// <inheritdoc/>
    public int Read(long offset, Span<byte> destination)
    {
        if (offset < 0 || offset >= Length)
            return 0;
        int done = 0, next = LastAtOrBefore(offset);
        if (next < 0 || _records[next].End <= offset)
            next++;
        while (done < destination.Length && next < _records.Length)
        {
            long at = offset + done;
            Record record = _records[next];
            if (at < record.Offset)
            {
                if (!_whole)
                    break;
                int hole = (int)Math.Min(destination.Length - done, record.Offset - at);
                destination.Slice(done, hole).Clear();
                done += hole;
                continue;
            }

            int take = (int)Math.Min(destination.Length - done, record.End - at);
            int got = _file.Read(record.Position + (at - record.Offset), destination.Slice(done, take));
            done += got;
            if (got < take)
                break;
            next++;
        }

        return done;
    }

    private static void Append(List<Record> records, Record record)
    {
        // Most writers go on where they left off; what lies in one piece on both sides is one record.
        if (records.Count > 0 && records[^1] is var last && last.End == record.Offset && last.Position + last.Length == record.Position)
            records[^1] = last with { Length = last.Length + record.Length };
        else
            records.Add(record);
    }

    /// <summary>Ascending and disjoint; where two writes overlap, the later one counts, as in a file.</summary>
    private static Record[] Order(List<Record> written)
    {
        int[] order = [.. Enumerable.Range(0, written.Count)];
        Array.Sort(order, (a, b) => written[a].Offset.CompareTo(written[b].Offset) is var c && c != 0 ? c : a.CompareTo(b));
        bool overlap = false;
        for (int i = 1; i < order.Length && !overlap; i++)
            overlap = written[order[i - 1]].End > written[order[i]].Offset;
        return overlap ? Resolve(written, order) : [.. order.Select(i => written[i])];
    }

    private static Record[] Resolve(List<Record> written, int[] order)
    {
        var result = new List<Record>(written.Count);

        // From one edge to the next, the latest write that covers the place; each write enters and leaves the queue once.
        long[] edges = [.. written.Select(r => r.Offset).Concat(written.Select(r => r.End)).Distinct().Order()];
        var active = new PriorityQueue<int, int>();
        int next = 0;
        for (int e = 0; e + 1 < edges.Length; e++)
        {
            for (; next < order.Length && written[order[next]].Offset <= edges[e]; next++)
                active.Enqueue(order[next], -order[next]);
            while (active.TryPeek(out int latest, out _) && written[latest].End <= edges[e])
                active.Dequeue();
            if (active.TryPeek(out int top, out _))
                Append(result, new Record(edges[e], edges[e + 1] - edges[e], written[top].Position + (edges[e] - written[top].Offset)));
        }

        return [.. result];
    }

    private int LastAtOrBefore(long offset)
    {
        int low = 0, high = _records.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_records[middle].Offset <= offset)
                low = middle + 1;
            else
                high = middle;
        }

        return low - 1;
    }
}
