using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.HostMemory;

/// <summary>Guest RAM that QEMU itself maps shared (a memfd or a file): mapped into this process too, so that reading is a copy and no system call.</summary>
public sealed unsafe class SharedMapping : RegionBacking
{
    /// <summary>Reads from this size on go through the file, not through the mapping.</summary>
    private const int BulkBytes = 256 << 10;

    private readonly SafeFileHandle _file;
    private readonly long _fileOffset;
    private nint _base;

    private SharedMapping(PhysicalRange range, bool isReadOnly, SafeFileHandle file, long fileOffset, nint mapped)
        : base(range, isReadOnly)
    {
        _file = file;
        _fileOffset = fileOffset;
        _base = mapped;
    }

    /// <inheritdoc/>
    public override bool IsShared => true;

    /// <summary>Maps the file behind a shared mapping of QEMU, or returns null where that cannot be done (the caller falls back).</summary>
    /// <param name="pid">QEMU.</param>
    /// <param name="hostAddress">QEMU's virtual address of the run.</param>
    /// <param name="flat">The run.</param>
    /// <param name="mapping">The line of QEMU's maps that holds all of it.</param>
    public static SharedMapping? TryOpen(int pid, ulong hostAddress, FlatRange flat, ProcessMapping mapping)
    {
        ulong length = flat.Range.Length;
        if (!mapping.IsShared || mapping.Inode == 0 || hostAddress < mapping.Start || hostAddress > mapping.End || length > mapping.End - hostAddress
            || length > long.MaxValue || mapping.FileOffset > long.MaxValue / 2)
            return null;
        long fileOffset = (long)(mapping.FileOffset + (hostAddress - mapping.Start));
        if (fileOffset % Environment.SystemPageSize != 0)
            return null;
        SafeFileHandle? file = OpenBehind(pid, mapping);
        if (file == null)
            return null;
        if (RandomAccess.GetLength(file) < fileOffset + (long)length)
        {
            // Beyond the file's end a mapping kills its reader (SIGBUS).
            file.Dispose();
            return null;
        }

        int protection = flat.IsReadOnly ? Libc.ProtRead : Libc.ProtRead | Libc.ProtWrite;

        // SAFETY: a new mapping at an address of the kernel's choice; its length is kept in Range and unmapped once.
        nint mapped = Libc.MMap(0, (nuint)length, protection, Libc.MapShared, (int)file.DangerousGetHandle(), fileOffset);
        if (mapped == Libc.MapFailed)
        {
            file.Dispose();
            return null;
        }

        return new SharedMapping(flat.Range, flat.IsReadOnly, file, fileOffset, mapped);
    }

    internal override bool TryRead(ulong offset, Span<byte> destination, out MemoryFaultKind why)
    {
        why = MemoryFaultKind.Gone;
        if (_base == 0)
            return false;

        // A bulk read through the mapping would make every page of it resident here, and populate holes of a sparse backing.
        if (destination.Length >= BulkBytes)
            return TryReadFile(offset, destination);

        // SAFETY: offset + length lie inside Range (checked by the caller), Range.Length bytes are mapped at _base, and the file is that long.
        new ReadOnlySpan<byte>((byte*)_base + offset, destination.Length).CopyTo(destination);
        return true;
    }

    internal override bool TryWrite(ulong offset, ReadOnlySpan<byte> bytes, out MemoryFaultKind why)
    {
        why = MemoryFaultKind.Gone;
        if (_base == 0)
            return false;

        // SAFETY: as in TryRead; the mapping is writable because only runs that are not read-only get here.
        bytes.CopyTo(new Span<byte>((byte*)_base + offset, bytes.Length));
        return true;
    }

    internal override void AddPopulated(List<PhysicalRange> extents)
    {
        int fd = (int)_file.DangerousGetHandle();
        long end = _fileOffset + (long)Range.Length, at = _fileOffset;
        while (at < end)
        {
            long data = Libc.LSeek(fd, at, Libc.SeekData);
            if (data < 0 && Marshal.GetLastPInvokeError() == Libc.Enxio)
                return; // Only a hole is left.
            if (data < 0)
                data = at; // A filesystem that cannot tell: all of it may be data.
            if (data >= end)
                return;
            long hole = Libc.LSeek(fd, data, Libc.SeekHole);
            if (hole <= data || hole > end)
                hole = end;
            Append(extents, (ulong)(data - _fileOffset), (ulong)(hole - data));
            at = hole;
        }
    }

    private bool TryReadFile(ulong offset, Span<byte> destination)
    {
        try
        {
            while (!destination.IsEmpty)
            {
                int read = RandomAccess.Read(_file, destination, _fileOffset + (long)offset);
                if (read <= 0)
                    return false;
                offset += (ulong)read;
                destination = destination[read..];
            }

            return true;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        nint mapped = Interlocked.Exchange(ref _base, 0);
        if (mapped != 0)
            _ = Libc.MUnmap(mapped, (nuint)Range.Length);
        _file.Dispose();
    }

    /// <summary>Opens the very file of a mapping: by the mapping itself (needs privilege), by one of QEMU's descriptors, or by path.</summary>
    private static SafeFileHandle? OpenBehind(int pid, ProcessMapping mapping)
    {
        if (TryOpenSame($"/proc/{pid}/map_files/{mapping.Start:x}-{mapping.End:x}", mapping) is { } direct)
            return direct;
        try
        {
            foreach (string link in Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd"))
            {
                if (TryOpenSame(link, mapping) is { } viaDescriptor)
                    return viaDescriptor;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not ours to look at: the path is left.
        }

        return mapping.Path.StartsWith('/') ? TryOpenSame($"/proc/{pid}/root{mapping.Path}", mapping) : null;
    }

    private static SafeFileHandle? TryOpenSame(string path, ProcessMapping mapping)
    {
        // Compared before opening: opening some other file (a tty, a device) might have effects.
        if (!Libc.TryStat(path, followLinks: true, out Libc.FileIdentity identity)
            || identity.Inode != mapping.Inode || identity.DeviceMajor != mapping.DeviceMajor || identity.DeviceMinor != mapping.DeviceMinor)
            return null;
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
