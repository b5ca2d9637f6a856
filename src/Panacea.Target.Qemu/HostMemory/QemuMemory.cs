namespace Panacea.Target.Qemu.HostMemory;

/// <summary>The physical memory of a live QEMU guest, while it runs or stands still. Reads take no lock and stop nothing.</summary>
/// <remarks>Thread-safe for reading. What a running guest changes meanwhile may be seen half old, half new.</remarks>
public sealed class QemuMemory : IGuestMemory, IDisposable
{
    private readonly RegionBacking[] _regions;
    private volatile bool _gone;

    /// <summary>Over the given runs, ascending and disjoint; owns them.</summary>
    public QemuMemory(IEnumerable<RegionBacking> regions)
    {
        _regions = [.. regions];
        var ranges = new List<PhysicalRange>();
        ulong end = 0;
        foreach (RegionBacking region in _regions)
        {
            if (region.Range.Start.Value < end)
                throw new ArgumentException("regions overlap or are not ascending", nameof(regions));
            end = region.Range.End.Value;
            if (region.IsReadOnly)
                continue;
            if (ranges.Count > 0 && ranges[^1].End == region.Range.Start)
                ranges[^1] = new PhysicalRange(ranges[^1].Start, ranges[^1].Length + region.Range.Length);
            else
                ranges.Add(region.Range);
        }

        Ranges = ranges;
    }

    /// <inheritdoc/>
    /// <remarks>ROM (firmware) is not among them, though it can be read.</remarks>
    public IReadOnlyList<PhysicalRange> Ranges { get; }

    /// <summary>The runs and how each is reached.</summary>
    public IReadOnlyList<RegionBacking> Regions => _regions;

    /// <summary>All RAM that the guest can write is mapped into this process.</summary>
    public bool IsShared => Array.TrueForAll(_regions, r => r.IsShared || r.IsReadOnly);

    /// <inheritdoc/>
    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        ulong at = address.Value;
        while (!destination.IsEmpty)
        {
            if (!TryFind(at, out RegionBacking? region, out fault))
                return false;
            ulong offset = at - region!.Range.Start.Value;
            int take = (int)Math.Min((ulong)destination.Length, region.Range.Length - offset);
            if (!region.TryRead(offset, destination[..take], out MemoryFaultKind why))
            {
                fault = new MemoryFault(why, at, IsPhysical: true);
                return false;
            }

            destination = destination[take..];
            at = unchecked(at + (ulong)take);
        }

        fault = default;
        return true;
    }

    /// <summary>True where all of [address, address + length) is RAM that may be written.</summary>
    public bool IsWritable(PhysicalAddress address, ulong length, out MemoryFault fault)
    {
        ulong at = address.Value;
        for (ulong left = length; left > 0;)
        {
            if (!TryFind(at, out RegionBacking? region, out fault))
                return false;
            if (region!.IsReadOnly)
            {
                fault = new MemoryFault(MemoryFaultKind.NotBacked, at, IsPhysical: true);
                return false;
            }

            ulong take = Math.Min(left, region.Range.Length - (at - region.Range.Start.Value));
            left -= take;
            at = unchecked(at + take);
        }

        fault = default;
        return true;
    }

    /// <summary>The parts of RAM that hold data, ascending; the rest reads as zero. To be used before scanning memory whole: reading
    /// a hole of a sparse backing through a mapping would populate it.</summary>
    public IReadOnlyList<PhysicalRange> PopulatedExtents()
    {
        var extents = new List<PhysicalRange>();
        foreach (RegionBacking region in _regions)
        {
            if (!region.IsReadOnly)
                region.AddPopulated(extents);
        }

        return extents;
    }

    /// <summary>Writes directly, not through QEMU. Only a stopped guest's object calls this.</summary>
    internal bool TryWrite(PhysicalAddress address, ReadOnlySpan<byte> bytes, out MemoryFault fault)
    {
        if (!IsWritable(address, (ulong)bytes.Length, out fault))
            return false;
        ulong at = address.Value;
        while (!bytes.IsEmpty)
        {
            if (!TryFind(at, out RegionBacking? region, out fault))
                return false;
            ulong offset = at - region!.Range.Start.Value;
            int take = (int)Math.Min((ulong)bytes.Length, region.Range.Length - offset);
            if (!region.TryWrite(offset, bytes[..take], out MemoryFaultKind why))
            {
                fault = new MemoryFault(why, at, IsPhysical: true);
                return false;
            }

            bytes = bytes[take..];
            at = unchecked(at + (ulong)take);
        }

        return true;
    }

    /// <summary>QEMU has ended: every access from now on fails with <see cref="MemoryFaultKind.Gone"/>, also where the mapping still stands.</summary>
    internal void MarkGone() => _gone = true;

    /// <inheritdoc/>
    public void Dispose()
    {
        _gone = true;
        foreach (RegionBacking region in _regions)
            region.Dispose();
    }

    private bool TryFind(ulong address, out RegionBacking? region, out MemoryFault fault)
    {
        int low = 0, high = _regions.Length - 1;
        while (low <= high && !_gone)
        {
            int middle = (low + high) / 2;
            PhysicalRange range = _regions[middle].Range;
            if (address < range.Start.Value)
            {
                high = middle - 1;
            }
            else if (address - range.Start.Value >= range.Length)
            {
                low = middle + 1;
            }
            else
            {
                region = _regions[middle];
                fault = default;
                return true;
            }
        }

        region = null;
        fault = new MemoryFault(_gone ? MemoryFaultKind.Gone : MemoryFaultKind.NotBacked, address, IsPhysical: true);
        return false;
    }
}
