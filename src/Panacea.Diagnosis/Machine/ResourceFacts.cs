namespace Panacea.Diagnosis.Machine;

/// <summary>A memory zone; KiB.</summary>
/// <param name="Node">NUMA node.</param>
/// <param name="Name">DMA, DMA32, Normal, …</param>
/// <param name="FreeKib">Free.</param>
/// <param name="MinKib">Watermark below which only the kernel itself may allocate.</param>
/// <param name="LowKib">Watermark at which kswapd wakes.</param>
/// <param name="ManagedKib">All that the page allocator has.</param>
public sealed record ZoneReport(int Node, string Name, long FreeKib, long MinKib, long LowKib, long ManagedKib);

/// <summary>A slab cache by what it holds.</summary>
/// <param name="Name">Name.</param>
/// <param name="Kib">Memory of all its slabs, KiB.</param>
/// <param name="ActiveObjects">Objects in use, those on free lists of CPUs counted in, as in /proc/slabinfo.</param>
/// <param name="Objects">Objects in all.</param>
/// <param name="ObjectBytes">Size of one.</param>
public sealed record SlabReport(string Name, long Kib, long ActiveObjects, long Objects, int ObjectBytes);

/// <summary>How much memory there is and what has it; KiB, by the rules of /proc/meminfo.</summary>
/// <param name="TotalKib">MemTotal.</param>
/// <param name="FreeKib">MemFree.</param>
/// <param name="AvailableKib">MemAvailable.</param>
/// <param name="AnonymousKib">AnonPages.</param>
/// <param name="CachedKib">Page cache without swap cache.</param>
/// <param name="DirtyKib">Dirty.</param>
/// <param name="WritebackKib">Writeback.</param>
/// <param name="SlabKib">Slab.</param>
/// <param name="PageTablesKib">PageTables.</param>
/// <param name="KernelStacksKib">KernelStack.</param>
/// <param name="SwapTotalKib">SwapTotal.</param>
/// <param name="SwapFreeKib">SwapFree.</param>
/// <param name="CommittedKib">Committed_AS; null where the kernel's counter could not be read.</param>
/// <param name="OomKills">Tasks that the OOM killer has killed since boot; null where not counted.</param>
/// <param name="OomVictims">Tasks that it has killed and that have not died yet; null where unreadable.</param>
/// <param name="IsBelowMinimum">A zone is below its minimum watermark: allocations that may not wait fail there.</param>
/// <param name="Zones">Zones that have pages.</param>
/// <param name="Slabs">The largest slab caches; empty where they could not be read.</param>
public sealed record MemoryFacts(
    long TotalKib, long FreeKib, long AvailableKib, long AnonymousKib, long CachedKib, long DirtyKib, long WritebackKib, long SlabKib, long PageTablesKib, long KernelStacksKib,
    long SwapTotalKib, long SwapFreeKib, long? CommittedKib, long? OomKills, int? OomVictims, bool IsBelowMinimum, IReadOnlyList<ZoneReport> Zones, IReadOnlyList<SlabReport> Slabs);

/// <summary>A mounted file system.</summary>
/// <param name="Device">What is mounted.</param>
/// <param name="Point">Where.</param>
/// <param name="Type">File system type.</param>
/// <param name="Options">Options that every file system has.</param>
/// <param name="IsFrozen">It is frozen or being frozen: whoever writes waits.</param>
public sealed record MountReport(string Device, string Point, string Type, IReadOnlyList<string> Options, bool IsFrozen);

/// <summary>A request that a block driver has not completed.</summary>
/// <param name="Disk">Disk.</param>
/// <param name="Operation"><c>READ</c>, <c>WRITE</c>, <c>FLUSH</c>, …</param>
/// <param name="Sector">First sector of 512 bytes.</param>
/// <param name="Bytes">Bytes left.</param>
/// <param name="AgeMs">Milliseconds since the driver got it; null where the queue keeps no times.</param>
/// <param name="IsComplete">The device has answered; its completion is under way.</param>
public sealed record BlockRequestReport(string Disk, string Operation, long Sector, long Bytes, long? AgeMs, bool IsComplete);

/// <summary>Disks and what is in flight on them.</summary>
/// <param name="Disks">Whole disks, by name.</param>
/// <param name="InFlight">Requests that drivers hold, the oldest first; at most <see cref="ResourceReader.MaxRequests"/>.</param>
/// <param name="Broken">Disks whose requests could not be read, in sentences.</param>
public sealed record BlockFacts(IReadOnlyList<string> Disks, IReadOnlyList<BlockRequestReport> InFlight, IReadOnlyList<string> Broken);
