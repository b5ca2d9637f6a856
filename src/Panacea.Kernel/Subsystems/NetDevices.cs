using System.Net;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a network device counted: /proc/net/dev.</summary>
/// <param name="ReceivedPackets">Packets in.</param>
/// <param name="ReceivedBytes">Bytes in.</param>
/// <param name="SentPackets">Packets out.</param>
/// <param name="SentBytes">Bytes out.</param>
public sealed record NetStatistics(ulong ReceivedPackets, ulong ReceivedBytes, ulong SentPackets, ulong SentBytes);

/// <summary>An address of a network device.</summary>
/// <param name="Address">IPv4 or IPv6.</param>
/// <param name="PrefixLength">Bits of its network.</param>
public sealed record NetAddress(IPAddress Address, int PrefixLength)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Address}/{PrefixLength}";
}

/// <summary>A network device.</summary>
public sealed record NetDevice
{
    /// <summary>Guest-virtual address of its net_device.</summary>
    public required ulong Address { get; init; }

    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>ifindex.</summary>
    public required int Index { get; init; }

    /// <summary>Largest packet in bytes.</summary>
    public required uint Mtu { get; init; }

    /// <summary>IFF_* flags as they are kept (net_device.flags); IFF_RUNNING is not among them, it follows from the state.</summary>
    public required uint Flags { get; init; }

    /// <summary>IFF_UP.</summary>
    public bool IsUp => (Flags & 1) != 0;

    /// <summary>It has a carrier.</summary>
    public required bool HasCarrier { get; init; }

    /// <summary>RFC 2863 state: unknown, notpresent, down, lowerlayerdown, testing, dormant, up.</summary>
    public required string OperationalState { get; init; }

    /// <summary>Hardware address, <c>52:54:00:12:34:56</c>; empty where it has none.</summary>
    public required string HardwareAddress { get; init; }

    /// <summary>IPv4 addresses, then IPv6 ones.</summary>
    public required IReadOnlyList<NetAddress> Addresses { get; init; }

    /// <summary>Counters; null where the driver keeps them in structures of its own that are not known.</summary>
    public required NetStatistics? Statistics { get; init; }

    /// <summary>Symbol of its net_device_ops: its driver.</summary>
    public required string? Operations { get; init; }
}

/// <summary>Network devices of a namespace (include/linux/netdevice.h).</summary>
public static class NetDevices
{
    /// <summary>__LINK_STATE_NOCARRIER in net_device.state.</summary>
    private const int NoCarrier = 2;

    /// <summary>MAX_ADDR_LEN.</summary>
    private const int MaxHardwareAddress = 32;

    /// <summary>Addresses of one device: more are not read.</summary>
    private const int MaxAddresses = 4096;

