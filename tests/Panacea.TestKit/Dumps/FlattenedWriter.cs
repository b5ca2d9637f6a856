using System.Buffers.Binary;

namespace Panacea.TestKit.Dumps;

/// <summary>Flattens a file: the same bytes as a stream of writes.</summary>
public static class FlattenedWriter
{
    /// <summary>Writes of <paramref name="chunk"/> bytes each, in the file's order or shuffled; chunks of zeros are left as holes where asked for.</summary>
    public static byte[] Write(byte[] file, int chunk = 4096, int? shuffle = null, bool holes = false)
    {
        int[] offsets = [.. Enumerable.Range(0, (file.Length + chunk - 1) / chunk).Select(i => i * chunk)];
        if (shuffle is { } seed)
            new Random(seed).Shuffle(offsets);
        return Write(offsets.Where(o => !holes || o + chunk >= file.Length || file.AsSpan(o, chunk).ContainsAnyExcept((byte)0))
            .Select(o => ((long)o, file[o..Math.Min(o + chunk, file.Length)])));
    }

    /// <summary>Any writes.</summary>
    public static byte[] Write(IEnumerable<(long Offset, byte[] Bytes)> writes)
    {
        using var stream = new MemoryStream();
        byte[] header = new byte[4096];
        "makedumpfile"u8.CopyTo(header);
        BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(16), 1);
        BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(24), 1);
        stream.Write(header);
        byte[] record = new byte[16];
        foreach ((long offset, byte[] bytes) in writes)
        {
            BinaryPrimitives.WriteInt64BigEndian(record, offset);
            BinaryPrimitives.WriteInt64BigEndian(record.AsSpan(8), bytes.Length);
            stream.Write(record);
            stream.Write(bytes);
        }

        record.AsSpan().Fill(0xff);
        stream.Write(record);
        return stream.ToArray();
    }
}
