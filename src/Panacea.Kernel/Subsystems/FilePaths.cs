using System.Text;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A place in the file system tree: struct path.</summary>
/// <param name="Mount">Guest-virtual address of the struct vfsmount.</param>
/// <param name="Dentry">Guest-virtual address of the struct dentry.</param>
public readonly record struct KernelPath(ulong Mount, ulong Dentry);

/// <summary>Names of files as /proc shows them (fs/d_path.c), read without locks: over a running guest a rename in between can mix two names.</summary>
public static class FilePaths
{
    /// <summary>Components of one path; PATH_MAX is 4096 bytes, and a bind mount in a bind mount adds few.</summary>
    private const int MaxComponents = 4096;

    /// <summary>NAME_MAX is 255; names in pseudo file systems are not much longer.</summary>
    private const int MaxName = 1024;

    /// <summary>A struct path embedded in an object.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="address">The object.</param>
    /// <param name="member">The path, <c>type.member</c>.</param>
    public static KernelPath ReadPath(LinuxKernel kernel, ulong address, string member) =>
        new(kernel.Read(address, $"{member}.mnt"), kernel.Read(address, $"{member}.dentry"));

    /// <summary>The name of an open file or directory from the root of its mount namespace: a path, <c>pipe:[ino]</c>, <c>socket:[ino]</c>, <c>anon_inode:…</c>, with
    /// <c> (deleted)</c> behind it where it was removed.</summary>
    /// <exception cref="GuestMemoryException">Part of it can't be read.</exception>
    /// <exception cref="KernelShapeException">It does not end, or the kernel lacks the types.</exception>
    public static string Name(LinuxKernel kernel, KernelPath path)
    {
        ulong operations = kernel.Read(path.Dentry, "dentry.d_op");
        if (operations != 0 && kernel.Read(operations, "dentry_operations.d_dname") is var namer && namer != 0
            && (kernel.Read(path.Dentry, "dentry.d_parent") != path.Dentry || path.Dentry != kernel.Read(path.Mount, "vfsmount.mnt_root")))
            return Special(kernel, path, namer);
        string name = Walk(kernel, path);
        return IsDeleted(kernel, path.Dentry) ? name + " (deleted)" : name;
    }

    /// <summary>The path from the root of the mount namespace, without marks.</summary>
    /// <inheritdoc cref="Name" path="/exception"/>
    public static string Walk(LinuxKernel kernel, KernelPath path)
    {
        var components = new List<string>();
        ulong dentry = path.Dentry, mount = unchecked(path.Mount - kernel.Offset("mount.mnt"));
        for (int steps = 0; steps < MaxComponents; steps++)
        {
            if (dentry == kernel.Read(mount, "mount.mnt.mnt_root"))
            {
                // The root of a mount: on with the place where it is mounted.
                ulong parent = kernel.Read(mount, "mount.mnt_parent");
                if (parent == mount || parent == 0)
                    return Join(components, "/");
                dentry = kernel.Read(mount, "mount.mnt_mountpoint");
                mount = parent;
                continue;
            }

            ulong up = kernel.Read(dentry, "dentry.d_parent");
            if (up == dentry)
            {
                // The root of a file system that is not mounted where the walk came from: reachable by no path.
                return Join(components, DentryName(kernel, dentry) is { Length: > 0 } top && top != "/" ? top : "/");
            }

            components.Add(DentryName(kernel, dentry));
            dentry = up;
        }

        throw new KernelShapeException($"the path of the dentry at 0x{path.Dentry:x} does not end within {MaxComponents} steps");
    }

    /// <summary>The path of a dentry within its own file system.</summary>
    /// <inheritdoc cref="Name" path="/exception"/>
    public static string WithinFileSystem(LinuxKernel kernel, ulong dentry)
    {
        var components = new List<string>();
        for (int steps = 0; steps < MaxComponents; steps++)
        {
            ulong up = kernel.Read(dentry, "dentry.d_parent");
            if (up == dentry)
                return Join(components, "/");
            components.Add(DentryName(kernel, dentry));
            dentry = up;
        }

        throw new KernelShapeException($"the path of a dentry does not end within {MaxComponents} steps");
    }

    /// <summary>The last component: dentry.d_name.</summary>
    public static string DentryName(LinuxKernel kernel, ulong dentry)
    {
        uint length = kernel.ReadU32(dentry, "dentry.d_name.len");
        return length > MaxName
            ? throw new KernelShapeException($"the dentry at 0x{dentry:x} has a name of {length} bytes")
            : KernelReads.TextOf(kernel.ReadBytes(kernel.Read(dentry, "dentry.d_name.name"), (int)length, "dentry.d_name"));
    }

    /// <summary>Removed while it was open: not in the hash of names, and not a root (d_unlinked).</summary>
    private static bool IsDeleted(LinuxKernel kernel, ulong dentry) =>
        kernel.Read(dentry, "dentry.d_hash.pprev") == 0 && kernel.Read(dentry, "dentry.d_parent") != dentry;

    private static string Special(LinuxKernel kernel, KernelPath path, ulong namer)
    {
        string own = DentryName(kernel, path.Dentry);
        ulong inode = kernel.Read(path.Dentry, "dentry.d_inode");
        ulong number = inode == 0 ? 0 : kernel.Read(inode, "inode.i_ino");
        return kernel.Image.Symbolize(namer)?.Name switch
        {
            "pipefs_dname" => $"pipe:[{number}]",
            "sockfs_dname" => $"socket:[{number}]",
            "anon_inodefs_dname" => $"anon_inode:{own}",

            // fs/nsfs.c, ns_dname: the kind of namespace is its proc_ns_operations.name.
            "ns_dname" => $"{NamespaceKind(kernel, path.Dentry, inode)}:[{number}]",
            "simple_dname" => $"/{own} (deleted)",
            var other => $"{own} ({other ?? $"0x{namer:x}"})",
        };
    }

    private static string NamespaceKind(LinuxKernel kernel, ulong dentry, ulong inode) => KernelReads.Try(
        () =>
        {
            // dentry.d_fsdata holds the operations up to 6.8; since then inode.i_private is the ns_common (commit 1fa08aece425, "nsfs: convert to path_from_stashed() helper").
            ulong common = kernel.Read(inode, "inode.i_private");
            ulong operations = kernel.Read(dentry, "dentry.d_fsdata") is var data && data != 0 && kernel.Image.Symbolize(data) is not null ? data : kernel.Read(common, "ns_common.ops");
            return kernel.ReadString(kernel.Read(operations, "proc_ns_operations.name"), "proc_ns_operations.name", 32);
        },
        "ns");

    private static string Join(List<string> components, string root)
    {
        var text = new StringBuilder(components.Count == 0 || root != "/" ? root : "");
        for (int i = components.Count - 1; i >= 0; i--)
            text.Append('/').Append(components[i]);
        return text.ToString();
    }
}
