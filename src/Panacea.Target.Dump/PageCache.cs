namespace Panacea.Target.Dump;

/// <summary>Where the pages of a dump come from.</summary>
internal interface IPageSource
{
    /// <summary>Reads one page of 4096 bytes.</summary>
    /// <param name="page">Page frame number.</param>
    /// <param name="destination">4096 bytes; unspecified where the page can not be read as a whole.</param>
    /// <returns>Null where every byte was read; else why not.</returns>
    MemoryFaultKind? Read(ulong page, Span<byte> destination);
}

/// <summary>A bounded cache of pages with the clock algorithm: a page that was used since the hand passed it last is spared once. Safe for concurrent use.</summary>
/// <remarks>Kernel structures are read a few bytes at a time, page tables again and again: without it each would be a read of the file, or an unpacking.</remarks>
internal sealed class PageCache
{
    /// <summary>Bytes of a page.</summary>
    public const int PageSize = 4096;

    /// <summary>Pages that the store grows by.</summary>
    private const int Step = 64;

    private readonly IPageSource _source;
    private readonly Lock _lock = new();
    private readonly int _capacity;
    private readonly Dictionary<ulong, int> _slots = [];
    private readonly List<byte[]> _store = [];
    private readonly List<(ulong Page, bool Used)> _pages = [];
    private int _hand;

    /// <summary>A cache of at most <paramref name="maxBytes"/>.</summary>
    public PageCache(IPageSource source, int maxBytes)
    {
        _source = source;
        _capacity = Math.Max(Step, maxBytes / PageSize / Step * Step);
    }

    /// <summary>Pages held.</summary>
    public int Pages
    {
        get
        {
            lock (_lock)
                return _slots.Count;
        }
    }

    /// <summary>Reads a part of one page.</summary>
    /// <returns>Null where it was read; else why not.</returns>
    public MemoryFaultKind? Read(ulong page, int offset, Span<byte> destination)
    {
        lock (_lock)
        {
            if (_slots.TryGetValue(page, out int slot))
            {
                _pages[slot] = (page, true);
            }
            else
            {
                // A page is spared from its second use on: those that are read once and never again go first.
                slot = Take();
                if (_source.Read(page, Slot(slot)) is { } fault)
                    return fault;
                _slots[page] = slot;
                _pages[slot] = (page, false);
            }

            Slot(slot).Slice(offset, destination.Length).CopyTo(destination);
            return null;
        }
    }

    private Span<byte> Slot(int slot) => _store[slot / Step].AsSpan(slot % Step * PageSize, PageSize);

    /// <summary>A slot that is free; the page that it held is forgotten.</summary>
    private int Take()
    {
        const ulong nothing = ulong.MaxValue;
        if (_pages.Count < _capacity)
        {
            // A slot whose page could not be read is the last one, and is tried again.
            if (_pages.Count > 0 && _pages[^1].Page == nothing)
                return _pages.Count - 1;
            if (_pages.Count % Step == 0)
                _store.Add(GC.AllocateUninitializedArray<byte>(Step * PageSize));
            _pages.Add((nothing, false));
            return _pages.Count - 1;
        }

        while (true)
        {
            int slot = _hand;
            _hand = (_hand + 1) % _capacity;
            (ulong page, bool used) = _pages[slot];
            if (used)
            {
                _pages[slot] = (page, false);
                continue;
            }

            _slots.Remove(page);
            _pages[slot] = (nothing, false);
            return slot;
        }
    }
}
