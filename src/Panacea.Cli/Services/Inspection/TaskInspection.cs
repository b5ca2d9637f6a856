using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using LinuxTasks = Panacea.Kernel.Subsystems.Tasks;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Tasks of a kernel.</summary>
internal sealed class TaskInspection(KernelLook look) : ITaskInspection
{
    private const int KibPerPage = 4, MaxCommandLine = 4096;

    public IReadOnlyList<TaskRow> List() => look.Settled(kernel =>
    {
        long? total = TotalPages(kernel);
        var memories = new Memories(kernel, look.TasksOf(kernel));
        return (IReadOnlyList<TaskRow>)[.. look.TasksOf(kernel).Select(t => Row(kernel, t, total, memories)).OrderBy(t => t.Pid).ThenBy(t => t.Cpu)];
    });

    public TaskReport? Find(int pid) => look.Settled(kernel => look.TaskOf(kernel, pid) is { } task ? Report(kernel, task) : null);

    public FilesReport? Files(int pid) => look.Settled(kernel =>
    {
        if (look.TaskOf(kernel, pid) is not { } task)
            return null;
        TaskDirectories at = OpenFiles.DirectoriesOf(kernel, task);
        return new FilesReport(
            Row(kernel, task, null, new Memories(kernel, look.TasksOf(kernel))), at.Root, at.WorkingDirectory, [.. OpenFiles.Of(kernel, task, KernelLook.Limits).Select(f => File(kernel, f))]);
    });

    private TaskReport Report(LinuxKernel kernel, LinuxTask task)
    {
        TaskDetails details = TaskDetails.Read(kernel, task);
        TaskDirectories at = OpenFiles.DirectoriesOf(kernel, task);
        TaskCredentials? who = KernelLook.Try<TaskCredentials?>(() => TaskEnvironment.Credentials(kernel, task), null);
        return new TaskReport
        {
            Task = Row(kernel, task, TotalPages(kernel), new Memories(kernel, look.TasksOf(kernel))),
            CommandLine = LinuxTasks.TryReadCommandLine(kernel, task, MaxCommandLine, out string line, out _) ? line : null,
            Parents = [.. TaskEnvironment.Ancestors(kernel, task).Select(p => $"{p.Pid} {p.Comm}")],
            Threads = details.Threads,
            RawState = details.RawState,
            Flags = task.Flags,
            Policy = details.Policy.ToString().ToLowerInvariant(),
            Priority = details.Priority,
            Nice = details.Nice,
            UserNs = unchecked((long)details.UserNs),
            SystemNs = unchecked((long)details.SystemNs),
            RuntimeNs = unchecked((long)details.RuntimeNs),
            StartNs = unchecked((long)details.StartNs),
            VoluntarySwitches = unchecked((long)details.VoluntarySwitches),
            InvoluntarySwitches = unchecked((long)details.InvoluntarySwitches),
            SleptNs = KernelLook.Try(() => unchecked((long?)new SleepTimes(kernel).Of(task.Address)?.Ns), null),
            WaitsIn = KernelLook.Try(() => WaitsIn(kernel, task), null),
            Stack = details.Stack,
            Mm = task.Memory,
            Ids = who is null ? null : [who.Uid, who.EffectiveUid, who.Gid, who.EffectiveGid],
            Capabilities = who?.Effective,
            Cgroup = KernelLook.Try<string?>(() => TaskEnvironment.CgroupPath(kernel, task), null),
            WorkingDirectory = at.WorkingDirectory,
            Root = at.Root,
            Executable = at.Executable,
            Namespaces = KernelLook.Try<IReadOnlyDictionary<string, long>?>(() => TaskEnvironment.Namespaces(kernel, task).ToDictionary(n => n.Key, n => (long)n.Value), null),
        };
    }

    private static string? WaitsIn(LinuxKernel kernel, LinuxTask task)
    {
        var backtraces = new TaskBacktraces(kernel, KernelLook.Limits);
        return backtraces.WaitsIn(backtraces.Of(task.Address)) is { } frame ? backtraces.Locate(frame)?.ToString() : null;
    }

    private static TaskRow Row(LinuxKernel kernel, LinuxTask t, long? totalPages, Memories memories)
    {
        // It may have ended meanwhile.
        int? cpu = KernelLook.Try<int?>(() => TaskDetails.CpuOf(kernel, t.Address), null);
        ProcessMemory? memory = memories.Of(t);
        return new TaskRow(t.Pid, t.Tgid, t.Parent, t.State.ToString(), cpu, t.Comm, t.IsKernelThread, t.Address)
        {
            Active = KernelLook.Try(() => TaskDetails.IsRunning(kernel, t.Address), false),
            MemoryPercent = memory is not null && totalPages is { } total ? Math.Round(100.0 * memory.ResidentPages / total, 1) : null,
            VszKib = memory is null ? null : unchecked((long)memory.VirtualPages * KibPerPage),
            RssKib = memory is null ? null : unchecked(memory.ResidentPages * KibPerPage),
        };
    }

    private static long? TotalPages(LinuxKernel kernel)
    {
        // A variable of type atomic_long_t since 5.0 (commit ca79b0c211af, "mm: convert totalram_pages and totalhigh_pages variables to atomic").
        string? symbol = kernel.HasSymbol("_totalram_pages") ? "_totalram_pages" : kernel.HasSymbol("totalram_pages") ? "totalram_pages" : null;
        return symbol is null ? null : KernelLook.Try<long?>(() => (long)kernel.ReadSymbolU64(symbol) is var pages and > 0 ? pages : null, null);
    }

    private static FileRow File(LinuxKernel kernel, OpenFile f)
    {
        string type = f.Kind switch
        {
            FileKind.Regular => "REG",
            FileKind.Directory => "DIR",
            FileKind.CharacterDevice => "CHR",
            FileKind.BlockDevice => "BLK",
            FileKind.Fifo => "FIFO",
            FileKind.Socket => "SOCK",
            FileKind.SymbolicLink => "LNK",
            _ => "UNKN",
        };
        LinuxSocket? socket = KernelLook.Try<LinuxSocket?>(() => Sockets.Of(kernel, f), null);
        return new FileRow(
            f.Descriptor, f.Address, KernelLook.Try(() => FilePaths.ReadPath(kernel, f.Address, "file.f_path").Dentry, 0UL), f.Inode, unchecked((long)f.InodeNumber), type, f.Path,
            f.Flags, f.Position, socket is null ? null : ResourceInspection.Socket(socket));
    }

    /// <summary>What processes hold in memory, each read once for all of its threads.</summary>
    private sealed class Memories(LinuxKernel kernel, IReadOnlyList<LinuxTask> tasks)
    {
        private readonly ILookup<ulong, ulong> _tasks = tasks.ToLookup(t => t.Memory, t => t.Address);
        private readonly Dictionary<ulong, ProcessMemory?> _read = new() { [0] = new ProcessMemory(0, 0, 0, 0, 0) };

        /// <summary>That of a task; null where it can't be read.</summary>
        public ProcessMemory? Of(LinuxTask task)
        {
            if (!_read.TryGetValue(task.Memory, out ProcessMemory? memory))
                _read[task.Memory] = memory = KernelLook.Try<ProcessMemory?>(() => TaskDetails.ReadMemory(kernel, task.Memory, _tasks[task.Memory]), null);
            return memory;
        }
    }
}