    private static readonly string[] States = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];

    /// <summary>The network namespace of a task, or the first one for a task that has given up its namespaces.</summary>
    public static ulong NamespaceOf(LinuxKernel kernel, LinuxTask task) =>
        kernel.Read(task.Address, "task_struct.nsproxy") is var proxy && proxy != 0 ? kernel.Read(proxy, "nsproxy.net_ns") : kernel.Symbol("init_net");

    /// <summary>All devices of a namespace, in its order.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="net">Guest-virtual address of the struct net; <c>init_net</c> for the first.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not hold together, or the kernel lacks the types.</exception>
    public static List<NetDevice> Enumerate(LinuxKernel kernel, ulong net, TargetLimits limits) =>
        [.. Lists.Entries(kernel, unchecked(net + kernel.Offset("net.dev_base_head")), "net_device.dev_list", limits).Select(d => Read(kernel, d, limits))];

    private static NetDevice Read(LinuxKernel kernel, ulong device, TargetLimits limits)
    {
        ulong state = kernel.Read(device, "net_device.operstate"), operations = kernel.Read(device, "net_device.netdev_ops");
        var addresses = new List<NetAddress>();
        addresses.AddRange(KernelReads.Try(() => ReadIPv4(kernel, device, limits), []));
        addresses.AddRange(KernelReads.Try(() => ReadIPv6(kernel, device, limits), []));
        string? driver = kernel.Image.Symbolize(operations) is { Offset: 0 } symbol ? symbol.Name : null;
        return new NetDevice
        {
            Address = device,
            Name = kernel.ReadText(device, "net_device.name"),
            Index = kernel.ReadS32(device, "net_device.ifindex"),
            Mtu = kernel.ReadU32(device, "net_device.mtu"),
            Flags = kernel.ReadU32(device, "net_device.flags"),
            HasCarrier = (kernel.Read(device, "net_device.state") >> NoCarrier & 1) == 0,
            OperationalState = state < (ulong)States.Length ? States[state] : "unknown",
            HardwareAddress = HardwareAddress(kernel, device),
            Addresses = addresses,
            Statistics = KernelReads.Try(() => ReadStatistics(kernel, device, operations, driver), null),
            Operations = driver,
        };
    }

    private static string HardwareAddress(LinuxKernel kernel, ulong device)
    {
        int length = (int)Math.Min(kernel.Read(device, "net_device.addr_len"), MaxHardwareAddress);
        ulong address = kernel.Read(device, "net_device.dev_addr");
        return length == 0 || address == 0 ? "" : string.Join(':', kernel.ReadBytes(address, length, "net_device.dev_addr").Select(b => b.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
    }

    private static List<NetAddress> ReadIPv4(LinuxKernel kernel, ulong device, TargetLimits limits)
    {
        ulong inDevice = kernel.Read(device, "net_device.ip_ptr");
        return inDevice == 0 ? [] : [.. Lists.Chain(kernel, kernel.Read(inDevice, "in_device.ifa_list"), kernel.Offset("in_ifaddr.ifa_next"), "in_device.ifa_list", limits).Take(MaxAddresses)
            .Select(a => new NetAddress(new IPAddress((long)kernel.Read(a, "in_ifaddr.ifa_local")), (int)kernel.Read(a, "in_ifaddr.ifa_prefixlen")))];
    }

    private static List<NetAddress> ReadIPv6(LinuxKernel kernel, ulong device, TargetLimits limits)
    {
        ulong inDevice = kernel.Read(device, "net_device.ip6_ptr");
        return inDevice == 0 || !kernel.HasMember("inet6_ifaddr.if_list") ? [] : [.. Lists.Entries(kernel, unchecked(inDevice + kernel.Offset("inet6_dev.addr_list")), "inet6_ifaddr.if_list", limits).Take(MaxAddresses)
            .Select(a => new NetAddress(new IPAddress(kernel.ReadBytes(unchecked(a + kernel.Offset("inet6_ifaddr.addr")), 16, "inet6_ifaddr.addr")), (int)kernel.ReadU32(a, "inet6_ifaddr.prefix_len")))];
    }

    /// <summary>dev_get_stats (net/core/dev.c): the driver's ndo_get_stats64, else net_device.stats, which the core fills where drivers say so by pcpu_stat_type.</summary>
    private static NetStatistics? ReadStatistics(LinuxKernel kernel, ulong device, ulong operations, string? driver)
    {
        ulong getter = kernel.Read(operations, "net_device_ops.ndo_get_stats64");
        string? name = getter == 0 ? null : kernel.Image.Symbolize(getter)?.Name;
        long kind = (long)(kernel.ReadIfPresent(device, "net_device.pcpu_stat_type") ?? 0);
        if (driver == "loopback_ops" || kind == 1)
        {
            ulong packets = SumPerCpu(kernel, device, "net_device.lstats", "pcpu_lstats.packets"), bytes = SumPerCpu(kernel, device, "net_device.lstats", "pcpu_lstats.bytes");
            return new NetStatistics(packets, bytes, packets, bytes);
        }

        if (kind is 2 or 3 || name is "dev_get_tstats64")
        {
            (string member, string type) = kind == 3 ? ("net_device.dstats", "pcpu_dstats") : ("net_device.tstats", "pcpu_sw_netstats");
            ulong Sum(string counter) => SumPerCpu(kernel, device, member, $"{type}.{counter}");
            return new NetStatistics(Sum("rx_packets"), Sum("rx_bytes"), Sum("tx_packets"), Sum("tx_bytes"));
        }

        if (name == "virtnet_stats")
            return VirtioNet(kernel, device);
        if (getter != 0)
            return null;
        ulong Own(string counter) => kernel.Read(device, $"net_device.stats.{counter}");
        return new NetStatistics(Own("rx_packets"), Own("rx_bytes"), Own("tx_packets"), Own("tx_bytes"));
    }

    /// <summary>virtio_net counts per queue, in structures that only the module's own types describe (drivers/net/virtio_net.c, virtnet_stats).</summary>
    private static NetStatistics? VirtioNet(LinuxKernel kernel, ulong device)
    {
        if (!kernel.Image.TryTypesFor("virtio_net", out TypeCatalog types) && !kernel.HasMember("virtnet_info.rq"))
            return null;
        types = types.IsPresent ? types : kernel.Image.Types;

        // netdev_priv: a member of its own since 6.11, else behind the net_device, aligned to 32 bytes (NETDEV_ALIGN).
        ulong info = unchecked(device + (kernel.HasMember("net_device.priv") ? kernel.Offset("net_device.priv") : ((ulong)kernel.Image.Types.SizeOf("net_device") + 31) & ~31UL));
        ulong At(ulong address, string path) => kernel.ReadInteger(unchecked(address + (ulong)types.Member(path).ByteOffset), Math.Min(8, types.Member(path).BitSize / 8), path);
        ulong pairs = Math.Min(At(info, "virtnet_info.max_queue_pairs") & 0xffff, 1024);
        ulong Sum(string queues, string type, string counter)
        {
            ulong first = At(info, queues), sum = 0;
            for (ulong i = 0; i < pairs; i++)
                sum = unchecked(sum + At(unchecked(first + (i * (ulong)types.SizeOf(type))), $"{type}.stats.{counter}"));
            return sum;
        }

        return new NetStatistics(
            Sum("virtnet_info.rq", "receive_queue", "packets"), Sum("virtnet_info.rq", "receive_queue", "bytes"),
            Sum("virtnet_info.sq", "send_queue", "packets"), Sum("virtnet_info.sq", "send_queue", "bytes"));
    }

    private static ulong SumPerCpu(LinuxKernel kernel, ulong device, string pointer, string counter)
    {
        ulong parts = kernel.Read(device, pointer), sum = 0;
        foreach (int cpu in Cpus.Possible(kernel))
            sum = unchecked(sum + kernel.Read(Cpus.At(kernel, parts, cpu), counter));
        return sum;
    }
}
