using Panacea.Target;

namespace Panacea.TestKit.Memory;

/// <summary>Guest-physical memory for tests: any ranges, of which only what is written takes room. Untouched RAM reads as zero, outside is a typed failure.</summary>
public sealed class SparsePhysicalMemory : IGuestMemory
{
    private const int PageSize = 4096;
    private readonly Dictionary<ulong, byte[]> _pages = [];
    private readonly HashSet<ulong> _lost = [];
    private readonly PhysicalRange[] _ranges;
    private Dictionary<ulong, byte[]?>? _before;

    /// <summary>RAM in the given ranges, which must be ascending and disjoint.</summary>
    public SparsePhysicalMemory(params PhysicalRange[] ranges) => _ranges = ranges;

    /// <summary>RAM in [0, <paramref name="bytes"/>).</summary>
    public SparsePhysicalMemory(ulong bytes) : this(new PhysicalRange(new PhysicalAddress(0), bytes))
    {
    }

    /// <inheritdoc/>
    public IReadOnlyList<PhysicalRange> Ranges => _ranges;

    /// <summary>Reads so far: for tests of how often something reads.</summary>
    public long Reads { get; private set; }

    /// <summary>Makes the page that holds <paramref name="address"/> unreadable, as a page that a dump left out.</summary>
    public void Lose(ulong address) => _lost.Add(address / PageSize);

    /// <summary>From now on, pages are kept as they are before they are first written: <see cref="Revert"/> brings them back.</summary>
    public void Keep() => _before = [];

    /// <summary>Undoes every write since <see cref="Keep"/>, and keeps again.</summary>
    public void Revert()
    {
        foreach ((ulong number, byte[]? page) in _before ?? throw new InvalidOperationException("nothing was kept"))
        {
            if (page is null)
                _pages.Remove(number);
            else
                _pages[number] = page;
        }

        _before.Clear();
    }

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
            _ = _pages.TryGetValue(at / PageSize, out byte[]? page);
            bool copy = _before?.TryAdd(at / PageSize, page) == true;
            if (page is null || copy)
                _pages[at / PageSize] = page = page is null ? new byte[PageSize] : [.. page];
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
            bool lost = _lost.Count != 0 && _lost.Contains(at / PageSize);
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
        foreach (PhysicalRange range in _ranges)
        {
            if (address >= range.Start.Value && address - range.Start.Value < range.Length)
                return range.Length - (address - range.Start.Value);
        }

        return 0;
    }
}
