using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A cache of the SLUB allocator.</summary>
public sealed record SlabCache
{
    /// <summary>Guest-virtual address of its struct kmem_cache.</summary>
    public required ulong Address { get; init; }

    /// <summary>Name of whoever made it first; caches of the same size share one, so that others' objects may lie here (<see cref="References"/>).</summary>
    public required string Name { get; init; }

    /// <summary>Bytes that a user of an object may touch.</summary>
    public required uint ObjectSize { get; init; }

    /// <summary>Bytes from one object to the next.</summary>
    public required uint Size { get; init; }

    /// <summary>Bytes from an object to the link that it holds while it is free.</summary>
    public required uint FreePointerOffset { get; init; }

    /// <summary>Bytes of left red zone before each object; 0 without SLAB_RED_ZONE.</summary>
    public required uint RedLeftPad { get; init; }

    /// <summary>Alignment of objects.</summary>
    public required uint Align { get; init; }

    /// <summary>log2 of the pages of a slab, where memory is plenty.</summary>
    public required int Order { get; init; }

    /// <summary>Objects of such a slab.</summary>
    public required int ObjectsPerSlab { get; init; }

    /// <summary>kmem_cache.flags, as it is.</summary>
    public required ulong RawFlags { get; init; }

    /// <summary>The flags by name, without SLAB_.</summary>
    public required IReadOnlyList<string> Flags { get; init; }

    /// <summary>Caches that are this one: more than 1 where caches were merged.</summary>
    public required int References { get; init; }

    /// <summary>The key that free links are mixed with (CONFIG_SLAB_FREELIST_HARDENED); null where they are plain.</summary>
    public required ulong? FreelistKey { get; init; }

    /// <summary>The __percpu pointer to its kmem_cache_cpu, 0 where it has none.</summary>
    public required ulong PerCpu { get; init; }

    /// <summary>Its kmem_cache_node by NUMA node.</summary>
    public required IReadOnlyList<ulong> Nodes { get; init; }

    /// <summary>Free objects wait in per-CPU sheaves too (since 6.18), so that one on no free list need not be in use.</summary>
    public required bool HasSheaves { get; init; }

    /// <summary>It has that flag.</summary>
    public bool Has(string flag) => Flags.Contains(flag);
}

/// <summary>How much a cache holds: its line of /proc/slabinfo.</summary>
/// <param name="Cache">The cache.</param>
/// <param name="Slabs">Slabs.</param>
/// <param name="Objects">Objects in all of them.</param>
/// <param name="Active">Objects that are not free; those on the free lists of CPUs count as active, as in /proc/slabinfo.</param>
/// <param name="PartialSlabs">Slabs on the partial lists of nodes.</param>
/// <param name="IsLowerBound">The kernel counts no slabs (no CONFIG_SLUB_DEBUG): only partial ones are there.</param>
public sealed record SlabUsage(SlabCache Cache, ulong Slabs, ulong Objects, ulong Active, ulong PartialSlabs, bool IsLowerBound)
{
    /// <summary>Bytes of all slabs, as far as all have the usual order.</summary>
    public ulong Bytes => unchecked(Slabs * (KernelReads.PageSize << Cache.Order));
}

/// <summary>Caches of SLUB (mm/slub.c, include/linux/slub_def.h, mm/slab.h): the list <c>slab_caches</c>.</summary>
public static class SlabCaches
{
    /// <summary>oo_order, oo_objects: order in the upper half, objects in the lower (OO_SHIFT).</summary>
    private const int OrderShift = 16, MaxOrder = 10;

    /// <summary>The flags up to 6.8 (include/linux/slab.h); since 6.9 they are enum _slab_flag_bits.</summary>
    private static readonly (string Name, ulong Bit)[] OldFlags =
    [
        ("CONSISTENCY_CHECKS", 0x100), ("RED_ZONE", 0x400), ("POISON", 0x800), ("KMALLOC", 0x1000), ("HWCACHE_ALIGN", 0x2000), ("CACHE_DMA", 0x4000), ("CACHE_DMA32", 0x8000),
        ("STORE_USER", 0x1_0000), ("RECLAIM_ACCOUNT", 0x2_0000), ("PANIC", 0x4_0000), ("TYPESAFE_BY_RCU", 0x8_0000), ("TRACE", 0x20_0000), ("NOLEAKTRACE", 0x80_0000),
        ("ACCOUNT", 0x400_0000),
    ];

