namespace Panacea.Cli.Services.Inspection;

/// <summary>Memory in numbers; pages are of 4 KiB.</summary>
/// <param name="Lines">What has how much, in the order in which they are printed.</param>
/// <param name="Zones">Zones with pages.</param>
/// <param name="OomKills">Processes killed for want of memory since boot; null where unknown.</param>
/// <param name="OomVictims">Tasks being killed for want of memory now; null where unknown.</param>
internal sealed record MemoryAnswer(IReadOnlyList<MemoryLine> Lines, IReadOnlyList<ZoneRow> Zones, long? OomKills, int? OomVictims);

/// <summary>A line of the memory summary.</summary>
/// <param name="Name">What.</param>
/// <param name="Pages">How much.</param>
/// <param name="Percent">Of what <paramref name="Of"/> names; null for a total.</param>
/// <param name="Of">TOTAL MEM or TOTAL SWAP; null for a total.</param>
internal sealed record MemoryLine(string Name, long Pages, double? Percent, string? Of);

/// <summary>A zone, in pages.</summary>
/// <param name="Node">NUMA node.</param>
/// <param name="Name">Name.</param>
/// <param name="Address">struct zone.</param>
/// <param name="Free">Free.</param>
/// <param name="Min">Watermark min.</param>
/// <param name="Low">Watermark low.</param>
/// <param name="High">Watermark high.</param>
/// <param name="Spanned">From its first to its last.</param>
/// <param name="Present">That exist.</param>
/// <param name="Managed">That the buddy allocator has.</param>
internal sealed record ZoneRow(int Node, string Name, ulong Address, long Free, long Min, long Low, long High, long Spanned, long Present, long Managed);

/// <summary>A slab cache.</summary>
/// <param name="Cache">struct kmem_cache.</param>
/// <param name="Name">Name.</param>
/// <param name="ObjectSize">Bytes of an object that its user may touch.</param>
/// <param name="Size">Bytes from one object to the next.</param>
/// <param name="Allocated">Objects in use, those on the free lists of CPUs among them; null where its lists can't be read.</param>
/// <param name="Total">Objects; null where its lists can't be read.</param>
/// <param name="Slabs">Slabs; null where its lists can't be read.</param>
/// <param name="SlabKib">KiB of a slab.</param>
/// <param name="Kib">KiB of all slabs; null where its lists can't be read.</param>
/// <param name="Shared">Caches that are this one.</param>
/// <param name="Flags">Flags without SLAB_.</param>
internal sealed record SlabRow(
    ulong Cache, string Name, long ObjectSize, long Size, long? Allocated, long? Total, long? Slabs, long SlabKib, long? Kib, int Shared, IReadOnlyList<string> Flags);

/// <summary>A mount.</summary>
/// <param name="Mount">struct mount.</param>
/// <param name="Superblk">struct super_block.</param>
/// <param name="Type">File system.</param>
/// <param name="Devname">What was mounted.</param>
/// <param name="Dirname">Where.</param>
/// <param name="Root">The directory of the file system that is visible there.</param>
/// <param name="Options">Options that every file system has.</param>
internal sealed record MountRow(ulong Mount, ulong Superblk, string Type, string Devname, string Dirname, string Root, IReadOnlyList<string> Options);

/// <summary>Network.</summary>
/// <param name="Devices">Devices of the first namespace.</param>
/// <param name="Sockets">TCP sockets of all namespaces, listening ones first.</param>
internal sealed record NetAnswer(IReadOnlyList<NetDeviceRow> Devices, IReadOnlyList<SocketRow> Sockets);

/// <summary>A network device.</summary>
/// <param name="NetDevice">struct net_device.</param>
/// <param name="Name">Name.</param>
/// <param name="Index">ifindex.</param>
/// <param name="Up">It is up.</param>
/// <param name="Carrier">It has a carrier.</param>
/// <param name="Mtu">Largest packet.</param>
/// <param name="HardwareAddress">Hardware address; empty where it has none.</param>
/// <param name="Addresses">IP addresses with prefix length.</param>
/// <param name="ReceivedPackets">Packets in; null where unknown.</param>
/// <param name="ReceivedBytes">Bytes in.</param>
/// <param name="SentPackets">Packets out.</param>
/// <param name="SentBytes">Bytes out.</param>
/// <param name="Driver">Symbol of its net_device_ops; null where unknown.</param>
internal sealed record NetDeviceRow(
    ulong NetDevice, string Name, int Index, bool Up, bool Carrier, long Mtu, string HardwareAddress, IReadOnlyList<string> Addresses,
    long? ReceivedPackets, long? ReceivedBytes, long? SentPackets, long? SentBytes, string? Driver);

/// <summary>A socket.</summary>
/// <param name="Sock">struct sock.</param>
/// <param name="Family">unix, inet, inet6, netlink, ….</param>
/// <param name="Type">stream, dgram, …; empty where only the socket's head is there.</param>
/// <param name="State">TCP state, which others use too.</param>
/// <param name="Local">Own address.</param>
/// <param name="Remote">The peer's.</param>
/// <param name="ReceiveQueue">Bytes received and not read; of a listener, connections not accepted.</param>
/// <param name="SendQueue">Bytes sent and not acknowledged; of a listener, connections that may wait.</param>
internal sealed record SocketRow(ulong Sock, string Family, string Type, string State, string Local, string Remote, long ReceiveQueue, long SendQueue);
