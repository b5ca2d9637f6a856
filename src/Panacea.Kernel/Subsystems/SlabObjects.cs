using System.Buffers.Binary;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Whether an object is allocated.</summary>
public enum SlabObjectState
{
    /// <summary>It can't be told.</summary>
    Unknown,
    /// <summary>It is on no free list.</summary>
    InUse,
    /// <summary>It is on a free list.</summary>
    Free,
}

/// <summary>What stands in the red zone of an object.</summary>
public enum RedZone
{
    /// <summary>The cache has no red zones.</summary>
    None,
    /// <summary>SLUB_RED_ACTIVE: the object is in use.</summary>
    Active,
    /// <summary>SLUB_RED_INACTIVE: the object is free.</summary>
    Inactive,
    /// <summary>Something else: written out of bounds.</summary>
    Overwritten,
}

/// <summary>The object of a slab cache that an address lies in.</summary>
public sealed record SlabObject
{
    /// <summary>The cache.</summary>
    public required SlabCache Cache { get; init; }

    /// <summary>Guest-virtual address of the slab's struct slab (struct page).</summary>
    public required ulong Slab { get; init; }

    /// <summary>Place of the object in its slab.</summary>
    public required int Index { get; init; }

    /// <summary>Objects of the slab.</summary>
    public required int Objects { get; init; }

    /// <summary>First address of the object, red zone not counted.</summary>
    public required ulong Start { get; init; }

    /// <summary>Bytes from <see cref="Start"/> to the address; negative in the left red zone.</summary>
    public required long Offset { get; init; }

    /// <summary>Free or in use.</summary>
    public required SlabObjectState State { get; init; }

    /// <summary>Why the state is not known, or null.</summary>
    public string? Why { get; init; }

    /// <summary>Its red zone.</summary>
    public RedZone RedZone { get; init; }

    /// <summary>The address lies in what belongs to the object's user, not in red zones, padding or the allocator's own.</summary>
    public bool IsInside => Offset >= 0 && Offset < Cache.ObjectSize;
}

/// <summary>Finds the slab object that an address belongs to (mm/slub.c).</summary>
/// <param name="kernel">The kernel.</param>
/// <param name="layout">Its address space.</param>
/// <param name="caches">As <see cref="SlabCaches.Enumerate"/> gives them.</param>
public sealed class SlabObjects(LinuxKernel kernel, AddressLayout layout, IEnumerable<SlabCache> caches)
{
    /// <summary>A live free list moves: looked at so often until it holds still.</summary>
    private const int Attempts = 4;

    private const byte RedInactive = 0xbb, RedActive = 0xcc;

    private readonly Pages _pages = new(kernel, layout);
    private readonly SlabShape _shape = SlabShape.Of(kernel);
    private readonly Dictionary<ulong, SlabCache> _caches = caches.GroupBy(c => c.Address).ToDictionary(g => g.Key, g => g.First());

    private sealed record Layout(SlabCache Cache, ulong Slab, ulong Base, int Objects);

    /// <summary>The cache whose struct kmem_cache is at an address, or null.</summary>
    public SlabCache? CacheAt(ulong address) => _caches.GetValueOrDefault(address);

    /// <summary>Finds the object.</summary>
    /// <param name="address">Any address of the direct map.</param>
    /// <param name="found">The object.</param>
    /// <param name="why">Why there is none.</param>
    /// <returns>False where the address is in no slab, or in the slab's rest behind its last object.</returns>
    public bool TryFind(ulong address, out SlabObject found, out string why)
    {
        found = null!;
        try
        {
            if (!TryLayOut(address, out Layout slab, out why))
                return false;
            ulong index = (address - slab.Base) / slab.Cache.Size;
            if (index >= (ulong)slab.Objects)
            {
                why = $"behind the last object of a slab of {slab.Cache.Name}";
                return false;
            }

            ulong start = slab.Base + (index * slab.Cache.Size) + slab.Cache.RedLeftPad;
            (SlabObjectState state, string? doubt) = StateOf(slab, start);
            found = new SlabObject
            {
                Cache = slab.Cache,
                Slab = slab.Slab,
                Index = (int)index,
                Objects = slab.Objects,
                Start = start,
                Offset = unchecked((long)(address - start)),
                State = state,
                Why = doubt,
                RedZone = RedZoneOf(slab.Cache, start),
            };
            return true;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            why = e.Message;
            return false;
        }
    }

    /// <summary>Every free object of the slab that an address lies in.</summary>
    /// <param name="address">Any address of the slab.</param>
    /// <param name="free">First addresses of the objects, red zones not counted.</param>
    /// <param name="why">What is wrong.</param>
    /// <returns>False where the address is in no slab or a free list is damaged.</returns>
    public bool TryFreeObjects(ulong address, out IReadOnlySet<ulong> free, out string why)
    {
        var all = new HashSet<ulong>();
        free = all;
        try
        {
            return TryLayOut(address, out Layout slab, out why) && TryCollectFree(slab, all, out why);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            why = e.Message;
            return false;
        }
    }