    /// <summary>All caches, newest first.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not hold together, or the allocator is not SLUB.</exception>
    public static List<SlabCache> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        // struct kmem_cache of SLAB has no link offset; SLOB has no list.
        if (!kernel.HasMember("kmem_cache.offset"))
            throw new KernelShapeException("this kernel's slab allocator is not SLUB");
        IReadOnlyList<KeyValuePair<string, long>> bits = kernel.Image.Types.Enumerators("_slab_flag_bits");
        return [.. Lists.Entries(kernel, kernel.Symbol("slab_caches"), "kmem_cache.list", limits).Select(cache => Read(kernel, cache, bits))];
    }

    /// <summary>The name of a cache, by the address of its kmem_cache.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel lacks the types.</exception>
    public static string NameOf(LinuxKernel kernel, ulong cache) => kernel.ReadString(kernel.Read(cache, "kmem_cache.name"), "kmem_cache.name", 256);

    /// <summary>Counts of one cache.</summary>
    /// <exception cref="GuestMemoryException">A partial list leads to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">A partial list does not hold together.</exception>
    public static SlabUsage UsageOf(LinuxKernel kernel, SlabCache cache, TargetLimits limits)
    {
        SlabShape shape = SlabShape.Of(kernel);
        bool counted = kernel.HasMember("kmem_cache_node.nr_slabs");
        ulong slabs = 0, objects = 0, free = 0, partial = 0;
        foreach (ulong node in cache.Nodes)
        {
            if (counted)
            {
                slabs = unchecked(slabs + kernel.Read(node, "kmem_cache_node.nr_slabs.counter"));
                objects = unchecked(objects + kernel.Read(node, "kmem_cache_node.total_objects.counter"));
            }

            foreach (ulong slab in Lists.Entries(kernel, unchecked(node + kernel.Offset("kmem_cache_node.partial")), shape.List, limits))
            {
                ulong all = kernel.Read(slab, shape.Objects), used = kernel.Read(slab, shape.InUse);
                if (++partial > (ulong)limits.MaxChain)
                    throw new KernelShapeException($"the cache {cache.Name} has more than {limits.MaxChain} partial slabs");
                free += all >= used ? all - used : 0;
                if (!counted)
                    (slabs, objects) = (slabs + 1, objects + all);
            }
        }

        return new SlabUsage(cache, slabs, objects, objects > free ? objects - free : 0, partial, !counted);
    }

    /// <summary>The caches that hold the most memory, largest first. A cache whose lists move or are damaged is left out; <paramref name="skipped"/> counts those.</summary>
    public static List<SlabUsage> Largest(LinuxKernel kernel, int count, TargetLimits limits, out int skipped)
    {
        var all = new List<SlabUsage>();
        skipped = 0;
        foreach (SlabCache cache in Enumerate(kernel, limits))
        {
            if (KernelReads.Try<SlabUsage?>(() => UsageOf(kernel, cache, limits), null) is { } usage)
                all.Add(usage);
            else
                skipped++;
        }

        return [.. all.OrderByDescending(u => u.Bytes).Take(count)];
    }

    private static SlabCache Read(LinuxKernel kernel, ulong cache, IReadOnlyList<KeyValuePair<string, long>> bits)
    {
        uint oo = kernel.ReadU32(cache, "kmem_cache.oo.x"), size = kernel.ReadU32(cache, "kmem_cache.size");
        int order = (int)(oo >> OrderShift);
        if (size == 0 || order > MaxOrder)
            throw new KernelShapeException($"the slab cache at 0x{cache:x} has objects of {size} bytes in slabs of order {order}");
        ulong flags = kernel.Read(cache, "kmem_cache.flags");
        IEnumerable<string> names = bits.Count > 0
            ? bits.Where(b => b.Value is >= 0 and < 64 && (flags >> (int)b.Value & 1) != 0 && b.Key.StartsWith("_SLAB_", StringComparison.Ordinal)).Select(b => b.Key[6..])
            : OldFlags.Where(f => (flags & f.Bit) != 0).Select(f => f.Name);
        return new SlabCache
        {
            Address = cache,
            Name = NameOf(kernel, cache),
            ObjectSize = kernel.ReadU32(cache, "kmem_cache.object_size"),
            Size = size,
            FreePointerOffset = kernel.ReadU32(cache, "kmem_cache.offset"),
            RedLeftPad = (uint)(kernel.ReadIfPresent(cache, "kmem_cache.red_left_pad") ?? 0),
            Align = kernel.ReadU32(cache, "kmem_cache.align"),
            Order = order,
            ObjectsPerSlab = (int)(oo & 0xffff),
            RawFlags = flags,
            Flags = [.. names],
            References = kernel.ReadS32(cache, "kmem_cache.refcount"),
            FreelistKey = kernel.ReadIfPresent(cache, "kmem_cache.random"),
            PerCpu = kernel.ReadIfPresent(cache, "kmem_cache.cpu_slab") ?? 0,
            Nodes = ReadNodes(kernel, cache),
            HasSheaves = (kernel.ReadIfPresent(cache, "kmem_cache.cpu_sheaves") ?? 0) != 0,
        };
    }

    private static List<ulong> ReadNodes(LinuxKernel kernel, ulong cache)
    {
        ulong count = Math.Min(kernel.TryReadVariable("nr_node_ids", 4) ?? 1, (ulong)kernel.Image.Types.Member("kmem_cache.node").BitSize / 64);
        ulong table = unchecked(cache + kernel.Offset("kmem_cache.node"));
        var nodes = new List<ulong>();
        for (ulong i = 0; i < count; i++)
        {
            ulong node = kernel.ReadU64(unchecked(table + (i * 8)), "kmem_cache.node");
            if (node != 0)
                nodes.Add(node);
        }

        return nodes;
    }
}

/// <summary>Member paths of a slab: struct slab since 5.17 (commit d122019bf061, "mm: Split slab into its own type"), struct page before it.</summary>
internal sealed record SlabShape(string Cache, string Freelist, string InUse, string Objects, string Frozen, string Counters, string List, string? CpuSlab)
{
    public static SlabShape Of(LinuxKernel kernel)
    {
        string type = kernel.HasMember("slab.slab_cache") ? "slab" : "page";
        string cpu = $"kmem_cache_cpu.{type}";
        return new SlabShape(
            $"{type}.slab_cache", $"{type}.freelist", $"{type}.inuse", $"{type}.objects", $"{type}.frozen", $"{type}.counters", $"{type}.slab_list",
            kernel.HasMember(cpu) ? cpu : null);
    }
}
