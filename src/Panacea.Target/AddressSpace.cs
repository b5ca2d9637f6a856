using System.Buffers.Binary;
using System.Text;
using Panacea.Target.Paging;

namespace Panacea.Target;

/// <summary>One guest-virtual address space: a page-table root over guest-physical memory. Immutable; holds no cache, so it is as live as its memory.</summary>
/// <param name="memory">Guest-physical memory.</param>
/// <param name="root">Guest-physical address of the top page table.</param>
/// <param name="mode">Paging depth.</param>
/// <param name="encryptionMask">The guest's memory-encryption bit, zero where there is none.</param>
public sealed class AddressSpace(IGuestMemory memory, PhysicalAddress root, PagingMode mode, ulong encryptionMask = 0)
{
    /// <summary>Guest-physical memory.</summary>
    public IGuestMemory Memory { get; } = memory;

    /// <summary>Guest-physical address of the top page table.</summary>
    public PhysicalAddress Root { get; } = root;

    /// <summary>Paging depth.</summary>
    public PagingMode Mode { get; } = mode;

    /// <summary>The guest's memory-encryption bit, zero where there is none.</summary>
    public ulong EncryptionMask { get; } = encryptionMask;

    /// <summary>The same tables over other memory (a capture, a clone).</summary>
    public AddressSpace Over(IGuestMemory other) => new(other, Root, Mode, EncryptionMask);

    /// <summary>Translates one address.</summary>
    public bool TryTranslate(VirtualAddress address, out Translation translation, out MemoryFault fault) =>
        PageTableWalker.TryTranslate(Memory, Root, Mode, EncryptionMask, address, out translation, out fault);

    /// <summary>Reads exactly <paramref name="destination"/>.Length bytes across as many pages as it takes.</summary>
    /// <returns>True when every byte was read; else <paramref name="fault"/> names the first address that failed.</returns>
    public bool TryRead(VirtualAddress address, Span<byte> destination, out MemoryFault fault)
    {
        fault = default;
        ulong at = address.Value;
        while (!destination.IsEmpty)
        {
            if (!TryTranslate(new VirtualAddress(at), out Translation t, out fault))
                return false;
            ulong left = t.PageSize - (at & (t.PageSize - 1));
            int take = (int)Math.Min(left, (ulong)destination.Length);
            if (!Memory.TryRead(t.Physical, destination[..take], out fault))
                return false;
            destination = destination[take..];
            at = unchecked(at + (ulong)take);
        }

        return true;
    }

    /// <summary>Reads, or throws <see cref="GuestMemoryException"/> with the address that failed and <paramref name="what"/> was being read.</summary>
    public void Read(VirtualAddress address, Span<byte> destination, string what)
    {
        if (!TryRead(address, destination, out MemoryFault fault))
            throw new GuestMemoryException(fault, what);
    }

    /// <summary>Reads a little-endian 64-bit value.</summary>
    public bool TryReadUInt64(VirtualAddress address, out ulong value, out MemoryFault fault)
    {
        Span<byte> raw = stackalloc byte[8];
        bool ok = TryRead(address, raw, out fault);
        value = ok ? BinaryPrimitives.ReadUInt64LittleEndian(raw) : 0;
        return ok;
    }

    /// <summary>Reads a little-endian 32-bit value.</summary>
    public bool TryReadUInt32(VirtualAddress address, out uint value, out MemoryFault fault)
    {
        Span<byte> raw = stackalloc byte[4];
        bool ok = TryRead(address, raw, out fault);
        value = ok ? BinaryPrimitives.ReadUInt32LittleEndian(raw) : 0;
        return ok;
    }

    /// <summary>Reads a little-endian 64-bit value or throws <see cref="GuestMemoryException"/>.</summary>
    public ulong ReadUInt64(VirtualAddress address, string what) =>
        TryReadUInt64(address, out ulong value, out MemoryFault fault) ? value : throw new GuestMemoryException(fault, what);

    /// <summary>Reads a little-endian 32-bit value or throws <see cref="GuestMemoryException"/>.</summary>
    public uint ReadUInt32(VirtualAddress address, string what) =>
        TryReadUInt32(address, out uint value, out MemoryFault fault) ? value : throw new GuestMemoryException(fault, what);

    /// <summary>Reads a NUL-terminated string of at most <paramref name="maxBytes"/> bytes; one that has no NUL by then is cut there.
    /// Bytes that are not UTF-8 become U+FFFD.</summary>
    public bool TryReadString(VirtualAddress address, int maxBytes, out string value, out MemoryFault fault)
    {
        value = "";
        byte[] buffer = new byte[Math.Min(maxBytes, 256)];
        var collected = new List<byte>();
        ulong at = address.Value;
        while (collected.Count < maxBytes)
        {
            // Up to the end of the page at most: the next one may not be mapped, and the string need not reach it.
            int take = (int)Math.Min((ulong)Math.Min(buffer.Length, maxBytes - collected.Count), 4096 - (at & 4095));
            Span<byte> chunk = buffer.AsSpan(0, take);
            if (!TryRead(new VirtualAddress(at), chunk, out fault))
                return false;
            int nul = chunk.IndexOf((byte)0);
            collected.AddRange(nul >= 0 ? chunk[..nul] : chunk);
            if (nul >= 0)
                break;
            at = unchecked(at + (ulong)take);
        }

        fault = default;
        value = Encoding.UTF8.GetString([.. collected]);
        return true;
    }
}
