using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Mounts of every mount namespace that a task lives in, and file systems (fs/namespace.c, fs/super.c).</summary>
public sealed class MountValidator : IValidator
{
    /// <summary>Mount namespaces that are looked at.</summary>
    private const int MaxNamespaces = 256;

    /// <inheritdoc/>
    public string Name => "mounts";

    /// <inheritdoc/>
    public string Description => "mounts against their namespace, parents, children and file systems; the list of file systems";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "mounts");
        HashSet<ulong> supers = [.. Rings.Entries(context, notes, kernel.Symbol("super_blocks"), "super_block.s_list", "list of file systems", context.MaxObjects)];
        notes.Count("file systems", supers.Count);
        HashSet<ulong> spaces = [];
        foreach (LinuxTask task in context.Tasks)
            notes.Guard($"the mount namespace of pid {task.Pid}", () => spaces.Add(Mounts.NamespaceOf(kernel, task)));
        spaces.Remove(0);
        foreach (ulong space in spaces.Take(MaxNamespaces))
        {
            notes.Count("namespaces");
            notes.Guard($"the mount namespace at 0x{space:x}", () => Space(context, notes, space, supers));
        }

        if (spaces.Count > MaxNamespaces)
            notes.Skip($"no more than {MaxNamespaces} mount namespaces were looked at");
        return notes.Done();
    }

    private static void Space(CheckContext context, CheckNotes notes, ulong space, HashSet<ulong> supers)
    {
        LinuxKernel kernel = context.Kernel;
        List<LinuxMount> mounts = context.Settled(() => Mounts.Enumerate(kernel, space, context.Limits));
        HashSet<ulong> here = [.. mounts.Select(m => m.Address)];
        foreach (LinuxMount mount in mounts)
        {
            if (!notes.Count("mounts"))
                return;
            string who = $"the mount at 0x{mount.Address:x} (id {mount.Id})";
            if (!supers.Contains(mount.SuperBlock))
                notes.Found("super-block", Confidence.High, $"{who} is of the file system 0x{mount.SuperBlock:x}, which is not on the list of file systems");
            ulong parent = kernel.Read(mount.Address, "mount.mnt_parent"), root = kernel.Read(mount.Address, "mount.mnt.mnt_root");
            if (!here.Contains(parent))
                notes.Found("parent", Confidence.Medium, $"{who} hangs off 0x{parent:x}, which is not in its namespace");
            if (kernel.HasMember("mount.mnt_ns") && kernel.Read(mount.Address, "mount.mnt_ns") is var of && of != space)
                notes.Found("namespace", Confidence.High, $"{who} is in the namespace 0x{space:x} and says that it belongs to 0x{of:x}");
            if (kernel.HasMember("dentry.d_sb") && kernel.Read(root, "dentry.d_sb") is var super && super != mount.SuperBlock)
                notes.Found("super-block", Confidence.High, $"{who} is of the file system 0x{mount.SuperBlock:x}, and its root 0x{root:x} of 0x{super:x}");
            if (kernel.HasMember("mount.mnt_mounts") && kernel.HasMember("mount.mnt_child"))
            {
                ulong head = unchecked(mount.Address + kernel.Offset("mount.mnt_mounts"));
                foreach (ulong child in Rings.Entries(context, notes, head, "mount.mnt_child", $"children of {who}", context.MaxObjects))
                {
                    notes.Count("children");
                    if (kernel.Read(child, "mount.mnt_parent") is var back && back != mount.Address)
                        notes.Found("parent", Confidence.High, $"the mount at 0x{child:x} is a child of 0x{mount.Address:x} and says that it hangs off 0x{back:x}");
                }
            }
        }
    }
}
