namespace Panacea.Formats.Vmcore;

/// <summary>The bytes of a dump file, in any order: a file, a part of memory, or a flattened file put in order while it is read.</summary>
/// <remarks>Implementations are safe for concurrent use.</remarks>
public interface IDumpBytes
{
    /// <summary>Bytes from the start to the end of the last one that is there.</summary>
    long Length { get; }

    /// <summary>Reads from <paramref name="offset"/> on, up to the end of the file or to the first byte that it lacks.</summary>
    /// <param name="offset">Any number; one outside the file reads nothing.</param>
    /// <param name="destination">Receives the bytes; what lies behind the result is unspecified.</param>
    /// <returns>Bytes read, 0 to <paramref name="destination"/>.Length.</returns>
    int Read(long offset, Span<byte> destination);
}

/// <summary>A dump that lies in memory.</summary>
public sealed class MemoryDumpBytes(ReadOnlyMemory<byte> bytes) : IDumpBytes
{
    /// <inheritdoc/>
    public long Length => bytes.Length;

    /// <inheritdoc/>
    public int Read(long offset, Span<byte> destination)
    {
        if (offset < 0 || offset >= bytes.Length)
            return 0;
        int take = Math.Min(destination.Length, bytes.Length - (int)offset);
        bytes.Span.Slice((int)offset, take).CopyTo(destination);
        return take;
    }
}

/// <summary>Shorthand for parsers.</summary>
internal static class DumpBytesExtensions
{
    /// <summary>Reads all of <paramref name="destination"/>, or says that it can't.</summary>
    public static bool TryReadExactly(this IDumpBytes bytes, ulong offset, Span<byte> destination) =>
        offset <= long.MaxValue && bytes.Read((long)offset, destination) == destination.Length;
}
