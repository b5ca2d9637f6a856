using Panacea.Target;

namespace Panacea.TestKit.Memory;

/// <summary>Guest-physical memory for tests: any ranges, of which only what is written takes room. Untouched RAM reads as zero, outside is a typed failure.</summary>
public sealed class SparsePhysicalMemory : IGuestMemory
{
    private const int PageSize = 4096;
    private readonly Dictionary<ulong, byte[]> _pages = [];
    private readonly HashSet<ulong> _lost = [];

    /// <summary>RAM in the given ranges, which must be ascending and disjoint.</summary>
    public SparsePhysicalMemory(params PhysicalRange[] ranges) => Ranges = ranges;

    /// <summary>RAM in [0, <paramref name="bytes"/>).</summary>
    public SparsePhysicalMemory(ulong bytes) : this(new PhysicalRange(new PhysicalAddress(0), bytes))
    {
    }

    /// <inheritdoc/>
    public IReadOnlyList<PhysicalRange> Ranges { get; }

    /// <summary>Reads so far: for tests of how often something reads.</summary>
    public int Reads { get; private set; }

    /// <summary>Makes the page that holds <paramref name="address"/> unreadable, as a page that a dump left out.</summary>
    public void Lose(ulong address) => _lost.Add(address / PageSize);

    /// <summary>Writes bytes; throws outside RAM.</summary>
    public void Write(ulong address, params ReadOnlySpan<byte> bytes)
    {
        for (int i = 0; i < bytes.Length;)
        {
            ulong at = address + (ulong)i;
            ulong room = RoomAt(at);
            if (room == 0)
                throw new ArgumentOutOfRangeException(nameof(address), $"no RAM at 0x{at:x}");
            int offset = (int)(at % PageSize);
            int take = (int)Math.Min((ulong)Math.Min(bytes.Length - i, PageSize - offset), room);
            if (!_pages.TryGetValue(at / PageSize, out byte[]? page))
                _pages.Add(at / PageSize, page = new byte[PageSize]);
            bytes.Slice(i, take).CopyTo(page.AsSpan(offset));
            i += take;
        }
    }

    /// <summary>Writes a little-endian 64-bit value.</summary>
    public void WriteUInt64(ulong address, ulong value) => Write(address, BitConverter.GetBytes(value));

    /// <summary>Reads a little-endian 64-bit value that must be there.</summary>
    public ulong ReadUInt64(ulong address)
    {
        Span<byte> raw = stackalloc byte[8];
        return TryRead(new PhysicalAddress(address), raw, out MemoryFault fault) ? BitConverter.ToUInt64(raw) : throw new GuestMemoryException(fault, "test memory");
    }

    /// <inheritdoc/>
    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        Reads++;
        for (int i = 0; i < destination.Length;)
        {
            ulong at = unchecked(address.Value + (ulong)i);
            bool lost = _lost.Contains(at / PageSize);
            ulong room = RoomAt(at);
            if (lost || room == 0)
            {
                fault = new MemoryFault(lost ? MemoryFaultKind.NotCaptured : MemoryFaultKind.NotBacked, at, IsPhysical: true);
                return false;
            }

            int offset = (int)(at % PageSize);
            int take = (int)Math.Min((ulong)Math.Min(destination.Length - i, PageSize - offset), room);
            if (_pages.TryGetValue(at / PageSize, out byte[]? page))
                page.AsSpan(offset, take).CopyTo(destination[i..]);
            else
                destination.Slice(i, take).Clear();
            i += take;
        }

        fault = default;
        return true;
    }

    /// <summary>Bytes from an address to the end of its range; 0 outside RAM.</summary>
    private ulong RoomAt(ulong address)
    {
        foreach (PhysicalRange range in Ranges)
        {
            if (address >= range.Start.Value && address - range.Start.Value < range.Length)
                return range.Length - (address - range.Start.Value);
        }

        return 0;
    }
}
