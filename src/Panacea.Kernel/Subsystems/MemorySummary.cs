using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A zone of a node.</summary>
/// <param name="Address">Guest-virtual address of its struct zone.</param>
/// <param name="Node">NUMA node.</param>
/// <param name="Name">DMA, DMA32, Normal, Movable, …</param>
/// <param name="StartFrame">Its first page frame.</param>
/// <param name="Spanned">Frames from its first to its last.</param>
/// <param name="Present">Frames that exist.</param>
/// <param name="Managed">Pages that the buddy allocator has.</param>
/// <param name="Free">Free pages, as NR_FREE_PAGES counts them; up to a few dozen a CPU are not yet added.</param>
/// <param name="Min">Watermark below which only the kernel itself may allocate, boost included.</param>
/// <param name="Low">Watermark at which kswapd wakes.</param>
/// <param name="High">Watermark at which kswapd sleeps.</param>
public sealed record MemoryZone(
    ulong Address, int Node, string Name, ulong StartFrame, ulong Spanned, ulong Present, ulong Managed, ulong Free, ulong Min, ulong Low, ulong High);

/// <summary>How much memory is left and what has the rest: /proc/meminfo, in pages of 4 KiB.</summary>
public sealed record MemorySummary
{
    /// <summary>MemTotal.</summary>
    public required ulong Total { get; init; }

    /// <summary>MemFree.</summary>
    public required ulong Free { get; init; }

    /// <summary>Counters of all nodes by the names of enum zone_stat_item and enum node_stat_item; those with _B are pages too, NR_KERNEL_STACK_KB is KiB. Negative ones are
    /// shown as 0, as the kernel does.</summary>
    public required IReadOnlyDictionary<string, ulong> Counters { get; init; }

    /// <summary>SwapTotal.</summary>
    public required ulong SwapTotal { get; init; }

    /// <summary>SwapFree.</summary>
    public required ulong SwapFree { get; init; }

    /// <summary>Committed_AS; null where the kernel does not say.</summary>
    public required ulong? Committed { get; init; }

    /// <summary>Pages that the kernel keeps back (totalreserve_pages).</summary>
    public required ulong Reserve { get; init; }

    /// <summary>Zones with pages.</summary>
    public required IReadOnlyList<MemoryZone> Zones { get; init; }

    /// <summary>Tasks that are being killed for want of memory at this moment (oom_victims); null where unknown.</summary>
    public required int? OomVictims { get; init; }

    /// <summary>Processes killed for want of memory since boot (OOM_KILL of /proc/vmstat); null where unknown.</summary>
    public required ulong? OomKills { get; init; }

    /// <summary>Cached: page cache with buffers, without what is swap cache.</summary>
    public ulong Cached => Counter("NR_FILE_PAGES") is var all && Counter("NR_SWAPCACHE") is var swap && all > swap ? all - swap : 0;

    /// <summary>MemAvailable by the kernel's own estimate (si_mem_available, mm/show_mem.c): free pages, half of the file LRU lists and of reclaimable slabs or all but the low watermarks.</summary>
    public ulong Available
    {
        get
        {
            ulong low = Zones.Aggregate(0UL, (sum, z) => unchecked(sum + z.Low));
            ulong file = unchecked(Counter("NR_ACTIVE_FILE") + Counter("NR_INACTIVE_FILE"));
            ulong slab = unchecked(Counter("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE") + Counter("NR_KERNEL_MISC_RECLAIMABLE"));
            long available = unchecked((long)(Free - Reserve + file - Math.Min(file / 2, low) + slab - Math.Min(slab / 2, low)));
            return available > 0 ? (ulong)available : 0;
        }
    }

    /// <summary>Some zone that has pages is below its lowest watermark.</summary>
    public bool IsBelowMinimum => Zones.Any(z => z.Managed > 0 && z.Free < z.Min);

    /// <summary>A counter by the first of its names that this kernel has; 0 where it has none.</summary>
    public ulong Counter(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (Counters.TryGetValue(name, out ulong value))
                return value;
        }

