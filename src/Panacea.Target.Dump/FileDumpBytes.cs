using Microsoft.Win32.SafeHandles;
using Panacea.Formats.Vmcore;

namespace Panacea.Target.Dump;

/// <summary>A dump file on disk. Read by position, never mapped: a file that shrinks under a reader would kill it.</summary>
internal sealed class FileDumpBytes : IDumpBytes, IDisposable
{
    private readonly SafeFileHandle _handle;

    /// <exception cref="DumpException">It can't be opened, or is no file.</exception>
    public FileDumpBytes(string path)
    {
        try
        {
            _handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.RandomAccess);
            Length = RandomAccess.GetLength(_handle);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            _handle?.Dispose();
            throw new DumpException($"{path} can't be opened: {e.Message.TrimEnd('.')}");
        }
    }

    /// <inheritdoc/>
    public long Length { get; }

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
