namespace Panacea.Sessions.Dumping;

/// <summary>Where a dump is written to: bytes at offsets; what is never written is zero.</summary>
public interface IDumpOutput
{
    /// <summary>Makes sure that there is room.</summary>
    /// <param name="bytes">Bytes that the dump takes at most.</param>
    /// <exception cref="IOException">There is not.</exception>
    void Require(long bytes);

    /// <summary>Writes.</summary>
    /// <exception cref="IOException">It can't be written.</exception>
    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Sets the size: what was not written up to there is a hole.</summary>
    /// <exception cref="IOException">It can't be set.</exception>
    void SetLength(long bytes);
}

/// <summary>A place for a dump that keeps it when it is whole, and else nothing of it.</summary>
public interface IDumpStore : IDumpOutput, IDisposable
{
    /// <summary>Puts the dump in its place. To be called when the guest goes on: it takes as long as the disk takes.</summary>
    /// <exception cref="IOException">It can't be put there.</exception>
    void Complete();
}

/// <summary>A dump's file: written beside its place under a name of its own, moved there when it is whole, removed where it does not become so. Only its owner may read it: it holds the
/// memory of a machine.</summary>
public sealed class DumpFile : IDumpStore
{
    /// <summary>What is left free on the file system for everybody else: a host whose disk is full stops other guests too.</summary>
    private const long Spare = 64 << 20;

    private readonly FileStream _file;
    private readonly string _partial;
    private readonly bool _overwrite;
    private bool _isWhole;

    private DumpFile(string path, string partial, bool overwrite, FileStream file) => (Path, _partial, _overwrite, _file) = (path, partial, overwrite, file);

    /// <summary>Where it will be, full path.</summary>
    public string Path { get; }

    /// <summary>Begins a file.</summary>
    /// <param name="path">Where it is to be in the end.</param>
    /// <param name="overwrite">A file that is there already is replaced, when the new one is whole.</param>
    /// <exception cref="IOException">There is something already, or it can't be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be made.</exception>
    public static DumpFile Create(string path, bool overwrite)
    {
        string full = System.IO.Path.GetFullPath(path), directory = System.IO.Path.GetDirectoryName(full) ?? "/";
        if (Directory.Exists(full))
            throw new IOException($"{full} is a directory; name the file that the dump is to be");
        if (!Directory.Exists(directory))
            throw new IOException($"there is no directory {directory}; make it first");
        if (File.Exists(full))
        {
            // A device or a link would be replaced, not written to.
            if ((File.GetAttributes(full) & FileAttributes.ReparsePoint) != 0 || full.StartsWith("/dev/", StringComparison.Ordinal) || full.StartsWith("/proc/", StringComparison.Ordinal))
                throw new IOException($"{full} is no ordinary file; name another one");
            if (!overwrite)
                throw new IOException($"{full} exists already; name another file, or use --force to replace it");
        }

        string partial = System.IO.Path.Combine(directory, $".{System.IO.Path.GetFileName(full)}.{Guid.NewGuid().ToString("n")[..8]}.partial");
        var made = new FileStream(partial, new FileStreamOptions
        {
            Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.None, BufferSize = 0, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        return new DumpFile(full, partial, overwrite, made);
    }

    /// <inheritdoc/>
    public void Require(long bytes)
    {
        long free = new DriveInfo(System.IO.Path.GetDirectoryName(_partial) ?? "/").AvailableFreeSpace;
        if (free - Spare < bytes)
            throw new IOException($"{Megabytes(Math.Max(0, free))} are free in {System.IO.Path.GetDirectoryName(Path)}, and the dump takes up to {Megabytes(bytes)}; make room, or leave more out of it");
    }

    /// <inheritdoc/>
    public void Write(long offset, ReadOnlySpan<byte> bytes) => RandomAccess.Write(_file.SafeFileHandle, bytes, offset);

    /// <inheritdoc/>
    public void SetLength(long bytes) => RandomAccess.SetLength(_file.SafeFileHandle, bytes);

    /// <inheritdoc/>
    /// <remarks>Writes out what the host holds back, and moves the file to its place.</remarks>
    public void Complete()
    {
        RandomAccess.FlushToDisk(_file.SafeFileHandle);
        _file.Dispose();
        File.Move(_partial, Path, _overwrite);
        _isWhole = true;
    }

    /// <summary>Removes a file that has not become whole.</summary>
    public void Dispose()
    {
        _file.Dispose();
        if (_isWhole)
            return;
        try
        {
            File.Delete(_partial);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is named as what it is; the failure before this one is the one to tell of.
        }
    }

    private static string Megabytes(long bytes) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{bytes / 1e6:0} MB");
}
