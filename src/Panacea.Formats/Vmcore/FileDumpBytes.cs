using Microsoft.Win32.SafeHandles;

namespace Panacea.Formats.Vmcore;

/// <summary>A file on disk. Read by position, never mapped: a file that shrinks under its reader would kill it. A kernel with debug information has hundreds of megabytes, a dump more, of
/// which a report needs few.</summary>
public sealed class FileDumpBytes : IDumpBytes, IDisposable
{
    private readonly SafeFileHandle _handle;

    /// <summary>Opens it.</summary>
    /// <exception cref="IOException">It can't be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public FileDumpBytes(string path)
    {
        _handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.RandomAccess);
        try
        {
            Length = RandomAccess.GetLength(_handle);
        }
        catch (NotSupportedException)
        {
            _handle.Dispose();
            throw new IOException("it is no file");
        }
    }

    /// <inheritdoc/>
    public long Length { get; private set; }

    /// <summary>A file without a name that is gone when it is disposed of, for what is too large to be held in memory.</summary>
    /// <param name="write">Writes what it holds.</param>
    /// <exception cref="IOException">The disk is full.</exception>
    internal static FileDumpBytes Temporary(Action<Stream> write)
    {
        string path = Path.Combine(Path.GetTempPath(), $"panacea-{Guid.NewGuid():n}");
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite | FileShare.Delete, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite };
        FileDumpBytes bytes;
        using (var stream = new FileStream(path, options))
        {
            try
            {
                bytes = new FileDumpBytes(path);
            }
            finally
            {
                File.Delete(path);
            }

            try
            {
                write(stream);
                stream.Flush();
            }
            catch
            {
                bytes.Dispose();
                throw;
            }
        }

        bytes.Length = RandomAccess.GetLength(bytes._handle);
        return bytes;
    }

    /// <inheritdoc/>
    public int Read(long offset, Span<byte> destination)
    {
        if (offset < 0 || offset >= Length)
            return 0;
        int done = 0;
        while (done < destination.Length)
        {
            int got;
            try
            {
                got = RandomAccess.Read(_handle, destination[done..], offset + done);
            }
            catch (IOException)
            {
                // A disk error, or a file system that went away: what it held can't be had.
                break;
            }

            if (got == 0)
                break;
            done += got;
        }

        return done;
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}
