using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using KernelMounts = Panacea.Kernel.Subsystems.Mounts;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Memory in numbers, slab caches, mounts, network and devices of a kernel.</summary>
internal sealed class ResourceInspection(KernelLook look) : IResourceInspection
{
    private const ulong KibPerPage = 4;

    /// <summary>MINORBITS (include/linux/kdev_t.h).</summary>
    private const int MinorBits = 20;

    public MemoryAnswer Memory()
    {
        MemorySummary m = look.Settled(kernel => MemorySummary.Read(kernel, KernelLook.Limits));
        ulong slab = unchecked(m.Counter("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE") + m.Counter("NR_SLAB_UNRECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE"));
        var lines = new List<MemoryLine> { new("TOTAL MEM", (long)m.Total, null, null) };
        void Add(string name, ulong pages, ulong total, string of) => lines.Add(new MemoryLine(
            name, unchecked((long)pages), total == 0 ? null : Math.Round(100.0 * pages / total, 1), of));
        Add("FREE", m.Free, m.Total, "TOTAL MEM");
        Add("USED", m.Total > m.Free ? m.Total - m.Free : 0, m.Total, "TOTAL MEM");
        Add("AVAILABLE", m.Available, m.Total, "TOTAL MEM");
        Add("SHARED", m.Counter("NR_SHMEM"), m.Total, "TOTAL MEM");
        Add("CACHED", m.Cached, m.Total, "TOTAL MEM");
        Add("ANONYMOUS", m.Counter("NR_ANON_MAPPED"), m.Total, "TOTAL MEM");
        Add("SLAB", slab, m.Total, "TOTAL MEM");
        Add("PAGE TABLES", m.Counter("NR_PAGETABLE"), m.Total, "TOTAL MEM");
        Add("KERNEL STACK", m.Counter("NR_KERNEL_STACK_KB") / KibPerPage, m.Total, "TOTAL MEM");
        Add("DIRTY", m.Counter("NR_FILE_DIRTY"), m.Total, "TOTAL MEM");
        Add("WRITEBACK", m.Counter("NR_WRITEBACK"), m.Total, "TOTAL MEM");
        lines.Add(new MemoryLine("TOTAL SWAP", (long)m.SwapTotal, null, null));
        Add("SWAP USED", m.SwapTotal > m.SwapFree ? m.SwapTotal - m.SwapFree : 0, m.SwapTotal, "TOTAL SWAP");
        Add("SWAP FREE", m.SwapFree, m.SwapTotal, "TOTAL SWAP");
        if (m.Committed is { } committed)
            Add("COMMITTED", committed, m.Total, "TOTAL MEM");
        return new MemoryAnswer(
            lines, [.. m.Zones.Select(z => new ZoneRow(
                z.Node, z.Name, z.Address, (long)z.Free, (long)z.Min, (long)z.Low, (long)z.High, (long)z.Spanned, (long)z.Present, (long)z.Managed))],
            (long?)m.OomKills, m.OomVictims);
    }

    public IReadOnlyList<SlabRow> Slabs() => look.Settled(kernel =>
    {
        var rows = new List<SlabRow>();
        foreach (SlabCache cache in SlabCaches.Enumerate(kernel, KernelLook.Limits))
        {
            look.Cancel.ThrowIfCancellationRequested();
            SlabUsage? usage = KernelLook.Try<SlabUsage?>(() => SlabCaches.UsageOf(kernel, cache, KernelLook.Limits), null);
            rows.Add(new SlabRow(
                cache.Address, cache.Name, cache.ObjectSize, cache.Size, unchecked((long?)usage?.Active), unchecked((long?)usage?.Objects), unchecked((long?)usage?.Slabs),
                (long)KibPerPage << cache.Order, usage is null ? null : unchecked((long)(usage.Bytes >> 10)), cache.References, cache.Flags));
        }

        return (IReadOnlyList<SlabRow>)[.. rows.OrderByDescending(r => r.Kib ?? 0).ThenBy(r => r.Name, StringComparer.Ordinal)];
    });

    public IReadOnlyList<MountRow>? Mounts(int pid) => look.Settled(kernel =>
    {
        if (look.TaskOf(kernel, pid) is not { } task)
            return null;
        ulong space = KernelMounts.NamespaceOf(kernel, task);
        return space == 0 ? [] : (IReadOnlyList<MountRow>)[.. KernelMounts.Enumerate(kernel, space, KernelLook.Limits)
            .Select(m => new MountRow(m.Address, m.SuperBlock, m.Type, m.Device, m.Point, m.RootPath, m.Options))];
    });

    public NetAnswer Net() => look.Settled(kernel => new NetAnswer(
        [.. NetDevices.Enumerate(kernel, kernel.Symbol("init_net"), KernelLook.Limits).Select(Device)],
        [.. Sockets.TcpListeners(kernel, KernelLook.Limits).Concat(Sockets.TcpConnections(kernel, KernelLook.Limits)).Select(Socket)]));

    public DevicesAnswer Devices() => look.Settled(kernel => new DevicesAnswer(
        [.. CharacterDriver.Enumerate(kernel, KernelLook.Limits).Select(d => new CharacterDriverRow(d.Major, d.FirstMinor, d.Minors, d.Name, Address(d.Device), Operations(d.Operations)))],
        [.. BlockDriver.Enumerate(kernel, KernelLook.Limits).Select(d => new BlockDriverRow(d.Major, d.Name, Address(d.Disk), Operations(d.Operations)))],
        [.. BlockDevices.Enumerate(kernel, KernelLook.Limits).Where(d => d.Partition == 0).Select(d => Disk(kernel, d))]));

    private DiskRow Disk(LinuxKernel kernel, BlockDevice disk)
    {
        look.Cancel.ThrowIfCancellationRequested();
        (long Reads, long Writes)? load = KernelLook.Try(() => BlockDevices.Load(kernel, disk, KernelLook.Limits), null);
        return new DiskRow(disk.Device >> MinorBits, disk.Device & ((1u << MinorBits) - 1), disk.Disk, disk.Name, disk.Queue, load?.Reads, load?.Writes);
    }

    private static ulong? Address(ulong address) => address == 0 ? null : address;

    private string? Operations(ulong address) => address == 0 ? null : look.Image.Place(address);

    /// <summary>A socket as a row.</summary>
    public static SocketRow Socket(LinuxSocket s) =>
        new(s.Address, s.Family, s.Type, s.State, s.Local, s.Remote, unchecked((long)s.ReceiveQueue), unchecked((long)s.SendQueue));

    private static NetDeviceRow Device(NetDevice d) => new(
        d.Address, d.Name, d.Index, d.IsUp, d.HasCarrier, d.Mtu, d.HardwareAddress, [.. d.Addresses.Select(a => a.ToString())],
        unchecked((long?)d.Statistics?.ReceivedPackets), unchecked((long?)d.Statistics?.ReceivedBytes), unchecked((long?)d.Statistics?.SentPackets),
        unchecked((long?)d.Statistics?.SentBytes), d.Operations);
}
