using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

public static partial class FuzzTargets
{
    private static readonly TargetLimits Short = Small with { MaxChain = 500 };

    /// <summary>Memory, slab caches, files, mounts, sockets and settings of a guest whose data changed after its image was made.</summary>
    public static void Resources(ReadOnlySpan<byte> data, RepairImage image, SyntheticKernel guest)
    {
        SyntheticSlab slab = guest.AddSlab(guest.AddCache("widget", 256, redLeft: 16), 3, 9, 1);
        ulong root = guest.Mount("rootfs", "none", 0, 0, 1), top = guest.Get(root, "mount.mnt.mnt_root"), mount = guest.Mount("ext4", "/dev/vda", root, guest.Dentry("data", top), 2);
        ulong space = guest.MountNamespace(root, mount);
        guest.SetFiles(guest.Victim, (0, guest.File(mount, guest.Dentry("a", guest.Get(mount, "mount.mnt.mnt_root")), 0x81a4, 7)), (2, guest.File(root, top, 0x41ed, 2)));
        guest.SetVmallocAreas((guest.VmallocBase + 0x10_0000, guest["ct_int"]), (guest.VmallocBase + 0x20_0000, 0), (guest.VmallocBase + 0x30_0000, 0));
        guest.MarkPage(guest.Direct(0x290_0000), "buddy", 3);
        ulong device = guest.New("net_device", ("netdev_ops", guest.New("net_device_ops")), ("ip_ptr", guest.New("in_device", ("ifa_list", guest.New("in_ifaddr")))));
        guest.List(guest["init_net"] + guest.Types.Offset("net.dev_base_head"), "net_device.dev_list", device);
        ulong sock = guest.New("sock", ("__sk_common.skc_family", 1));
        ulong end = guest.Allocate(8);

        // Everything above came from one stretch of the heap; it is changed together with the struct pages and the variables.
        ulong heap = guest.Physical(end) - 0x4000;
        (ulong, int)[] regions =
        [
            (heap, 0x4000), (guest.Physical(slab.Slab), 64), (guest.Physical(slab.Base), 4096), (guest.Physical(guest.PageOf(guest.Direct(0x290_0000))), 640),
            (guest.Physical(guest["page_offset_base"]), 0x800), (guest.Physical(guest.Victim.Address), guest.Types.SizeOf("task_struct")),
        ];
        Apply(guest, data, regions);

        LinuxKernel kernel = image.KernelOver(guest.Memory);
        var explainer = new AddressExplainer(kernel, Short);
        foreach (ulong value in (ulong[])[slab.Objects[1] + 8, slab.Objects[2], guest.VmallocBase + 0x20_0010, guest.PageOf(guest.Direct(0x290_0000)), guest.Direct(0x290_3000), guest.Victim.Stack - 8, guest["init_task"]])
            _ = explainer.Explain(value);
        Typed(() => SlabCaches.Largest(kernel, 5, Short, out _));
        Typed(() => new SlabObjects(kernel, AddressLayout.Read(kernel), SlabCaches.Enumerate(kernel, Short)).TryFreeObjects(slab.Base, out _, out _));
        Typed(() => Vmalloc.Areas(kernel, Short));
        Typed(() => PhysicalMemory.Resources(kernel, Short));
        Typed(() => Mounts.Enumerate(kernel, space, Short));
        Typed(() => Mounts.SuperBlocks(kernel, Short));
        Typed(() =>
        {
            LinuxTask victim = Tasks.ReadTask(kernel, guest.Victim.Address);
            _ = OpenFiles.DirectoriesOf(kernel, victim);
            _ = TaskEnvironment.Ancestors(kernel, victim);
            Typed(() => OpenFiles.Of(kernel, victim, Short).ForEach(f => _ = Sockets.Of(kernel, f)));
            Typed(() => TaskEnvironment.Cgroups(kernel, victim, Short));
            Typed(() => TaskEnvironment.Namespaces(kernel, victim));
            Typed(() => TaskEnvironment.Credentials(kernel, victim));
            Typed(() => TaskEnvironment.HostName(kernel, victim));
        });
        Typed(() => NetDevices.Enumerate(kernel, guest["init_net"], Short));
        Typed(() => Sockets.Read(kernel, sock));
        Typed(() => Sockets.TcpListeners(kernel, Short));
        Typed(() => Sockets.TcpConnections(kernel, Short));
        _ = SystemInfo.Read(kernel, Short);
        _ = Sysctls.Read(kernel);
    }
}
