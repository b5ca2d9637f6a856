using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Panacea.Formats;

/// <summary>
/// A hash index from names to 32-bit ids in one blob, so that it can be stored and mapped again:
/// <c>u32 bucketCount (a power of two), u32 entryCount, u32 start[bucketCount + 1], u32 id[entryCount]</c>, little-endian.
/// Ids of one bucket keep the order in which they were given. It holds no names: the owner compares them.
/// </summary>
internal readonly struct NameIndex
{
    private const int HeaderBytes = 8;
    private readonly ReadOnlyMemory<byte> _blob;
    private readonly int _buckets;
    private readonly int _entries;

    private NameIndex(ReadOnlyMemory<byte> blob, int buckets, int entries) => (_blob, _buckets, _entries) = (blob, buckets, entries);

    /// <summary>The stored form.</summary>
    public ReadOnlyMemory<byte> Blob => _blob;

    /// <summary>FNV-1a with a final mix. Part of the stored format: never changed without a new format version.</summary>
    public static uint Hash(ReadOnlySpan<byte> name)
    {
        unchecked
        {
            uint hash = 2166136261;
            foreach (byte b in name)
                hash = (hash ^ b) * 16777619;
            hash ^= hash >> 15;
            hash *= 0x2c1b3c6d;
            return hash ^ (hash >> 13);
        }
    }

    /// <summary>Builds an index of <paramref name="ids"/>, whose names have <paramref name="hashes"/>.</summary>
    public static NameIndex Build(ReadOnlySpan<uint> hashes, ReadOnlySpan<uint> ids)
    {
        int buckets = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, ids.Length / 2));
        uint mask = (uint)buckets - 1;
        uint[] start = new uint[buckets + 1];
        foreach (uint hash in hashes)
            start[(int)(hash & mask) + 1]++;
        for (int i = 1; i <= buckets; i++)
            start[i] += start[i - 1];

        byte[] blob = new byte[HeaderBytes + 4 * (buckets + 1) + 4 * ids.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(blob, (uint)buckets);
        BinaryPrimitives.WriteUInt32LittleEndian(blob.AsSpan(4), (uint)ids.Length);

        // Its hosts are little-endian, as the stored form is.
        Span<uint> at = MemoryMarshal.Cast<byte, uint>(blob.AsSpan(HeaderBytes));
        start.CopyTo(at);
        at = at[start.Length..];
        for (int i = 0; i < ids.Length; i++)
            at[(int)start[(int)(hashes[i] & mask)]++] = ids[i];

        return new NameIndex(blob, buckets, ids.Length);
    }

    /// <summary>Takes a stored index; checks lengths only, in constant time.</summary>
    public static bool TryOpen(ReadOnlyMemory<byte> blob, out NameIndex index)
    {
        index = default;
        if (blob.Length < HeaderBytes)
            return false;
        uint buckets = BinaryPrimitives.ReadUInt32LittleEndian(blob.Span);
        uint entries = BinaryPrimitives.ReadUInt32LittleEndian(blob.Span[4..]);
        if (!BitOperations.IsPow2(buckets) || blob.Length != HeaderBytes + 4 * ((long)buckets + 1) + 4 * (long)entries)
            return false;
        index = new NameIndex(blob, (int)buckets, (int)entries);
        return true;
    }

    /// <summary>The ids whose names fall into the bucket of <paramref name="hash"/>, as raw little-endian u32s: candidates to compare.</summary>
    /// <exception cref="InvalidDataException">The stored index is damaged.</exception>
    public ReadOnlyMemory<byte> Candidates(uint hash)
    {
        if (_entries == 0)
            return default;
        int bucket = (int)(hash & ((uint)_buckets - 1));
        ReadOnlySpan<byte> starts = _blob.Span.Slice(HeaderBytes + 4 * bucket, 8);
        uint from = BinaryPrimitives.ReadUInt32LittleEndian(starts);
        uint to = BinaryPrimitives.ReadUInt32LittleEndian(starts[4..]);
        if (from > to || to > (uint)_entries)
            throw new InvalidDataException("a name index is damaged: a bucket lies outside it");
        return _blob.Slice(HeaderBytes + 4 * (_buckets + 1) + 4 * (int)from, 4 * (int)(to - from));
    }
}
