using System.Runtime.InteropServices;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.HostMemory;

/// <summary>Guest RAM that is QEMU's private memory: read and written with <c>process_vm_readv</c> and <c>process_vm_writev</c>.</summary>
/// <remarks>Also the fallback for a shared file that cannot be opened here; its holes then cannot be told from data.</remarks>
/// <param name="pid">QEMU.</param>
/// <param name="hostAddress">QEMU's virtual address of the run.</param>
/// <param name="flat">The run.</param>
/// <param name="isAnonymous">The memory has no file behind it: what was never touched is zero.</param>
public sealed unsafe class ProcessVmMemory(int pid, ulong hostAddress, FlatRange flat, bool isAnonymous) : RegionBacking(flat.Range, flat.IsReadOnly)
{
    /// <inheritdoc/>
    public override bool IsShared => false;

    internal override bool TryRead(ulong offset, Span<byte> destination, out MemoryFaultKind why)
    {
        fixed (byte* p = destination)
            return Transfer(offset, p, destination.Length, write: false, out why);
    }

    internal override bool TryWrite(ulong offset, ReadOnlySpan<byte> bytes, out MemoryFaultKind why)
    {
        fixed (byte* p = bytes)
            return Transfer(offset, p, bytes.Length, write: true, out why);
    }

    /// <remarks>Untouched anonymous memory is found in <c>/proc/PID/pagemap</c> (present bit 63, swapped bit 62;
    /// Documentation/admin-guide/mm/pagemap.rst). Where that cannot be read, all of the run counts as populated.</remarks>
    internal override void AddPopulated(List<PhysicalRange> extents)
    {
        const int entriesPerRead = 16384;
        const ulong used = 3UL << 62;
        ulong page = (ulong)Environment.SystemPageSize;
        ulong pages = Range.Length / page;
        if (!isAnonymous || hostAddress % page != 0 || Range.Length % page != 0)
        {
            Append(extents, 0, Range.Length);
            return;
        }

        ulong done = 0;
        try
        {
            using FileStream pagemap = new($"/proc/{pid}/pagemap", FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            pagemap.Seek((long)(hostAddress / page * 8), SeekOrigin.Begin);
            byte[] raw = new byte[entriesPerRead * 8];
            while (done < pages)
            {
                int take = (int)Math.Min(entriesPerRead, pages - done);
                pagemap.ReadExactly(raw, 0, take * 8);
                ReadOnlySpan<ulong> entries = MemoryMarshal.Cast<byte, ulong>(raw.AsSpan(0, take * 8));
                for (int i = 0; i < take; i++)
                {
                    if ((entries[i] & used) != 0)
                        Append(extents, (done + (ulong)i) * page, page);
                }

                done += (ulong)take;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (done < pages)
                Append(extents, done * page, (pages - done) * page);
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
    }

    private bool Transfer(ulong offset, byte* buffer, int length, bool write, out MemoryFaultKind why)
    {
        why = default;
        ulong remote = hostAddress + offset;
        while (length > 0)
        {
            var here = new Libc.IoVec { Base = (nint)buffer, Length = (nuint)length };
            var there = new Libc.IoVec { Base = unchecked((nint)remote), Length = (nuint)length };

            // SAFETY: buffer is pinned by the caller and length long; the kernel checks the remote side and copies nothing it may not.
            nint moved = write
                ? Libc.ProcessVmWrite(pid, &here, 1, &there, 1, 0)
                : Libc.ProcessVmRead(pid, &here, 1, &there, 1, 0);
            if (moved <= 0)
            {
                int error = Marshal.GetLastPInvokeError();
                if (moved < 0 && error == Libc.Eintr)
                    continue;
                why = moved < 0 && error == Libc.Esrch ? MemoryFaultKind.Gone : MemoryFaultKind.NotBacked;
                return false;
            }

            buffer += moved;
            remote += (ulong)moved;
            length -= (int)moved;
        }

        return true;
    }
}
