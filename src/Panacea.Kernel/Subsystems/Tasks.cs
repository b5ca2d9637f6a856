using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One task (thread) as the kernel keeps it.</summary>
/// <param name="Address">Guest-virtual address of its task_struct.</param>
/// <param name="Pid">Thread id.</param>
/// <param name="Tgid">Process id.</param>
/// <param name="Parent">Process id of its parent.</param>
/// <param name="Comm">Name, at most 15 bytes.</param>
/// <param name="State">State letter as ps shows it; '?' for one it does not know.</param>
/// <param name="Flags">task_struct.flags (PF_*).</param>
/// <param name="Memory">mm_struct address, 0 for kernel threads.</param>
public sealed record LinuxTask(ulong Address, int Pid, int Tgid, int Parent, string Comm, char State, uint Flags, ulong Memory)
{
    /// <summary>PF_KTHREAD (include/linux/sched.h).</summary>
    public bool IsKernelThread => (Flags & Tasks.PfKthread) != 0;
}

/// <summary>Tasks, from init_task and the lists through it (include/linux/sched.h, include/linux/sched/signal.h).</summary>
public static class Tasks
{
    /// <summary>PF_KTHREAD.</summary>
    public const uint PfKthread = 0x0020_0000;

    /// <summary>TASK_RTLOCK_WAIT and TASK_FROZEN, both shown as uninterruptible (include/linux/sched.h, __task_state_index).</summary>
    private const uint TaskShownUninterruptible = 0x1000 | 0x8000;

    /// <summary>PF_EXITING.</summary>
    public const uint PfExiting = 0x0000_0004;

    /// <summary>PF_WQ_WORKER.</summary>
    public const uint PfWqWorker = 0x0000_0020;

    /// <summary>Every thread of every process, the idle task of CPU 0 first. Over a running guest the list changes under the walk: it is bounded, and a chain that does
    /// not return to its head within <see cref="TargetLimits.MaxTasks"/> throws.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="lost">For a dump that lacks pages: receives what could not be read; processes and threads behind it are left out. Null where that is an error.</param>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The chain does not close, or the kernel lacks the types.</exception>
    public static List<LinuxTask> Enumerate(LinuxKernel kernel, TargetLimits limits, ICollection<MemoryFault>? lost = null)
    {
        ulong init = kernel.Symbol("init_task");
        ulong tasksOffset = kernel.Offset("task_struct.tasks");
        ulong nodeOffset = kernel.Offset("task_struct.thread_node");
        ulong headOffset = kernel.Offset("signal_struct.thread_head");
        var all = new List<LinuxTask>();
        var seen = new HashSet<ulong>();
        if (!Walk(0))
            Walk(8);
        return all;

        // Along the next pointers of the list of processes, or, where these lead into what a dump lacks, back along the previous ones as far as they go.
        bool Walk(ulong link)
        {
            ulong leader = init;
            var guard = new ChainGuard("the task list", limits.MaxTasks);
            do
            {
                // A process may have no thread on its list (it is being torn down), so the threads do not bound the processes.
                guard.Step(leader);
                try
                {
                    if (leader != init)
                        AddProcess(leader);
                    else if (link == 0)
                        Add(leader);
                    leader = unchecked(kernel.ReadU64(unchecked(leader + tasksOffset + link), "task_struct.tasks") - tasksOffset);
                }
                catch (GuestMemoryException e) when (lost is not null)
                {
                    lost.Add(e.Fault);
                    return false;
                }
            }
            while (leader != init && (link == 0 || !seen.Contains(leader)));
            return true;
        }

        void AddProcess(ulong leader)
        {
            try
            {
                AddThreads(leader);
            }
            catch (GuestMemoryException e) when (lost is not null)
            {
                lost.Add(e.Fault);
                AddLeaderAlone(leader);
            }
        }

        void AddThreads(ulong process)
        {
            // thread_node of every thread of the process hangs off signal->thread_head; the leader is among them while it lives.
            ulong head = unchecked(kernel.Read(process, "task_struct.signal") + headOffset);
            for (ulong node = kernel.ReadU64(head, "thread_head"); node != head; node = kernel.ReadU64(node, "thread_node"))
                Add(unchecked(node - nodeOffset));
        }

        void AddLeaderAlone(ulong process)
        {
            try
            {
                if (!seen.Contains(process))
                    Add(process);
            }
            catch (GuestMemoryException)
            {
                // Its fault is noted already.
            }
        }

        void Add(ulong task)
        {
            if (!seen.Add(task) || seen.Count > limits.MaxTasks)
                throw new KernelShapeException("the task list does not close");
            all.Add(ReadTask(kernel, task));
        }
    }

