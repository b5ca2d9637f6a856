using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Clone;

/// <summary>A standing VM's memory, copied into files without names, so that a copy of the VM may outlast the standstill. Holes stay holes.</summary>
public sealed class MemoryCopy : IDisposable
{
    private const int Chunk = 4 << 20;
    private const int ReadOnlyCloseOnExec = 0x80000;
    private const uint CloseOnExec = 1;

    private readonly Dictionary<string, SafeFileHandle> _files = new(StringComparer.Ordinal);

    private MemoryCopy()
    {
    }

    /// <summary>The files, each by the id of the backend that it is a copy of, as processes of this user can open them for as long as this object lives.</summary>
    public IReadOnlyDictionary<string, string> Paths => _files.ToDictionary(
        f => f.Key, f => string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/{(int)f.Value.DangerousGetHandle()}"), StringComparer.Ordinal);

    /// <summary>Bytes that were copied.</summary>
    public long Length { get; private set; }

    /// <summary>Bytes that a VM's memory takes on the host: what a copy would.</summary>
    /// <param name="recipe">The VM.</param>
    /// <exception cref="CloneException">A file can't be opened.</exception>
    public static long SizeOf(CloneRecipe recipe)
    {
        long sum = 0;
        foreach (string path in recipe.Memory.Values)
        {
            using SafeFileHandle file = Open(path);
            sum += Extents(file).Sum(e => e.Length);
        }

        return sum;
    }

    /// <summary>Copies it. The VM has to stand.</summary>
    /// <exception cref="CloneException">It can't be read, or there is no room for it.</exception>
    public static MemoryCopy Of(CloneRecipe recipe)
    {
        var copy = new MemoryCopy();
        try
        {
            byte[] chunk = new byte[Chunk];
            foreach ((string id, string path) in recipe.Memory)
                copy.Add(id, path, chunk);
            return copy;
        }
        catch (Exception e)
        {
            copy.Dispose();
            throw e is IOException and not TargetException ? new CloneException($"the VM's memory can't be copied: {e.Message}", e) : e;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafeFileHandle file in _files.Values)
            file.Dispose();
    }

    private void Add(string id, string path, byte[] chunk)
    {
        using SafeFileHandle from = Open(path);
        var to = new SafeFileHandle(Libc.MemoryFile("panacea-memory", CloseOnExec), ownsHandle: true);
        if (to.IsInvalid)
            throw new CloneException($"no memory for a copy of the VM: {Libc.LastError}");
        _files.Add(id, to);
        RandomAccess.SetLength(to, RandomAccess.GetLength(from));
        foreach ((long start, long length) in Extents(from))
        {
            for (long at = start; at < start + length;)
            {
                int read = RandomAccess.Read(from, chunk.AsSpan(0, (int)Math.Min(Chunk, start + length - at)), at);
                if (read <= 0)
                    throw new CloneException("the VM's memory ends before its end");
                RandomAccess.Write(to, chunk.AsSpan(0, read), at);
                at += read;
                Length += read;
            }
        }
    }

    private static SafeFileHandle Open(string path)
    {
        var file = new SafeFileHandle(Libc.Open(path, ReadOnlyCloseOnExec, 0), ownsHandle: true);
        return file.IsInvalid ? throw new CloneException($"the VM's memory can't be opened: {Libc.LastError}") : file;
    }

    private static List<(long Start, long Length)> Extents(SafeFileHandle file)
    {
        int fd = (int)file.DangerousGetHandle();
        var extents = new List<(long, long)>();
        long end = RandomAccess.GetLength(file);
        for (long at = 0; at < end;)
        {
            long data = Libc.LSeek(fd, at, Libc.SeekData);
            if (data < 0 && Marshal.GetLastPInvokeError() == Libc.Enxio)
                break;

            // A file system that can't tell: all of it may be data.
            if (data < 0)
                data = at;
            long hole = Libc.LSeek(fd, data, Libc.SeekHole);
            if (hole <= data || hole > end)
                hole = end;
            extents.Add((data, hole - data));
            at = hole;
        }

        return extents;
    }
}
