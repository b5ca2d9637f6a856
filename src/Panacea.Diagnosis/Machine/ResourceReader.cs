using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>Memory, mounts and block devices for a report.</summary>
internal sealed class ResourceReader(LinuxKernel kernel, TargetLimits limits)
{
    /// <summary>Slab caches that a report shows.</summary>
    public const int MaxSlabs = 15;

    /// <summary>Mounts that a report shows.</summary>
    public const int MaxMounts = 200;

    /// <summary>Requests that a report shows.</summary>
    public const int MaxRequests = 64;

    private const ulong KibPerPage = 4;

    private const long NsPerMs = 1_000_000;

    public MemoryFacts Memory(Sections sections)
    {
        MemorySummary m = MemorySummary.Read(kernel, limits);
        ulong slab = unchecked(m.Counter("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE") + m.Counter("NR_SLAB_UNRECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE"));
        IReadOnlyList<SlabReport> slabs = sections.Read("slab caches", () => SlabCaches.Largest(kernel, MaxSlabs, limits, out _).Select(u => new SlabReport(
            u.Cache.Name, Signed(u.Bytes >> 10), Signed(u.Active), Signed(u.Objects), (int)Math.Min(u.Cache.ObjectSize, int.MaxValue))).ToList()) ?? [];
        return new MemoryFacts(
            Kib(m.Total), Kib(m.Free), Kib(m.Available), Kib(m.Counter("NR_ANON_MAPPED")), Kib(m.Cached), Kib(m.Counter("NR_FILE_DIRTY")), Kib(m.Counter("NR_WRITEBACK")), Kib(slab),
            Kib(m.Counter("NR_PAGETABLE")), Signed(m.Counter("NR_KERNEL_STACK_KB")), Kib(m.SwapTotal), Kib(m.SwapFree), m.Committed is { } committed ? Kib(committed) : null,
            m.OomKills is { } kills ? Signed(kills) : null, m.OomVictims, m.IsBelowMinimum,
            [.. m.Zones.Where(z => z.Managed > 0).Select(z => new ZoneReport(z.Node, z.Name, Kib(z.Free), Kib(z.Min), Kib(z.Low), Kib(z.Managed)))], slabs);
    }

    /// <summary>Mounts of the first process.</summary>
    public IReadOnlyList<MountReport> Mounts(IReadOnlyList<LinuxTask> tasks)
    {
        LinuxTask init = tasks.FirstOrDefault(t => t.Pid == 1) ?? throw new KernelShapeException("there is no first process whose mounts could be listed");
        ulong space = Kernel.Subsystems.Mounts.NamespaceOf(kernel, init);
        HashSet<ulong> frozen = Sections.Try(() => Kernel.Subsystems.Mounts.SuperBlocks(kernel, limits).Where(s => s.Frozen != 0).Select(s => s.Address).ToHashSet(), []);
        return space == 0 ? [] : [.. Kernel.Subsystems.Mounts.Enumerate(kernel, space, limits).Take(MaxMounts)
            .Select(m => new MountReport(m.Device, m.Point, m.Type, m.Options, frozen.Contains(m.SuperBlock)))];
    }

    public BlockFacts Block(KernelClock? clock)
    {
        var broken = new List<string>();
        var requests = new List<BlockRequestReport>();
        List<BlockDevice> disks = [.. BlockDevices.Enumerate(kernel, limits).Where(d => d.Partition == 0)];
        foreach (BlockDevice disk in disks)
        {
            try
            {
                foreach (BlockRequest r in BlockDevices.InFlight(kernel, disk, limits))
                {
                    // Times are of the monotonic clock as of the request, the clock here is as of the last tick.
                    long? age = clock?.MonotonicNs is { } now && (r.IssuedNs != 0 ? r.IssuedNs : r.StartNs) is > 0 and var since ? Math.Max(0, unchecked((long)(now - since)) / NsPerMs) : null;
                    requests.Add(new BlockRequestReport(disk.Name, r.Operation, Signed(r.Sector), r.Bytes, age, r.IsComplete));
                }
            }
            catch (Exception e) when (ReportInputs.IsReadFailure(e))
            {
                broken.Add($"{disk.Name}: {e.Message}");
            }
        }

        return new BlockFacts([.. disks.Select(d => d.Name)], [.. requests.OrderByDescending(r => r.AgeMs ?? -1).Take(MaxRequests)], broken);
    }

    private static long Kib(ulong pages) => Signed(unchecked(pages * KibPerPage));

    /// <summary>Numbers of the guest: one past what JSON's integers hold was made up.</summary>
    private static long Signed(ulong value) => (long)Math.Min(value, long.MaxValue);
}