    /// <summary>Address of every thread of every process, and nothing else of them: a twentieth of what <see cref="Enumerate"/> reads.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The chain does not close, or the kernel lacks the types.</exception>
    public static IEnumerable<ulong> Addresses(LinuxKernel kernel, TargetLimits limits)
    {
        ulong init = kernel.Symbol("init_task"), tasks = kernel.Offset("task_struct.tasks"), thread = kernel.Offset("task_struct.thread_node"), threads = kernel.Offset("signal_struct.thread_head");
        var processes = new ChainGuard("the task list", limits.MaxTasks);
        int count = 0;
        for (ulong leader = Next(init); leader != init; leader = Next(leader))
        {
            processes.Step(leader);
            ulong head = unchecked(kernel.Read(leader, "task_struct.signal") + threads);
            for (ulong node = kernel.ReadU64(head, "thread_head"); node != head; node = kernel.ReadU64(node, "thread_node"))
            {
                if (++count > limits.MaxTasks)
                    throw new KernelShapeException("the task list does not close");
                yield return unchecked(node - thread);
            }
        }

        ulong Next(ulong leader) => unchecked(kernel.ReadU64(unchecked(leader + tasks), "task_struct.tasks") - tasks);
    }

    /// <summary>One task.</summary>
    public static LinuxTask ReadTask(LinuxKernel kernel, ulong task)
    {
        ulong parent = kernel.Read(task, "task_struct.real_parent");
        return new LinuxTask(
            task, kernel.ReadS32(task, "task_struct.pid"), kernel.ReadS32(task, "task_struct.tgid"),
            kernel.ReadS32(parent, "task_struct.tgid"), kernel.ReadText(task, "task_struct.comm"), ReadState(kernel, task),
            kernel.ReadU32(task, "task_struct.flags"), kernel.Read(task, "task_struct.mm"));
    }

    /// <summary>The arguments of a user process, NUL-separated in its own memory (mm_struct.arg_start to arg_end), joined by spaces.</summary>
    /// <returns>False for kernel threads and where the process's memory is not resident; <paramref name="why"/> says which.</returns>
    public static bool TryReadCommandLine(LinuxKernel kernel, LinuxTask task, int maxBytes, out string commandLine, out string why)
    {
        commandLine = "";
        if (task.Memory == 0)
        {
            why = "a kernel thread has no command line";
            return false;
        }

        try
        {
            ulong start = kernel.Read(task.Memory, "mm_struct.arg_start"), end = kernel.Read(task.Memory, "mm_struct.arg_end");
            ulong pgd = kernel.Read(task.Memory, "mm_struct.pgd");
            if (end < start)
            {
                why = "mm_struct.arg_end lies before arg_start";
                return false;
            }

            if (!kernel.Space.TryTranslate(new VirtualAddress(pgd), out var root, out MemoryFault fault))
            {
                why = fault.ToString();
                return false;
            }

            var user = new AddressSpace(kernel.Space.Memory, root.Physical, kernel.Space.Mode, kernel.Space.EncryptionMask);
            byte[] raw = new byte[(int)Math.Min(end - start, (ulong)maxBytes)];
            if (!user.TryRead(new VirtualAddress(start), raw, out fault))
            {
                why = fault.ToString();
                return false;
            }

            commandLine = System.Text.Encoding.UTF8.GetString(raw).TrimEnd('\0').Replace('\0', ' ');
            why = "";
            return true;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            why = e.Message;
            return false;
        }
    }

    /// <summary>State letter of /proc/PID/stat: bits of task_struct.__state (state before 5.14, commit 2f064a59a11f) and exit_state (fs/proc/array.c).</summary>
    private static char ReadState(LinuxKernel kernel, ulong task)
    {
        uint state = unchecked((uint)kernel.Read(task, kernel.HasMember("task_struct.__state") ? "task_struct.__state" : "task_struct.state"));
        uint exit = kernel.ReadU32(task, "task_struct.exit_state");

        // TASK_REPORT is the low seven bits; TASK_IDLE is uninterruptible without load (0x402), frozen tasks report as D; parked kernel threads are P.
        if ((state & 0x402) == 0x402)
            return 'I';
        uint report = (state | exit) & 0x7f;
        if ((state & TaskShownUninterruptible) != 0)
            report = 0x02;
        return report switch
        {
            0 => 'R',
            _ when (report & 0x40) != 0 => 'P',
            _ when (report & 0x20) != 0 => 'Z',
            _ when (report & 0x10) != 0 => 'X',
            _ when (report & 0x08) != 0 => 't',
            _ when (report & 0x04) != 0 => 'T',
            _ when (report & 0x02) != 0 => 'D',
            _ when (report & 0x01) != 0 => 'S',
            _ => '?',
        };
    }
}
