using System.Numerics;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What kind of file (S_IFMT, include/uapi/linux/stat.h).</summary>
public enum FileKind
{
    /// <summary>Another: anonymous inodes have no kind.</summary>
    Other,
    /// <summary>S_IFIFO.</summary>
    Fifo,
    /// <summary>S_IFCHR.</summary>
    CharacterDevice,
    /// <summary>S_IFDIR.</summary>
    Directory,
    /// <summary>S_IFBLK.</summary>
    BlockDevice,
    /// <summary>S_IFREG.</summary>
    Regular,
    /// <summary>S_IFLNK.</summary>
    SymbolicLink,
    /// <summary>S_IFSOCK.</summary>
    Socket,
}

/// <summary>An open file of a task.</summary>
public sealed record OpenFile
{
    /// <summary>File descriptor; -1 for one that is none.</summary>
    public required int Descriptor { get; init; }

    /// <summary>Guest-virtual address of its struct file.</summary>
    public required ulong Address { get; init; }

    /// <summary>Its name as /proc/PID/fd has it; a sentence in brackets where it can't be read.</summary>
    public required string Path { get; init; }

    /// <summary>Guest-virtual address of its inode.</summary>
    public required ulong Inode { get; init; }

    /// <summary>Inode number; 0 where it has no inode.</summary>
    public required ulong InodeNumber { get; init; }

    /// <summary>What it is.</summary>
    public required FileKind Kind { get; init; }

    /// <summary>Device number of a device file as the kernel keeps it (12 bits major, 20 bits minor), else 0.</summary>
    public required uint Device { get; init; }

    /// <summary>Symbol of its file_operations; null where they are none that is known.</summary>
    public required string? Operations { get; init; }

    /// <summary>O_* flags (file.f_flags).</summary>
    public required uint Flags { get; init; }

    /// <summary>Position in bytes.</summary>
    public required long Position { get; init; }

    /// <summary>It is closed at exec().</summary>
    public required bool CloseOnExec { get; init; }

    /// <summary>file.private_data: of a socket its struct socket.</summary>
    public required ulong PrivateData { get; init; }
}

/// <summary>Where a task is in the file system tree.</summary>
/// <param name="WorkingDirectory">Working directory; null where it can't be read.</param>
/// <param name="Root">Root; null where it can't be read.</param>
/// <param name="Executable">The program it runs; null for a kernel thread and where it can't be read.</param>
public sealed record TaskDirectories(string? WorkingDirectory, string? Root, string? Executable);

/// <summary>Open files of tasks (include/linux/fdtable.h, include/linux/fs.h).</summary>
public static class OpenFiles
{
    /// <summary>The kernel's ceiling for descriptors is sysctl_nr_open_max, at most 2^31 / 8; a table of a million is beyond what anyone uses.</summary>
    private const uint MaxDescriptors = 1 << 20;

    private const int Word = 64;

    /// <summary>The open files of a task by descriptor; empty for kernel threads and tasks that have let go of theirs.</summary>
    /// <exception cref="GuestMemoryException">The table can't be read.</exception>
    /// <exception cref="KernelShapeException">The table makes no sense, or the kernel lacks the types.</exception>
    public static List<OpenFile> Of(LinuxKernel kernel, LinuxTask task, TargetLimits limits)
    {
        var files = new List<OpenFile>();
        ulong table = kernel.Read(task.Address, "task_struct.files");
        if (table == 0)
            return files;
        ulong descriptors = kernel.Read(table, "files_struct.fdt");
        uint count = kernel.ReadU32(descriptors, "fdtable.max_fds");
        if (count > MaxDescriptors || count > (uint)limits.MaxChain)
            throw new KernelShapeException($"{task.Comm} says that it has room for {count} open files");
        ulong open = kernel.Read(descriptors, "fdtable.open_fds"), closing = kernel.Read(descriptors, "fdtable.close_on_exec"), array = kernel.Read(descriptors, "fdtable.fd");
        for (uint first = 0; first < count; first += Word)
        {
            // The bits alone are read of what is not open: tables are large and sparse.
            ulong bits = kernel.ReadU64(unchecked(open + (first / 8)), "fdtable.open_fds"), close = bits == 0 ? 0 : kernel.ReadU64(unchecked(closing + (first / 8)), "fdtable.close_on_exec");
            for (; bits != 0; bits &= bits - 1)
            {
                int bit = BitOperations.TrailingZeroCount(bits);
                if (first + (uint)bit >= count)
                    break;
                ulong file = kernel.ReadU64(unchecked(array + ((first + (uint)bit) * 8)), "fdtable.fd");

                // A descriptor that is taken and not filled yet: open() is under way.
                if (file != 0)
                    files.Add(Read(kernel, file, (int)first + bit, (close >> bit & 1) != 0));
            }
        }

        return files;
    }

    /// <summary>One struct file.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static OpenFile Read(LinuxKernel kernel, ulong file, int descriptor = -1, bool closeOnExec = false)
    {
        ulong inode = kernel.Read(file, "file.f_inode");
        uint mode = inode == 0 ? 0 : kernel.ReadU32(inode, "inode.i_mode");
        FileKind kind = (mode >> 12) switch
        {
            1 => FileKind.Fifo,
            2 => FileKind.CharacterDevice,
            4 => FileKind.Directory,
            6 => FileKind.BlockDevice,
            8 => FileKind.Regular,
            10 => FileKind.SymbolicLink,
            12 => FileKind.Socket,
            _ => FileKind.Other,
        };
        ulong operations = kernel.Read(file, "file.f_op");
        return new OpenFile
        {
            Descriptor = descriptor,
            Address = file,
            Path = NameOf(kernel, file),
            Inode = inode,
            InodeNumber = inode == 0 ? 0 : kernel.Read(inode, "inode.i_ino"),
            Kind = kind,
            Device = kind is FileKind.CharacterDevice or FileKind.BlockDevice ? kernel.ReadU32(inode, "inode.i_rdev") : 0,
            Operations = kernel.Image.Symbolize(operations) is { Offset: 0 } symbol ? symbol.Name : null,
            Flags = kernel.ReadU32(file, "file.f_flags"),
            Position = kernel.ReadSigned(file, "file.f_pos"),
            CloseOnExec = closeOnExec,
            PrivateData = kernel.Read(file, "file.private_data"),
        };
    }

    /// <summary>Working directory, root and program of a task.</summary>
    public static TaskDirectories DirectoriesOf(LinuxKernel kernel, LinuxTask task)
    {
        ulong fs = KernelReads.Try(() => kernel.Read(task.Address, "task_struct.fs"), 0UL);
        string? At(string member) => fs == 0 ? null : KernelReads.Try<string?>(() => FilePaths.Name(kernel, FilePaths.ReadPath(kernel, fs, member)), null);
        ulong program = task.Memory == 0 ? 0 : KernelReads.Try(() => kernel.Read(task.Memory, "mm_struct.exe_file"), 0UL);
        return new TaskDirectories(
            At("fs_struct.pwd"), At("fs_struct.root"), program == 0 ? null : KernelReads.Try<string?>(() => FilePaths.Name(kernel, FilePaths.ReadPath(kernel, program, "file.f_path")), null));
    }

    private static string NameOf(LinuxKernel kernel, ulong file)
    {
        try
        {
            return FilePaths.Name(kernel, FilePaths.ReadPath(kernel, file, "file.f_path"));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return $"[{e.Message}]";
        }
    }
}
