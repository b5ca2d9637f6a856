using System.Runtime.InteropServices;
using Panacea.Target;

namespace Panacea.Kernel.Memory;

/// <summary>
/// What was read while a guest stood still: a page cache in front of live memory that can be sealed. While open, every page is fetched once;
/// sealed, it answers from what it holds and says <see cref="MemoryFaultKind.NotCaptured"/> for the rest, so that a report written
/// after the guest runs again rests on nothing but the evidence of the crash.
/// </summary>
/// <remarks>Not thread-safe; one instance belongs to one crash.</remarks>
public sealed class EvidenceMemory : IGuestMemory
{
    private const int PageSize = 4096;
    private readonly IGuestMemory _live;
    private readonly Dictionary<ulong, int> _slots = new(256);
    private readonly int _maxPages;
    private byte[] _store;
    private int _used;

    /// <summary>An open capture over <paramref name="live"/>, of at most <paramref name="maxPages"/> pages of 4 KiB;
    /// past that, reads go through without being kept.</summary>
    /// <param name="live">The guest's memory.</param>
    /// <param name="maxPages">Pages that are kept at most.</param>
    /// <param name="firstPages">Pages that there is room for at the beginning.</param>
    public EvidenceMemory(IGuestMemory live, int maxPages = 16384, int firstPages = 128)
    {
        _live = live;
        _maxPages = maxPages;
        _store = new byte[Math.Min(firstPages, maxPages) * PageSize];
    }

    /// <inheritdoc/>
    public IReadOnlyList<PhysicalRange> Ranges => _live.Ranges;

    /// <summary>Nothing more is read from the guest.</summary>
    public bool IsSealed { get; private set; }

    /// <summary>Pages held.</summary>
    public int Pages => _slots.Count;

    /// <summary>Ends the capture: called when the guest goes on.</summary>
    public void Seal() => IsSealed = true;

    /// <summary>Forgets what it holds, for another look at the same memory.</summary>
    public void Clear()
    {
        _slots.Clear();
        (_used, IsSealed) = (0, false);
    }

    /// <inheritdoc/>
    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        ulong at = address.Value;
        while (!destination.IsEmpty)
        {
            ulong page = at & ~(PageSize - 1UL);
            int offset = (int)(at - page);
            int take = Math.Min(PageSize - offset, destination.Length);
            if (!_slots.TryGetValue(page, out int slot))
            {
                if (IsSealed)
                {
                    fault = new MemoryFault(MemoryFaultKind.NotCaptured, at, IsPhysical: true);
                    return false;
                }

                if (_slots.Count >= _maxPages || !TryFetch(page, out slot))
                {
                    // Either full, or the page is not RAM as a whole: the exact bytes may still be readable.
                    if (!_live.TryRead(new PhysicalAddress(at), destination[..take], out fault))
                        return false;
                    slot = -1;
                }
            }

            if (slot >= 0)
                _store.AsSpan(slot + offset, take).CopyTo(destination);
            destination = destination[take..];
            at = unchecked(at + (ulong)take);
        }

        fault = default;
        return true;
    }

    private bool TryFetch(ulong page, out int slot)
    {
        slot = _used;
        if (_used + PageSize > _store.Length)
            Array.Resize(ref _store, _store.Length * 2);
        if (!_live.TryRead(new PhysicalAddress(page), _store.AsSpan(slot, PageSize), out _))
            return false;
        _used += PageSize;
        CollectionsMarshal.GetValueRefOrAddDefault(_slots, page, out _) = slot;
        return true;
    }
}
