using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

public static partial class FuzzTargets
{
    /// <summary>Memory, slab caches, files, mounts, sockets and settings.</summary>
    internal static FuzzedGuest Resources(KernelShape shape)
    {
        SyntheticKernel k = Make(shape);
        SyntheticSlab slab = k.AddSlab(k.AddCache("widget", 256, redLeft: 16), 3, 9, 1);
        ulong root = k.Mount("rootfs", "none", 0, 0, 1), top = k.Get(root, "mount.mnt.mnt_root"), mount = k.Mount("ext4", "/dev/vda", root, k.Dentry("data", top), 2);
        ulong space = k.MountNamespace(root, mount);
        k.SetFiles(k.Victim, (0, k.File(mount, k.Dentry("a", k.Get(mount, "mount.mnt.mnt_root")), 0x81a4, 7)), (2, k.File(root, top, 0x41ed, 2)));
        k.SetVmallocAreas((k.VmallocBase + 0x10_0000, k["ct_int"]), (k.VmallocBase + 0x20_0000, 0), (k.VmallocBase + 0x30_0000, 0));
        k.MarkPage(k.Direct(0x290_0000), "buddy", 3);
        ulong device = k.New("net_device", ("netdev_ops", k.New("net_device_ops")), ("ip_ptr", k.New("in_device", ("ifa_list", k.New("in_ifaddr")))));
        k.List(k["init_net"] + k.Types.Offset("net.dev_base_head"), "net_device.dev_list", device);
        ulong sock = k.New("sock", ("__sk_common.skc_family", 1));
        ulong characters = k.AddCharacterDriver(10, 0, "misc", k["null_fops"], isMapped: true), blocks = k.AddBlockDriver(254, "virtblk");
        SyntheticDisk disk = k.AddDisk(254 << 20, "vda", k["null_fops"], (0, 1), (1, 2));
        k.Link();

        // All of it came from one stretch of the heap.
        ulong heap = k.Physical(k.Allocate(8)) - 0x4000;
        (ulong, int)[] regions =
        [
            (heap, 0x4000), (heap, 0x4000), (k.Physical(slab.Slab), 64), (k.Physical(slab.Base), 4096), (k.Physical(k.PageOf(k.Direct(0x290_0000))), 640),
            (k.Physical(k["page_offset_base"]), 0x800), (k.Physical(k.Victim.Address), k.Types.SizeOf("task_struct")),
        ];
        ulong[] pointers = [root, top, mount, space, device, sock, slab.Base, slab.Slab, .. slab.Objects, k.Victim.Address, k["init_net"], k["init_task"], k.PageOf(k.Direct(0x290_0000)), characters, blocks, disk.Device, disk.Queue];
        ulong[] asked = [slab.Objects[1] + 8, slab.Objects[2], k.VmallocBase + 0x20_0010, k.PageOf(k.Direct(0x290_0000)), k.Direct(0x290_3000), k.Victim.Stack - 8, k["init_task"]];
        return new FuzzedGuest(k, regions, pointers)
        {
            Looks =
            [
                ("explain", kernel => Array.ForEach(asked, value => _ = new AddressExplainer(kernel, Short).Explain(value))),
                ("largest caches", kernel => SlabCaches.Largest(kernel, 5, Short, out _)),
                ("slab objects", kernel => new SlabObjects(kernel, AddressLayout.Read(kernel), SlabCaches.Enumerate(kernel, Short)).TryFreeObjects(slab.Base, out _, out _)),
                ("pages", kernel => _ = new Pages(kernel, AddressLayout.Read(kernel)).Read(0x2900)),
                ("vmalloc", kernel => Vmalloc.Areas(kernel, Short)),
                ("physical memory", kernel => PhysicalMemory.Resources(kernel, Short)),
                ("memory summary", kernel => MemorySummary.Read(kernel, Short)),
                ("page filter", kernel => _ = PageFilter.Read(kernel, PageFilterLevel.All, [], Short).Pages.Total),
                ("mounts", kernel => Mounts.Enumerate(kernel, space, Short)),
                ("superblocks", kernel => Mounts.SuperBlocks(kernel, Short)),
                ("block devices", kernel => BlockDevices.Enumerate(kernel, Short).ForEach(d => _ = BlockDevices.Load(kernel, d, Short))),
                ("character drivers", kernel => CharacterDriver.Enumerate(kernel, Short)),
                ("block drivers", kernel => BlockDriver.Enumerate(kernel, Short)),
                ("files", kernel => OpenFiles.Of(kernel, Tasks.ReadTask(kernel, k.Victim.Address), Short).ForEach(f => _ = Sockets.Of(kernel, f))),
                ("directories", kernel => _ = OpenFiles.DirectoriesOf(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("ancestors", kernel => _ = TaskEnvironment.Ancestors(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("cgroups", kernel => TaskEnvironment.Cgroups(kernel, Tasks.ReadTask(kernel, k.Victim.Address), Short)),
                ("namespaces", kernel => TaskEnvironment.Namespaces(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("credentials", kernel => TaskEnvironment.Credentials(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("host name", kernel => TaskEnvironment.HostName(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("net devices", kernel => NetDevices.Enumerate(kernel, k["init_net"], Short)),
                ("socket", kernel => Sockets.Read(kernel, sock)),
                ("listeners", kernel => Sockets.TcpListeners(kernel, Short)),
                ("connections", kernel => Sockets.TcpConnections(kernel, Short)),
                ("system", kernel => _ = SystemInfo.Read(kernel, Short)),
                ("sysctls", kernel => _ = Sysctls.Read(kernel)),
            ],
        };
    }

    /// <summary>The walks through lists, trees and arrays.</summary>
    internal static FuzzedGuest Structures(KernelShape shape)
    {
        SyntheticKernel k = Make(shape);
        ulong root = k.Allocate(16), list = k.Allocate(16), first = k.Allocate(8), array = k.Allocate(64), idr = k.Allocate(64), table = k.Allocate(64);
        ulong[] nodes = [.. Enumerable.Range(0, 31).Select(_ => k.Allocate(64))], links = [.. Enumerable.Range(0, 12).Select(_ => k.Allocate(64))];
        k.Tree(root, nodes, cached: true);
        for (int i = 0; i <= links.Length; i++)
        {
            ulong at = i == 0 ? list : links[i - 1], next = i == links.Length ? list : links[i];
            k.WriteU64(at, next);
            k.WriteU64(next + 8, at);
        }

        for (int i = 0; i < 4; i++)
        {
            k.WriteU64(i == 0 ? first : links[i - 1] + 32, links[i] + 32);
            k.WriteU64(links[i] + 40, i == 0 ? first : links[i - 1] + 32);
            k.WriteU64(table + ((ulong)i * 8), i == 1 ? links[5] + 32 : 0);
        }

        k.WriteU64(links[5] + 40, table + 8);
        k.XArray(array, new Dictionary<ulong, ulong> { [1] = links[0], [70] = links[1], [4096] = links[2] });
        k.XArray(idr, new Dictionary<ulong, ulong> { [0] = links[3], [5] = links[4] });
        k.Link();
        int bytes = (int)(k.Physical(k.Allocate(8)) - k.Physical(root));
        (ulong, int)[] regions = [(k.Physical(root), 0x100), (k.Physical(root), bytes), (k.Physical(nodes[0]), 31 * 64), (k.Physical(links[0]), 12 * 64)];
        return new FuzzedGuest(k, regions, [root, list, first, array, idr, table, .. nodes, .. links, .. links.Select(l => l + 32), array | 2, nodes[3] | 1])
        {
            Looks =
            [
                ("list", kernel => Lists.Nodes(kernel, list, "list", Short).Count()),
                ("hlist", kernel => Lists.HlistNodes(kernel, first, "hlist", Short).Count()),
                ("hlist_nulls", kernel => Lists.HlistNullsNodes(kernel, first, "hlist", Short).Count()),
                ("hlist_bl", kernel => Lists.HlistBlNodes(kernel, first, "hlist", Short).Count()),
                ("hash", kernel => Lists.HashNodes(kernel, table, 4, "hash", Short).Count()),
                ("chain", kernel => Lists.Chain(kernel, links[0], 0, "chain", Short).Count()),
                ("plist", kernel => Lists.PlistNodes(kernel, list, "plist", Short).Count()),
                ("tree", kernel => RedBlackTrees.Nodes(kernel, root, "tree", Short).Count()),
                ("leftmost", kernel => _ = RedBlackTrees.CachedLeftmost(kernel, root)),
                ("xarray", kernel => XArrays.Entries(kernel, array, "xarray", Short).Count()),
                ("xarray get", kernel => _ = XArrays.TryGet(kernel, array, 70, "xarray", out _) | XArrays.TryGet(kernel, array, ulong.MaxValue, "xarray", out _)),
                ("idr", kernel => XArrays.IdrEntries(kernel, idr, "idr", Short).Count()),
                ("cpus", kernel => Cpus.Online(kernel).Count.CompareTo(Cpus.Possible(kernel).Count)),
                ("counter", kernel => _ = Cpus.CounterSum(kernel, array)),
            ],
        };
    }
}
