using System.Buffers.Binary;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class NetAndEnvironmentTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    private static LinuxTask Victim(KernelGuest g) => Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address);

    [Fact]
    public void Network_devices_have_state_addresses_and_counters()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong second = k.New("in_ifaddr", ("ifa_local", 0x0101_a8c0), ("ifa_prefixlen", 16)), first = k.New("in_ifaddr", ("ifa_next", second), ("ifa_local", 0x0f02_000a), ("ifa_prefixlen", 24));
        ulong hardware = k.Allocate(8);
        k.Write(hardware, 0x52, 0x54, 0, 0x12, 0x34, 0x56);
        ulong device = k.New("net_device",
            ("flags", 0x1003), ("ifindex", 2), ("mtu", 1500), ("operstate", 6), ("addr_len", 6), ("dev_addr", hardware), ("ip_ptr", k.New("in_device", ("ifa_list", first))),
            ("netdev_ops", k.New("net_device_ops")), ("stats.rx_packets", 10), ("stats.rx_bytes", 1000), ("stats.tx_packets", 20), ("stats.tx_bytes", 2000), ("state", 4));
        k.WriteText(device + k.Types.Offset("net_device.name"), "eth0");
        k.List(k["init_net"] + k.Types.Offset("net.dev_base_head"), "net_device.dev_list", device);
        NetDevice found = Assert.Single(NetDevices.Enumerate(g.Kernel, k["init_net"], Few));
        Assert.Equal(("eth0", 2, 1500u, true, false, "up", "52:54:00:12:34:56"), (found.Name, found.Index, found.Mtu, found.IsUp, found.HasCarrier, found.OperationalState, found.HardwareAddress));
        Assert.Equal(["10.0.2.15/24", "192.168.1.1/16"], found.Addresses.Select(a => a.ToString()));
        Assert.Equal(new NetStatistics(10, 1000, 20, 2000), found.Statistics);

        // A driver that counts elsewhere: unknown is not zero. A chain of addresses in a circle costs the addresses.
        k.Put(device, "net_device.netdev_ops", k.New("net_device_ops", ("ndo_get_stats64", k["ct_int"])));
        k.Put(second, "in_ifaddr.ifa_next", first);
        found = Assert.Single(NetDevices.Enumerate(g.Kernel, k["init_net"], Few));
        Assert.Null(found.Statistics);
        Assert.Empty(found.Addresses);
    }

    [Fact]
    public void Sockets_have_families_states_and_ends()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong connected = k.New("sock",
            ("__sk_common.skc_family", 2), ("__sk_common.skc_state", 1), ("__sk_common.skc_rcv_saddr", 0x0f02_000a), ("__sk_common.skc_num", 6379), ("__sk_common.skc_daddr", 0x0202_000a),
            ("__sk_common.skc_dport", BinaryPrimitives.ReverseEndianness((ushort)40000)), ("sk_type", 1), ("sk_protocol", 6), ("sk_backlog.rmem_alloc", 5), ("sk_wmem_queued", 7));
        LinuxSocket socket = Sockets.Read(g.Kernel, connected);
        Assert.Equal(("inet", "stream", 6, "ESTABLISHED", "10.0.2.15:6379", "10.0.2.2:40000", 5UL, 7UL),
            (socket.Family, socket.Type, socket.Protocol, socket.State, socket.Local, socket.Remote, socket.ReceiveQueue, socket.SendQueue));

        ulong six = k.New("sock", ("__sk_common.skc_family", 10), ("__sk_common.skc_state", 10), ("__sk_common.skc_num", 80), ("sk_type", 1), ("sk_ack_backlog", 3), ("sk_max_ack_backlog", 128));
        socket = Sockets.Read(g.Kernel, six);
        Assert.Equal(("inet6", "LISTEN", "[::]:80", "", 3UL, 128UL), (socket.Family, socket.State, socket.Local, socket.Remote, socket.ReceiveQueue, socket.SendQueue));

        ulong closed = k.New("inet_timewait_sock", ("__tw_common.skc_family", 2), ("__tw_common.skc_state", 6), ("__tw_common.skc_num", 80), ("tw_substate", 5));
        Assert.Equal(("FIN_WAIT2", ""), (Sockets.Read(g.Kernel, closed).State, Sockets.Read(g.Kernel, closed).Type));
        k.Put(closed, "inet_timewait_sock.tw_substate", 6);
        Assert.Equal("TIME_WAIT", Sockets.Read(g.Kernel, closed).State);

        ulong name = k.Allocate(128);
        k.Put(name, "unix_address.len", 2 + 5);
        k.Write(name + 10, [0, .. "name"u8]);
        ulong local = k.Allocate(256);
        k.Put(local, "sock_common.skc_family", 1);
        k.Put(local, "unix_sock.addr", name);
        Assert.Equal(("unix", "@name"), (Sockets.Read(g.Kernel, local).Family, Sockets.Read(g.Kernel, local).Local));
        k.Put(name, "unix_address.len", unchecked((uint)int.MinValue));
        Assert.Equal("", Sockets.Read(g.Kernel, local).Local);
    }

    [Fact]
    public void Listeners_are_found_in_the_table_and_a_chain_in_a_circle_ends()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong info = k["tcp_hashinfo"], table = k.Allocate(4 * k.Types.SizeOf("inet_listen_hashbucket")), link = k.Types.Offset("sock_common.skc_nulls_node"), head = 0;
        for (ulong i = 0; i < 4; i++)
        {
            head = table + (i * (ulong)k.Types.SizeOf("inet_listen_hashbucket")) + k.Types.Offset("inet_listen_hashbucket.nulls_head");
            k.WriteU64(head, (i << 1) | 1);
        }

        ulong sock = k.New("sock", ("__sk_common.skc_family", 2), ("__sk_common.skc_state", 10), ("__sk_common.skc_num", 22));
        k.WriteU64(head, sock + link);
        k.WriteU64(sock + link, 7);
        k.WriteU64(sock + link + 8, head);
        k.Put(info, "inet_hashinfo.lhash2", table);
        k.Put(info, "inet_hashinfo.lhash2_mask", 3);
        Assert.Equal(["0.0.0.0:22"], Sockets.TcpListeners(g.Kernel, Few).Select(s => s.Local));
        k.WriteU64(sock + link, sock + link);
        Assert.Throws<StructureException>(() => Sockets.TcpListeners(g.Kernel, Few));
        k.Put(info, "inet_hashinfo.lhash2_mask", uint.MaxValue);
        Assert.Throws<KernelShapeException>(() => Sockets.TcpListeners(g.Kernel, Few));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Tasks_have_groups_names_and_credentials(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        string up = shape == KernelShape.Linux612 ? "__parent" : "parent";
        ulong top = k.New("kernfs_node", ("name", k.Text0(""))), slice = k.New("kernfs_node", (up, top), ("name", k.Text0("system.slice"))), unit = k.New("kernfs_node", (up, slice), ("name", k.Text0("db.service")));
        ulong group = k.New("cgroup", ("kn", unit), ("self.flags", 2), ("root", k.New("cgroup_root")));
        ulong set = k.New("css_set", ("dfl_cgrp", group)), link = k.New("cgrp_cset_link", ("cgrp", group));
        k.List(set + k.Types.Offset("css_set.cgrp_links"), "cgrp_cset_link.cgrp_link", link);
        k.Put(k.Victim.Address, "task_struct.cgroups", set);
        Assert.Equal("/system.slice/db.service", TaskEnvironment.CgroupPath(g.Kernel, Victim(g)));
        Assert.Equal([new TaskCgroup(0, "", "/system.slice/db.service")], TaskEnvironment.Cgroups(g.Kernel, Victim(g), Few));
        k.Put(group, "cgroup.self.flags", 0);
        Assert.Equal("/system.slice/db.service (deleted)", TaskEnvironment.CgroupPath(g.Kernel, Victim(g)));
        k.Put(slice, $"kernfs_node.{up}", unit);
        Assert.Throws<KernelShapeException>(() => TaskEnvironment.CgroupPath(g.Kernel, Victim(g)));

        ulong uts = k.New("uts_namespace", ("ns.inum", 4026531838));
        k.WriteText(uts + k.Types.Offset("uts_namespace.name.nodename"), "inside");
        ulong cred = k.New("cred", ("uid", 1000), ("euid", 0), ("gid", 100), ("egid", 101), ("user_ns", k.New("user_namespace", ("ns.inum", 5))));
        k.Write(cred + k.Types.Offset("cred.cap_effective"), BitConverter.GetBytes(0x1_0000_0003UL));
        k.Put(k.Victim.Address, "task_struct.nsproxy", k.New("nsproxy", ("uts_ns", uts)));
        k.Put(k.Victim.Address, "task_struct.real_cred", cred);
        Assert.Equal("inside", TaskEnvironment.HostName(g.Kernel, Victim(g)));
        Assert.Equal(new TaskCredentials(1000, 0, 100, 101, 0, 0x1_0000_0003), TaskEnvironment.Credentials(g.Kernel, Victim(g)));
        Assert.Equal([("user", 5u), ("uts", 4026531838u)], TaskEnvironment.Namespaces(g.Kernel, Victim(g)).OrderBy(n => n.Key).Select(n => (n.Key, n.Value)));
    }

    [Fact]
    public void Ancestors_end_at_the_first_process_and_in_a_circle()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        k.Put(k.Victim.Address, "task_struct.real_parent", k.Init.Address);
        Assert.Equal([1], TaskEnvironment.Ancestors(g.Kernel, Victim(g)).Select(t => t.Pid));
        k.Put(k.Init.Address, "task_struct.real_parent", k.Victim.Address);
        Assert.Equal([1], TaskEnvironment.Ancestors(g.Kernel, Victim(g)).Select(t => t.Pid));
        k.Put(k.Victim.Address, "task_struct.real_parent", 8);
        Assert.Empty(TaskEnvironment.Ancestors(g.Kernel, Tasks.ReadTask(g.Kernel, k.Kthread.Address)));
    }

    [Fact]
    public void The_machine_says_what_it_is_and_how_it_was_started()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        k.WriteText(k["init_uts_ns"] + k.Types.Offset("uts_namespace.name.nodename"), "db1");
        k.WriteU64(k["dmi_ident"] + 8, k.Text0("QEMU"));
        SystemInfo info = SystemInfo.Read(g.Kernel, Few);
        Assert.Equal(("ro quiet panic=-1", "db1", "KVM", 2), (info.CommandLine, info.HostName, info.Hypervisor, info.CpusPossible));
        Assert.Equal([("SYS_VENDOR", "QEMU")], info.Hardware.Select(h => (h.Key, h.Value)));
        Assert.Equal(DateTimeOffset.FromUnixTimeSeconds(1_700_000_100 - 101), info.BootedAt);
        List<Sysctl> settings = Sysctls.Read(g.Kernel);
        Assert.Contains(new Sysctl("kernel.panic", -1), settings);
        Assert.Contains(new Sysctl("kernel.panic_on_oops", 1), settings);
        Assert.Null(Sysctls.HasCrashKernel(g.Kernel));

        k.Put(k["shadow_timekeeper"], "timekeeper.offs_boot", ulong.MaxValue / 2);
        k.WriteU64(k["saved_command_line"], 8);
        info = SystemInfo.Read(g.Kernel, Few);
        Assert.Equal((null, null), (info.BootedAt, info.CommandLine));
    }
}