    private bool TryLayOut(ulong address, out Layout slab, out string why)
    {
        slab = null!;
        why = "not in the direct map of memory";
        if (!layout.TryDirectToPhysical(address, out PhysicalAddress physical) || layout.PageStructBytes == 0)
            return false;
        PageInfo page = _pages.Read(physical.Value / KernelReads.PageSize);
        why = $"in a page of use {page.Use}";
        if (page.Use != PageUse.Slab || !layout.TryFrameOf(page.Head, out ulong frame))
            return false;
        ulong owner = kernel.Read(page.Head, _shape.Cache);
        why = $"in a slab whose cache, 0x{owner:x}, is not on the list of caches";
        if (!_caches.TryGetValue(owner, out SlabCache? cache))
            return false;
        ulong bytes = KernelReads.PageSize << page.Order, objects = kernel.Read(page.Head, _shape.Objects);
        if (objects == 0 || objects * cache.Size > bytes)
            throw new KernelShapeException($"a slab of {cache.Name} says that it holds {objects} objects of {cache.Size} bytes in {bytes}");
        slab = new Layout(cache, page.Head, layout.Direct(new PhysicalAddress(frame * KernelReads.PageSize)), (int)objects);
        why = "";
        return true;
    }

    private (SlabObjectState State, string? Why) StateOf(Layout slab, ulong start)
    {
        var free = new HashSet<ulong>();
        if (!TryCollectFree(slab, free, out string why))
            return (SlabObjectState.Unknown, why);
        return free.Contains(start) ? (SlabObjectState.Free, null)
            : slab.Cache.HasSheaves ? (SlabObjectState.Unknown, "it may wait in a CPU's sheaf of free objects")
            : (SlabObjectState.InUse, null);
    }

    /// <summary>The slab's own free list and, where it is the slab that a CPU allocates from, that CPU's.</summary>
    private bool TryCollectFree(Layout slab, HashSet<ulong> free, out string why)
    {
        for (int attempt = 1; ; attempt++)
        {
            free.Clear();
            ulong counters = kernel.Read(slab.Slab, _shape.Counters);
            ulong first = kernel.Read(slab.Slab, _shape.Freelist);
            bool whole = TryWalk(slab, first, free, out why) && TryWalkCpus(slab, free, out why);
            bool still = kernel.Read(slab.Slab, _shape.Counters) == counters && kernel.Read(slab.Slab, _shape.Freelist) == first;
            if (whole && still)
                return true;
            if (attempt < Attempts)
                continue;
            if (!still)
                why = "its free list changes all the time";
            return false;
        }
    }

    private bool TryWalkCpus(Layout slab, HashSet<ulong> free, out string why)
    {
        why = "";
        if (slab.Cache.PerCpu == 0 || _shape.CpuSlab is not { } member)
            return true;
        foreach (int cpu in Cpus.Possible(kernel))
        {
            ulong own = Cpus.At(kernel, slab.Cache.PerCpu, cpu);
            if (kernel.Read(own, member) != slab.Slab)
                continue;

            // The transaction id moves with every change of the lockless list (kmem_cache_cpu.tid).
            ulong tid = kernel.Read(own, "kmem_cache_cpu.tid");
            bool whole = TryWalk(slab, kernel.Read(own, "kmem_cache_cpu.freelist"), free, out why);
            if (kernel.Read(own, "kmem_cache_cpu.tid") != tid)
            {
                why = "its CPU allocates from it";
                return false;
            }

            if (!whole)
                return false;
        }

        return true;
    }

    private bool TryWalk(Layout slab, ulong first, HashSet<ulong> free, out string why)
    {
        why = "";
        if (first == 0)
            return true;

        // The link's own address is mixed in byte-swapped since 5.7 (commit 1ad53d9fa3f6, "slub: improve bit diffusion for freelist ptr obfuscation"), plainly before it: what decodes tells which.
        var tried = new HashSet<ulong>(free);
        if (TryWalk(slab, first, swapped: true, tried, out why) || (slab.Cache.FreelistKey is not null && Retry()))
        {
            free.UnionWith(tried);
            return true;
        }

        return false;

        bool Retry()
        {
            tried = [.. free];
            return TryWalk(slab, first, swapped: false, tried, out _);
        }
    }

    private bool TryWalk(Layout slab, ulong first, bool swapped, HashSet<ulong> free, out string why)
    {
        why = "";
        for (ulong at = first; at != 0;)
        {
            ulong offset = unchecked(at - slab.Base - slab.Cache.RedLeftPad);
            if (offset % slab.Cache.Size != 0 || offset / slab.Cache.Size >= (ulong)slab.Objects)
            {
                why = $"its slab's free list leads to 0x{at:x}, which is none of its objects";
                return false;
            }

            if (!free.Add(at))
            {
                why = $"its slab's free list holds 0x{at:x} twice";
                return false;
            }

            ulong link = unchecked(at + slab.Cache.FreePointerOffset), raw = kernel.ReadU64(link, "free pointer");
            at = slab.Cache.FreelistKey is { } key ? raw ^ key ^ (swapped ? BinaryPrimitives.ReverseEndianness(link) : link) : raw;
        }

        return true;
    }

    private RedZone RedZoneOf(SlabCache cache, ulong start)
    {
        if (cache.RedLeftPad is 0 or > 4096 || !cache.Has("RED_ZONE"))
            return RedZone.None;
        byte[] zone = kernel.ReadBytes(start - cache.RedLeftPad, (int)cache.RedLeftPad, "red zone");
        return Array.TrueForAll(zone, b => b == RedActive) ? RedZone.Active : Array.TrueForAll(zone, b => b == RedInactive) ? RedZone.Inactive : RedZone.Overwritten;
    }
}
