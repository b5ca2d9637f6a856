using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A mounted file system.</summary>
/// <param name="Address">Guest-virtual address of its struct mount.</param>
/// <param name="Id">mnt_id, as in /proc/PID/mountinfo.</param>
/// <param name="ParentId">mnt_id of the mount it hangs off; its own for the root.</param>
/// <param name="Device">What was mounted.</param>
/// <param name="Point">Where, from the root of the namespace.</param>
/// <param name="Type">File system type, with its subtype (<c>fuse.sshfs</c>).</param>
/// <param name="Options">The options that every file system has, as /proc/mounts spells them; those of its own are not among them.</param>
/// <param name="RootPath">The directory of the file system that is visible there; <c>/</c> but for bind mounts.</param>
/// <param name="SuperBlock">Guest-virtual address of its super_block.</param>
public sealed record LinuxMount(
    ulong Address, int Id, int ParentId, string Device, string Point, string Type, IReadOnlyList<string> Options, string RootPath, ulong SuperBlock);

/// <summary>A file system instance.</summary>
/// <param name="Address">Guest-virtual address of its super_block.</param>
/// <param name="Type">File system type.</param>
/// <param name="Id">s_id: the block device's name, or the type's.</param>
/// <param name="Device">Device number (12 bits major, 20 bits minor).</param>
/// <param name="BlockDevice">Guest-virtual address of its block_device, 0 where it has none.</param>
/// <param name="IsReadOnly">SB_RDONLY.</param>
/// <param name="Frozen">s_writers.frozen: 0 unless it is being frozen or is frozen (enum sb_freeze levels 1 to 4).</param>
public sealed record LinuxSuperBlock(ulong Address, string Type, string Id, uint Device, ulong BlockDevice, bool IsReadOnly, int Frozen);

/// <summary>Mounts and file systems (fs/mount.h, fs/namespace.c, fs/super.c).</summary>
public static class Mounts
{
    /// <summary>MNT_CURSOR: a reader's place in the list, no mount (5.8 to 6.7).</summary>
    private const ulong MountCursor = 0x1000_0000;

    /// <summary>MNT_READONLY and SB_RDONLY.</summary>
    private const ulong MountReadOnly = 0x40, SuperReadOnly = 1;

    /// <summary>fs/proc_namespace.c, show_sb_opts and show_mnt_opts, in this order.</summary>
    private static readonly (ulong Bit, string Name)[] SuperFlags = [(1 << 4, "sync"), (1 << 7, "dirsync"), (1 << 6, "mand"), (1 << 25, "lazytime")];

    private static readonly (ulong Bit, string Name)[] MountFlags =
        [(1, "nosuid"), (2, "nodev"), (4, "noexec"), (8, "noatime"), (0x10, "nodiratime"), (0x20, "relatime"), (0x80, "nosymfollow")];

    /// <summary>The mount namespace of a task; 0 for one that has given up its namespaces (it is exiting).</summary>
    public static ulong NamespaceOf(LinuxKernel kernel, LinuxTask task) =>
        kernel.Read(task.Address, "task_struct.nsproxy") is var proxy && proxy != 0 ? kernel.Read(proxy, "nsproxy.mnt_ns") : 0;

    /// <summary>All mounts of a namespace in the order of /proc/mounts.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="mountNamespace">Guest-virtual address of the mnt_namespace.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list or tree does not hold together, or the kernel lacks the types.</exception>
    public static List<LinuxMount> Enumerate(LinuxKernel kernel, ulong mountNamespace, TargetLimits limits)
    {
        // A list up to 6.7, a tree ordered by unique id since 6.8 (commit 2eea9ce4310d, "mounts: keep list of mounts in an rbtree").
        IEnumerable<ulong> nodes = kernel.HasMember("mount.mnt_node")
            ? RedBlackTrees.Entries(kernel, unchecked(mountNamespace + kernel.Offset("mnt_namespace.mounts")), "mount.mnt_node", limits)
            : Lists.Entries(kernel, unchecked(mountNamespace + kernel.Offset("mnt_namespace.list")), "mount.mnt_list", limits)
                .Where(m => (kernel.Read(m, "mount.mnt.mnt_flags") & MountCursor) == 0);
        return [.. nodes.Select(m => Read(kernel, m))];
    }

    /// <summary>All file systems, mounted somewhere or used by the kernel alone.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not hold together.</exception>
    public static List<LinuxSuperBlock> SuperBlocks(LinuxKernel kernel, TargetLimits limits) =>
        [.. Lists.Entries(kernel, kernel.Symbol("super_blocks"), "super_block.s_list", limits).Select(s => new LinuxSuperBlock(
            s, TypeOf(kernel, s), kernel.ReadText(s, "super_block.s_id"), kernel.ReadU32(s, "super_block.s_dev"), kernel.Read(s, "super_block.s_bdev"),
            (kernel.Read(s, "super_block.s_flags") & SuperReadOnly) != 0, kernel.ReadS32(s, "super_block.s_writers.frozen")))];

    private static LinuxMount Read(LinuxKernel kernel, ulong mount)
    {
        ulong super = kernel.Read(mount, "mount.mnt.mnt_sb"), parent = kernel.Read(mount, "mount.mnt_parent");
        ulong flags = kernel.Read(mount, "mount.mnt.mnt_flags"), superFlags = kernel.Read(super, "super_block.s_flags");
        var options = new List<string> { (flags & MountReadOnly) != 0 || (superFlags & SuperReadOnly) != 0 ? "ro" : "rw" };
        options.AddRange(SuperFlags.Where(f => (superFlags & f.Bit) != 0).Select(f => f.Name));
        options.AddRange(MountFlags.Where(f => (flags & f.Bit) != 0).Select(f => f.Name));
        var root = new KernelPath(unchecked(mount + kernel.Offset("mount.mnt")), kernel.Read(mount, "mount.mnt.mnt_root"));
        return new LinuxMount(
            mount, kernel.ReadS32(mount, "mount.mnt_id"), kernel.ReadS32(parent, "mount.mnt_id"),
            kernel.ReadString(kernel.Read(mount, "mount.mnt_devname"), "mount.mnt_devname") is { Length: > 0 } device ? device : "none",
            FilePaths.Walk(kernel, root), TypeOf(kernel, super), options, FilePaths.WithinFileSystem(kernel, root.Dentry), super);
    }

    private static string TypeOf(LinuxKernel kernel, ulong super)
    {
        string type = kernel.ReadString(kernel.Read(kernel.Read(super, "super_block.s_type"), "file_system_type.name"), "file_system_type.name", 64);
        ulong subtype = kernel.ReadIfPresent(super, "super_block.s_subtype") ?? 0;
        return subtype == 0 ? type : $"{type}.{kernel.ReadString(subtype, "super_block.s_subtype", 64)}";
    }
}
