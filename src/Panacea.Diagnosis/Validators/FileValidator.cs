using System.Buffers.Binary;
using System.Numerics;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Tables of open files, and the files, dentries and inodes that they lead to (fs/file.c, fs/open.c do_dentry_open, fs/dcache.c d_set_inode).</summary>
public sealed class FileValidator : IValidator
{
    /// <summary>The kernel's own ceiling is sysctl_nr_open_max; nobody has a table of more.</summary>
    private const uint MaxDescriptors = 1 << 20;

    /// <summary>Bytes of the map of open descriptors that are read at a time.</summary>
    private const int ChunkBytes = 512;

    /// <inheritdoc/>
    public string Name => "files";

    /// <inheritdoc/>
    public string Description => "tables of open files against their maps; file, dentry, inode and super block against each other";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        var notes = new CheckNotes(context, "files");
        foreach ((ulong table, LinuxTask task) in Tables(context, notes))
            notes.Guard($"open files of pid {task.Pid}", () => Table(context, notes, table, task));
        return notes.Done();
    }

    /// <summary>Files that are open, each once.</summary>
    internal static IReadOnlySet<ulong> Open(CheckContext context, CheckNotes notes)
    {
        var open = new HashSet<ulong>();
        foreach ((ulong _, LinuxTask task) in Tables(context, notes))
        {
            try
            {
                foreach (OpenFile file in OpenFiles.Of(context.Kernel, task, context.Limits))
                {
                    if (open.Count >= context.MaxObjects)
                        return open;
                    open.Add(file.Address);
                }
            }
            catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
            {
                // The validator of tables says so.
            }
        }

        return open;
    }

    private static List<(ulong Table, LinuxTask Task)> Tables(CheckContext context, CheckNotes notes)
    {
        var tables = new Dictionary<ulong, LinuxTask>();
        foreach (LinuxTask task in context.Tasks)
        {
            notes.Guard($"pid {task.Pid}", () =>
            {
                // Threads share their table.
                if (context.Kernel.Read(task.Address, "task_struct.files") is var table && table != 0)
                    tables.TryAdd(table, task);
            });
        }

        return [.. tables.Select(t => (t.Key, t.Value))];
    }

    private static void Table(CheckContext context, CheckNotes notes, ulong table, LinuxTask task)
    {
        LinuxKernel kernel = context.Kernel;
        ulong descriptors = kernel.Read(table, "files_struct.fdt");
        uint count = kernel.ReadU32(descriptors, "fdtable.max_fds");
        string who = $"the table of open files at 0x{table:x} of pid {task.Pid}";
        notes.Count("tables");
        if (count % 64 != 0 || count == 0 || count > MaxDescriptors)
        {
            notes.Found("table", Confidence.High, $"{who} says that it has room for {count} files");
            return;
        }

        ulong open = kernel.Read(descriptors, "fdtable.open_fds"), array = kernel.Read(descriptors, "fdtable.fd");
        byte[] map = new byte[ChunkBytes];
        int taken = 0;
        for (uint first = 0; first < count; first += 64)
        {
            // Tables are large and sparse: what is not open costs a bit.
            int at = (int)(first / 8 % ChunkBytes);
            if (at == 0)
                kernel.Space.Read(new VirtualAddress(unchecked(open + (first / 8))), map.AsSpan(0, (int)Math.Min(ChunkBytes, (count - first) / 8)), "fdtable.open_fds");
            ulong bits = BinaryPrimitives.ReadUInt64LittleEndian(map.AsSpan(at));
            for (; bits != 0; bits &= bits - 1)
            {
                if (++taken > context.MaxObjects)
                {
                    notes.Skip($"no more than {context.MaxObjects} descriptors of a table were looked at");
                    return;
                }

                uint descriptor = first + (uint)BitOperations.TrailingZeroCount(bits);

                // One that is taken and not filled: open() is under way.
                ulong file = kernel.ReadU64(unchecked(array + (descriptor * 8UL)), "fdtable.fd");
                if (file == 0)
                    continue;
                if (!notes.Count("files"))
                    return;
                notes.Guard($"file {descriptor} of {who}", () => File(kernel, notes, file, $"the file at 0x{file:x} (descriptor {descriptor} of pid {task.Pid})"));
            }
        }
    }

    private static void File(LinuxKernel kernel, CheckNotes notes, ulong file, string who)
    {
        ulong inode = kernel.Read(file, "file.f_inode"), dentry = kernel.Read(file, "file.f_path.dentry"), mount = kernel.Read(file, "file.f_path.mnt");
        if (inode == 0 || dentry == 0 || mount == 0)
        {
            notes.Found("null", Confidence.High, $"{who} has the inode 0x{inode:x}, the dentry 0x{dentry:x} and the mount 0x{mount:x}");
            return;
        }

        if (kernel.Read(dentry, "dentry.d_inode") is var named && named != inode)
            notes.Found("inode", Confidence.Medium, $"{who} has the inode 0x{inode:x}, and its dentry 0x{dentry:x} has 0x{named:x}");
        if (kernel.Read(dentry, "dentry.d_parent") == 0)
            notes.Found("null", Confidence.High, $"the dentry 0x{dentry:x} of {who} has no parent");
        if (!kernel.HasMember("dentry.d_sb") || !kernel.HasMember("inode.i_sb"))
            return;
        ulong super = kernel.Read(inode, "inode.i_sb"), of = kernel.Read(dentry, "dentry.d_sb"), mounted = kernel.Read(mount, "vfsmount.mnt_sb");
        if (super != of || super != mounted)
            notes.Found("super-block", Confidence.Medium, $"{who} has an inode of the file system 0x{super:x}, a dentry of 0x{of:x} and a mount of 0x{mounted:x}");
    }
}
