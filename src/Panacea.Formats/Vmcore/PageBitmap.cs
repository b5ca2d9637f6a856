using System.Numerics;
using System.Runtime.InteropServices;

namespace Panacea.Formats.Vmcore;

/// <summary>A bitmap of pages in a dump, read where it is asked for: one bit a page frame, low bits first. Holds a few chunks and the number of set bits before each.</summary>
/// <remarks>Not safe for concurrent use.</remarks>
internal sealed class PageBitmap(IDumpBytes file, FileRange where, long pages)
{
    private const int ChunkBytes = 4096, ChunkPages = ChunkBytes * 8, CachedChunks = 32;
    private readonly byte[]?[] _chunks = new byte[]?[CachedChunks];
    private readonly long[] _chunkOf = [.. Enumerable.Repeat(-1L, CachedChunks)];
    private readonly List<long> _ranks = [0];

    /// <summary>Whether a page is set; null where the file lacks that part of the bitmap.</summary>
    public bool? Contains(long page)
    {
        if (page < 0 || page >= pages)
            return false;
        byte[]? chunk = Chunk(page / ChunkPages);
        int bit = (int)(page % ChunkPages);
        return chunk is null ? null : (chunk[bit / 8] >> (bit % 8) & 1) != 0;
    }

    /// <summary>The number of set pages below one; false where the file lacks a part of the bitmap before it.</summary>
    public bool TryRank(long page, out long rank)
    {
        rank = 0;
        page = Math.Clamp(page, 0, pages);
        long index = page / ChunkPages;
        while (_ranks.Count <= index)
        {
            if (Chunk(_ranks.Count - 1) is not { } full)
                return false;
            _ranks.Add(_ranks[^1] + Count(full, ChunkPages));
        }

        rank = _ranks[(int)index];
        int left = (int)(page % ChunkPages);
        if (left == 0)
            return true;
        if (Chunk(index) is not { } chunk)
            return false;
        rank += Count(chunk, left);
        return true;
    }

    /// <summary>Runs of set pages as ranges of memory, ascending, up to the limit or to where the file lacks the bitmap.</summary>
    /// <returns>False where they are not all of them.</returns>
    public bool TryRanges(int max, out List<DumpRange> ranges)
    {
        ranges = [];
        long start = -1;
        for (long index = 0; index * ChunkPages < pages; index++)
        {
            if (Chunk(index) is not { } chunk)
                return Close(ranges, ref start, index * ChunkPages, max) && false;
            int last = (int)Math.Min(ChunkPages, pages - (index * ChunkPages));
            for (int bit = 0; bit < last;)
            {
                int word = bit / 64 * 8;
                ulong bits = BitConverter.ToUInt64(chunk, word) >> (bit % 64);

                // A whole word of what we are in is passed at once.
                if (bit % 64 == 0 && last - bit >= 64 && (start >= 0 ? bits == ulong.MaxValue : bits == 0))
                {
                    bit += 64;
                    continue;
                }

                bool set = (bits & 1) != 0;
                if (set && start < 0)
                    start = (index * ChunkPages) + bit;
                else if (!set && start >= 0 && !Close(ranges, ref start, (index * ChunkPages) + bit, max))
                    return false;
                bit++;
            }
        }

        return Close(ranges, ref start, pages, max);
    }

    private static bool Close(List<DumpRange> ranges, ref long start, long end, int max)
    {
        if (start < 0)
            return true;
        if (ranges.Count == max)
            return false;
        ranges.Add(new DumpRange((ulong)start * KdumpHeader.PageSize, (ulong)(end - start) * KdumpHeader.PageSize));
        start = -1;
        return true;
    }

    private static long Count(byte[] chunk, int bits)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(chunk);
        long count = 0;
        for (int i = 0; i < bits / 64; i++)
            count += BitOperations.PopCount(words[i]);
        return bits % 64 == 0 ? count : count + BitOperations.PopCount(words[bits / 64] & ((1UL << (bits % 64)) - 1));
    }

    private byte[]? Chunk(long index)
    {
        int slot = (int)(index % CachedChunks);
        if (_chunkOf[slot] == index)
            return _chunks[slot];
        byte[] chunk = _chunks[slot] ??= new byte[ChunkBytes];
        _chunkOf[slot] = -1;

        // The last one may be shorter; behind the bitmap there are no pages.
        ulong at = (ulong)index * ChunkBytes;
        int length = (int)Math.Min(ChunkBytes, where.Length - at);
        chunk.AsSpan(length).Clear();
        if (!file.TryReadExactly(where.Offset + at, chunk.AsSpan(0, length)))
            return null;
        _chunkOf[slot] = index;
        return chunk;
    }
}
