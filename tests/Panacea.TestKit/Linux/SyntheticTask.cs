using System.Text;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>A task of a synthetic kernel.</summary>
public sealed class SyntheticTask
{
    /// <summary>Address of its task_struct.</summary>
    public required ulong Address { get; init; }

    /// <summary>Thread id.</summary>
    public required int Pid { get; init; }

    /// <summary>Process id.</summary>
    public required int Tgid { get; init; }

    /// <summary>Name.</summary>
    public required string Comm { get; init; }

    /// <summary>Address of its signal_struct: one a process.</summary>
    public required ulong Signal { get; init; }

    /// <summary>Lowest address of its stack.</summary>
    public required ulong Stack { get; init; }

    /// <summary>First address above its stack.</summary>
    public ulong StackTop => Stack + 16384;
}

public sealed partial class SyntheticKernel
{
    private const ulong UserArguments = 0x7ffd_0000_1000;

    /// <summary>All tasks, idle task of CPU 0 first; what is not listed here is not on the kernel's list after <see cref="Link"/>.</summary>
    public List<SyntheticTask> Tasks { get; } = [];

    /// <summary>Idle tasks by CPU.</summary>
    public List<SyntheticTask> Idle { get; } = [];

    /// <summary>A user process that runs on CPU 0.</summary>
    public SyntheticTask Victim => Tasks.First(t => t.Comm == "victim");

    /// <summary>A kernel thread.</summary>
    public SyntheticTask Kthread => Tasks.First(t => t.Comm == "kworker/0:1");

    /// <summary>pid 1.</summary>
    public SyntheticTask Init => Tasks.First(t => t.Pid == 1);

    /// <summary>Adds a task; not on the list before <see cref="Link"/>.</summary>
    /// <param name="pid">Thread id.</param>
    /// <param name="comm">Name.</param>
    /// <param name="leader">The process it is a thread of; null makes a process.</param>
    /// <param name="arguments">Arguments of a user process; null makes a kernel thread.</param>
    /// <param name="state">__state.</param>
    /// <param name="exitState">exit_state.</param>
    public SyntheticTask AddTask(int pid, string comm, SyntheticTask? leader = null, string[]? arguments = null, uint state = 1, uint exitState = 0)
    {
        ulong at = Tasks.Count == 0 ? this["init_task"] : Allocate(Types.SizeOf("task_struct"));
        var task = new SyntheticTask
        {
            Address = at, Pid = pid, Tgid = leader?.Tgid ?? pid, Comm = comm, Signal = leader?.Signal ?? Allocate(Types.SizeOf("signal_struct")), Stack = Allocate(16384, 16384),
        };
        Put(at, "task_struct.__state", state);
        Put(at, "task_struct.exit_state", exitState);
        Put(at, "task_struct.pid", (ulong)pid);
        Put(at, "task_struct.tgid", (ulong)task.Tgid);
        Put(at, "task_struct.flags", leader is null && arguments is null ? 0x20_0000UL : 0x40_0000UL);
        Put(at, "task_struct.stack", task.Stack);
        Put(at, "task_struct.signal", task.Signal);
        Put(at, "task_struct.real_parent", this["init_task"]);
        WriteText(at + Types.Offset("task_struct.comm"), comm);
        if (arguments is not null)
            Put(at, "task_struct.mm", MakeMm(arguments));
        else if (leader is not null)
            Put(at, "task_struct.mm", Get(leader.Address, "task_struct.mm"));
        Tasks.Add(task);
        return task;
    }

    /// <summary>Makes a task the current one of a CPU.</summary>
    public void Run(SyntheticTask task, int cpu, uint preemptCount = 0)
    {
        if (Options.Shape == KernelShape.Linux612)
        {
            Put(PerCpu("pcpu_hot", cpu), "pcpu_hot.current_task", task.Address);
            Put(PerCpu("pcpu_hot", cpu), "pcpu_hot.preempt_count", preemptCount | 0x8000_0000);
        }
        else
        {
            WriteU64(PerCpu("current_task", cpu), task.Address);
            Write(PerCpu("__preempt_count", cpu), BitConverter.GetBytes(preemptCount | 0x8000_0000));
        }

        ulong rq = PerCpu("runqueues", cpu);
        Put(rq, "rq.curr", task.Address);
        Put(rq, "rq.idle", Idle[cpu].Address);
        Put(rq, "rq.nr_running", Idle.Contains(task) ? 0UL : 1UL);
    }

    private ulong MakeMm(string[] arguments)
    {
        byte[] text = Encoding.UTF8.GetBytes(string.Concat(arguments.Select(a => a + "\0")));
        ulong page = Physical(Allocate(4096, 4096)), root = Physical(Allocate(4096 * 8, 4096));
        Memory.Write(page, text);
        new PageTableBuilder(Memory, Options.Mode, root).Map(UserArguments, page, access: PageAccess.Writable | PageAccess.User | PageAccess.NoExecute);
        ulong mm = Allocate(Types.SizeOf("mm_struct"));
        Put(mm, "mm_struct.pgd", Direct(root));
        Put(mm, "mm_struct.arg_start", UserArguments);
        Put(mm, "mm_struct.arg_end", UserArguments + (ulong)text.Length);
        return mm;
    }

    private void MakeTasks()
    {
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
            Idle.Add(AddTask(0, $"swapper/{cpu}", state: 0));
        Tasks.RemoveAll(t => t.Pid == 0 && t != Idle[0]);
        AddTask(1, "systemd", arguments: ["/sbin/init"]);
        AddTask(2, "kthreadd");
        AddTask(9, "kworker/0:1", state: 0x402);
        AddTask(321, "victim", arguments: ["/usr/bin/victim", "--port", "80"], state: 0);
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
            Run(cpu == 0 ? Victim : Idle[cpu], cpu);
    }

    private void LinkTasks()
    {
        List<SyntheticTask> leaders = [.. Tasks.Where(t => t.Pid == t.Tgid)];
        Ring([.. leaders.Select(t => t.Address + Types.Offset("task_struct.tasks"))]);
        foreach (SyntheticTask leader in leaders)
        {
            IEnumerable<ulong> threads = Tasks.Where(t => t.Tgid == leader.Tgid).Select(t => t.Address + Types.Offset("task_struct.thread_node"));
            Ring([leader.Signal + Types.Offset("signal_struct.thread_head"), .. threads]);
        }
    }

    /// <summary>Closes list nodes into a ring, in order.</summary>
    public void Ring(params IReadOnlyList<ulong> nodes)
    {
        for (int i = 0; i < nodes.Count; i++)
        {
            WriteU64(nodes[i], nodes[(i + 1) % nodes.Count]);
            WriteU64(nodes[(i + 1) % nodes.Count] + 8, nodes[i]);
        }
    }
}