        return 0;
    }

    /// <summary>Reads the summary. Counters move while they are read: sums are as near as the kernel's own.</summary>
    /// <exception cref="KernelShapeException">The kernel lacks the counters.</exception>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static MemorySummary Read(LinuxKernel kernel, TargetLimits limits)
    {
        var counters = new Dictionary<string, ulong>(StringComparer.Ordinal);
        Add(kernel, counters, "vm_zone_stat", "zone_stat_item", "NR_VM_ZONE_STAT_ITEMS");
        Add(kernel, counters, "vm_node_stat", "node_stat_item", "NR_VM_NODE_STAT_ITEMS");
        return new MemorySummary
        {
            // A variable of type atomic_long_t since 5.0 (commit ca79b0c211af, "mm: convert totalram_pages and totalhigh_pages variables to atomic").
            Total = kernel.TryReadVariable("_totalram_pages") ?? kernel.ReadSymbolU64("totalram_pages"),
            Free = counters.GetValueOrDefault("NR_FREE_PAGES"),
            Counters = counters,
            SwapTotal = kernel.TryReadVariable("total_swap_pages") ?? 0,
            SwapFree = kernel.TryReadVariable("nr_swap_pages") ?? 0,
            Committed = CommittedPages(kernel),
            Reserve = kernel.TryReadVariable("totalreserve_pages") ?? 0,
            Zones = ReadZones(kernel, limits),
            OomVictims = (int?)kernel.TryReadVariable("oom_victims", 4),
            OomKills = VmEvents.TrySum(kernel, "OOM_KILL", limits),
        };
    }

    private static void Add(LinuxKernel kernel, Dictionary<string, ulong> counters, string symbol, string items, string end)
    {
        if (!kernel.Image.Types.TryEnumerator(items, end, out long count) || count is < 1 or > 1024)
            throw new KernelShapeException($"this kernel's types have no {items}");
        byte[] raw = kernel.ReadBytes(kernel.Symbol(symbol), (int)count * 8, symbol);
        foreach ((string name, long index) in kernel.Image.Types.Enumerators(items))
        {
            if (index >= 0 && index < count)
                counters[name] = (ulong)Math.Max(0, BitConverter.ToInt64(raw, (int)index * 8));
        }
    }

    private static ulong? CommittedPages(LinuxKernel kernel) =>
        KernelReads.Try<ulong?>(() => (ulong)Math.Max(0, Cpus.CounterSum(kernel, kernel.Symbol("vm_committed_as"))), null);

    /// <summary>The zones that have pages, of every node.</summary>
    /// <exception cref="KernelShapeException">The kernel's types have none.</exception>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static List<MemoryZone> ReadZones(LinuxKernel kernel, TargetLimits limits)
    {
        var zones = new List<MemoryZone>();
        foreach ((int node, ulong data) in Nodes(kernel))
        {
            int bytes = kernel.Image.Types.SizeOf("zone");
            int count = Math.Min(kernel.ReadS32(data, "pglist_data.nr_zones"), kernel.Image.Types.Member("pglist_data.node_zones").BitSize / 8 / Math.Max(1, bytes));
            for (int i = 0; i < count && zones.Count < limits.MaxChain; i++)
            {
                ulong zone = unchecked(data + kernel.Offset("pglist_data.node_zones") + ((ulong)i * (ulong)bytes));
                ulong present = kernel.Read(zone, "zone.present_pages");
                if (present != 0)
                    zones.Add(ReadZone(kernel, zone, node, present));
            }
        }

        return zones;
    }

    private static MemoryZone ReadZone(LinuxKernel kernel, ulong zone, int node, ulong present)
    {
        // zone._watermark with a boost on top since 5.0 (commit 1c30844d2dfe, "mm: reclaim small amounts of memory when an external fragmentation event occurs").
        string marks = kernel.HasMember("zone._watermark") ? "zone._watermark" : "zone.watermark";
        ulong boost = kernel.ReadIfPresent(zone, "zone.watermark_boost") ?? 0;
        ulong Mark(int i) => unchecked(kernel.Read(zone, $"{marks}[{i}]") + boost);
        long index = kernel.Image.Types.TryEnumerator("zone_stat_item", "NR_FREE_PAGES", out long at) && at is >= 0 and < 256 ? at : 0;
        long free = kernel.ReadSigned(zone, $"zone.vm_stat[{index}].counter");
        return new MemoryZone(
            zone, node, kernel.ReadString(kernel.Read(zone, "zone.name"), "zone.name", 64), kernel.Read(zone, "zone.zone_start_pfn"), kernel.Read(zone, "zone.spanned_pages"), present,
            kernel.ReadFirst(zone, "zone.managed_pages.counter", "zone.managed_pages"), (ulong)Math.Max(0, free), Mark(0), Mark(1), Mark(2));
    }

    /// <summary>The struct pglist_data of every node: node_data[] with CONFIG_NUMA, else the one contig_page_data.</summary>
    /// <exception cref="KernelShapeException">The kernel has neither.</exception>
    /// <exception cref="GuestMemoryException">The table can't be read.</exception>
    public static IEnumerable<(int Node, ulong Data)> Nodes(LinuxKernel kernel)
    {
        if (!kernel.Image.TryFindSymbol("node_data", out ulong table))
        {
            yield return (0, kernel.Symbol("contig_page_data"));
            yield break;
        }

        ulong nodes = Math.Min(kernel.TryReadVariable("nr_node_ids", 4) ?? 1, 1024);
        for (ulong node = 0; node < nodes; node++)
        {
            ulong data = kernel.ReadU64(unchecked(table + (node * 8)), "node_data");
            if (data != 0)
                yield return ((int)node, data);
        }
    }
}

/// <summary>Events that each CPU counts for itself (vm_event_states, enum vm_event_item): /proc/vmstat.</summary>
public static class VmEvents
{
    /// <summary>An event's count over all CPUs.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="name">As enum vm_event_item spells it: OOM_KILL, PGMAJFAULT, PSWPOUT, …</param>
    /// <param name="limits">Ceilings.</param>
    /// <returns>Null where this kernel does not count it, or a CPU's part can't be read.</returns>
    public static ulong? TrySum(LinuxKernel kernel, string name, TargetLimits limits)
    {
        if (!kernel.Image.Types.TryEnumerator("vm_event_item", name, out long index) || index is < 0 or > 4096 || !kernel.Image.TryFindPerCpuSymbol("vm_event_states", out ulong offset))
            return null;
        ulong sum = 0;
        IReadOnlyList<ulong> bases = kernel.Image.Meta.PerCpuBases;
        for (int cpu = 0; cpu < bases.Count && cpu < limits.MaxCpus; cpu++)
        {
            if (!kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(bases[cpu] + offset + ((ulong)index * 8))), out ulong part, out _))
                return null;
            sum = unchecked(sum + part);
        }

        return sum;
    }
}
