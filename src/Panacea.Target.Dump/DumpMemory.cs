using Panacea.Formats.Vmcore;

namespace Panacea.Target.Dump;

/// <summary>Memory of extents in a file: ELF cores and raw images. What the file does not hold is <see cref="MemoryFaultKind.NotCaptured"/> inside RAM, and
/// <see cref="MemoryFaultKind.NotBacked"/> outside. Safe for concurrent use.</summary>
internal sealed class ExtentMemory : IGuestMemory, IPageSource
{
    private readonly IDumpBytes _file;
    private readonly DumpExtent[] _extents;
    private readonly PageCache _cache;

    public ExtentMemory(IDumpBytes file, IReadOnlyList<DumpExtent> extents, IReadOnlyList<DumpRange> ranges, TargetLimits limits)
    {
        _file = file;
        _extents = [.. extents];
        Ranges = [.. ranges.Select(r => new PhysicalRange(new PhysicalAddress(r.Start), r.Length))];
        _cache = new PageCache(this, limits.MaxDumpCacheBytes);
    }

    /// <inheritdoc/>
    public IReadOnlyList<PhysicalRange> Ranges { get; }

    /// <inheritdoc/>
    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        ulong at = address.Value;
        while (!destination.IsEmpty)
        {
            int offset = (int)(at % PageCache.PageSize), take = Math.Min(PageCache.PageSize - offset, destination.Length);
            if (offset == 0 && destination.Length >= PageCache.PageSize)
            {
                // Many pages are read through: they are worth no place in the cache.
                take = Direct(at, destination, out MemoryFaultKind kind);
                if (take == 0)
                    return Fail(kind, at, out fault);
            }
            else if (_cache.Read(at / PageCache.PageSize, offset, destination[..take]) is not null)
            {
                // The page is not there as a whole: the bytes asked for may be.
                int got = Direct(at, destination[..take], out MemoryFaultKind kind);
                if (got < take)
                    return Fail(got == 0 ? kind : Why(at + (ulong)got), at + (ulong)got, out fault);
            }

            destination = destination[take..];
            at = unchecked(at + (ulong)take);
        }

        fault = default;
        return true;
    }

    /// <inheritdoc/>
    public MemoryFaultKind? Read(ulong page, Span<byte> destination) =>
        Direct(page * PageCache.PageSize, destination, out MemoryFaultKind kind) == destination.Length ? null : kind;

    private static bool Fail(MemoryFaultKind kind, ulong at, out MemoryFault fault)
    {
        fault = new MemoryFault(kind, at, IsPhysical: true);
        return false;
    }

    /// <returns>Bytes read: up to the end of the extent, or of the file.</returns>
    private int Direct(ulong at, Span<byte> destination, out MemoryFaultKind kind)
    {
        kind = MemoryFaultKind.NotCaptured;
        int low = 0, high = _extents.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_extents[middle].Physical <= at)
                low = middle + 1;
            else
                high = middle;
        }

        if (low == 0 || at >= _extents[low - 1].End)
        {
            kind = Why(at);
            return 0;
        }

        DumpExtent extent = _extents[low - 1];
        int take = (int)Math.Min((ulong)destination.Length, extent.End - at);
        int got = _file.Read((long)(extent.Offset + (at - extent.Physical)), destination[..take]);

        // Two extents may meet within what is asked for.
        return got == take && take < destination.Length ? got + Direct(at + (ulong)got, destination[got..], out _) : got;
    }

    private MemoryFaultKind Why(ulong at)
    {
        foreach (PhysicalRange range in Ranges)
        {
            if (at >= range.Start.Value && at < range.End.Value)
                return MemoryFaultKind.NotCaptured;
        }

        return MemoryFaultKind.NotBacked;
    }
}

/// <summary>Memory of a kdump-compressed dump. Safe for concurrent use.</summary>
internal sealed class KdumpMemory : IGuestMemory, IPageSource
{
    private readonly KdumpFile _dump;
    private readonly PageCache _cache;
    private readonly Lock _lock = new();
    private PhysicalRange[]? _ranges;
    private int _damaged;

    public KdumpMemory(KdumpFile dump, TargetLimits limits)
    {
        _dump = dump;
        _cache = new PageCache(this, limits.MaxDumpCacheBytes);
    }

    /// <summary>What the files lack, as far as it is known by now, in sentences.</summary>
    public IReadOnlyList<string> Missing
    {
        get
        {
            lock (_lock)
                return _damaged == 0 ? [.. _dump.Missing] : [.. _dump.Missing, $"{_damaged} reads met pages that do not unpack: the dump is damaged"];
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<PhysicalRange> Ranges
    {
        get
        {
            lock (_lock)
                return _ranges ??= [.. _dump.Ranges.Select(r => new PhysicalRange(new PhysicalAddress(r.Start), r.Length))];
        }
    }

    /// <inheritdoc/>
    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        ulong at = address.Value;
        while (!destination.IsEmpty)
        {
            int offset = (int)(at % PageCache.PageSize), take = Math.Min(PageCache.PageSize - offset, destination.Length);

            // Whole pages are read through, past the cache.
            MemoryFaultKind? why = take == PageCache.PageSize ? Read(at / PageCache.PageSize, destination[..take]) : _cache.Read(at / PageCache.PageSize, offset, destination[..take]);
            if (why is { } kind)
            {
                fault = new MemoryFault(kind, at, IsPhysical: true);
                return false;
            }

            destination = destination[take..];
            at = unchecked(at + (ulong)take);
        }

        fault = default;
        return true;
    }

    /// <inheritdoc/>
    public MemoryFaultKind? Read(ulong page, Span<byte> destination)
    {
        DumpPage result;
        lock (_lock)
        {
            result = _dump.ReadPage(page, destination);
            if (result == DumpPage.Damaged)
                _damaged++;
        }

        return result switch
        {
            DumpPage.Read => null,
            DumpPage.NotRam => MemoryFaultKind.NotBacked,
            _ => MemoryFaultKind.NotCaptured,
        };
    }
}
