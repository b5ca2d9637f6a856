using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Processes, threads, families and pids (include/linux/sched.h, kernel/fork.c copy_process, kernel/exit.c, kernel/pid.c). All of them change under tasklist_lock together, so that over
/// memory that stands still they agree unless a CPU stands in the middle of fork or exit.</summary>
public sealed class TaskValidator : IValidator
{
    /// <inheritdoc/>
    public string Name => "tasks";

    /// <inheritdoc/>
    public string Description => "task list both ways, threads and their leaders, parents and children, pids and their tasks";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context) => new Look(context).Run();

    /// <summary>As many tasks as the lists lead to, broken or not.</summary>
    /// <param name="context">What is looked at.</param>
    /// <param name="lost">Memory of the lists is not in the dump: there were more tasks.</param>
    internal static IReadOnlyList<ulong> Reachable(CheckContext context, out bool lost)
    {
        var look = new Look(context);
        look.Lists();
        lost = look.HasLost;
        return look.Found;
    }

    private sealed class Look(CheckContext context)
    {
        private readonly LinuxKernel _kernel = context.Kernel;
        private readonly CheckNotes _notes = new(context, "tasks");
        private readonly List<ulong> _tasks = [];
        private readonly HashSet<ulong> _known = [];

        public IReadOnlyList<ulong> Found => _tasks;

        public bool HasLost => _notes.HasLost;

        public ValidatorResult Run()
        {
            Lists();
            Families();
            if (_kernel.HasMember("task_struct.thread_pid") && _kernel.HasMember("pid_namespace.idr") && _kernel.HasMember("task_struct.pid_links") && _kernel.HasSymbol("init_pid_ns"))
                Pids();
            else
                _notes.Missing("pids: this kernel keeps them in another way (before 4.19)");
            return _notes.Done();
        }

        public void Lists()
        {
            ulong init = _kernel.Symbol("init_task"), head = unchecked(init + _kernel.Offset("task_struct.tasks"));
            Threads(init);
            foreach (ulong leader in Rings.Entries(context, _notes, head, "task_struct.tasks", "task list", Math.Min(context.MaxObjects, context.Limits.MaxTasks)))
                Threads(leader);
        }

        private void Threads(ulong leader)
        {
            _notes.Guard($"threads of the process at 0x{leader:x}", () =>
            {
                if (!_notes.Count("processes"))
                    return;
                int tgid = _kernel.ReadS32(leader, "task_struct.tgid");
                ulong signal = _kernel.Read(leader, "task_struct.signal");
                string who = $"process {tgid} at 0x{leader:x}";
                if (_kernel.ReadS32(leader, "task_struct.pid") is var own && own != tgid)
                    _notes.Found("leader", Confidence.High, $"{who} is on the list of processes and is thread {own} of it", $"pid {own}, tgid {tgid}");
                if (signal == 0)
                {
                    _notes.Found("null", Confidence.High, $"{who} has no signal_struct");
                    return;
                }

                int count = 0;
                bool leads = false;
                foreach (ulong thread in Rings.Entries(
                    context, _notes, unchecked(signal + _kernel.Offset("signal_struct.thread_head")), "task_struct.thread_node", $"threads of {who}", context.MaxObjects))
                {
                    count++;
                    leads |= thread == leader;
                    if (!_known.Add(thread))
                    {
                        _notes.Found("twice", Confidence.High, $"the task at 0x{thread:x} is a thread of {who} and of another process");
                        continue;
                    }

                    _tasks.Add(thread);
                    _notes.Count("threads");
                    Member(thread, leader, tgid, signal, who);
                }

                if (!leads)
                    _notes.Absent("leader", Confidence.High, $"{who} is not among its own threads", $"signal_struct 0x{signal:x}");
                if (_kernel.HasMember("signal_struct.nr_threads") && _kernel.ReadS32(signal, "signal_struct.nr_threads") is var said && said != count)
                    _notes.Absent("thread-count", Confidence.Medium, $"{who} says that it has {said} threads, and {count} are on its list", $"signal_struct 0x{signal:x}");
            });
        }

        private void Member(ulong thread, ulong leader, int tgid, ulong signal, string who) => _notes.Guard($"a thread of {who}", () =>
        {
            if (_kernel.ReadS32(thread, "task_struct.tgid") is var says && says != tgid)
                _notes.Found("tgid", Confidence.High, $"the thread at 0x{thread:x} of {who} says that it belongs to process {says}");
            if (_kernel.Read(thread, "task_struct.signal") is var other && other != signal)
                _notes.Found("signal", Confidence.High, $"the thread at 0x{thread:x} of {who} has another signal_struct, 0x{other:x}", $"its process has 0x{signal:x}");
            if (_kernel.HasMember("task_struct.group_leader") && _kernel.Read(thread, "task_struct.group_leader") is var leads && leads != leader)
                _notes.Found("leader", Confidence.High, $"the thread at 0x{thread:x} of {who} takes 0x{leads:x} for its leader");
        });

        /// <summary>Leaders hang in the list of the task that forked them (or adopted them), and of nobody else; ptrace makes no difference to that list.</summary>
        private void Families()
        {
            if (!_kernel.HasMember("task_struct.children") || !_kernel.HasMember("task_struct.sibling"))
            {
                _notes.Missing("parents and children: this kernel's types do not have them");
                return;
            }

            var parents = new Dictionary<ulong, ulong>();
            foreach (ulong task in _tasks)
            {
                _notes.Guard($"children of the task at 0x{task:x}", () =>
                {
                    foreach (ulong child in Rings.Entries(
                        context, _notes, unchecked(task + _kernel.Offset("task_struct.children")), "task_struct.sibling", $"children of the task at 0x{task:x}", context.MaxObjects))
                    {
                        _notes.Count("children");
                        parents[child] = task;
                        if (!_known.Contains(child))
                            _notes.Absent("unlisted-child", Confidence.High, $"the task at 0x{task:x} has a child at 0x{child:x} that is on no list of tasks");
                        else if (_kernel.Read(child, "task_struct.real_parent") is var parent && parent != task)
                            _notes.Found("parent", Confidence.High, $"the task at 0x{child:x} is a child of 0x{task:x} and takes 0x{parent:x} for its parent");
                    }
                });
            }

            ulong init = _kernel.Symbol("init_task");
            foreach (ulong task in _tasks)
            {
                _notes.Guard($"parent of the task at 0x{task:x}", () =>
                {
                    ulong parent = _kernel.Read(task, "task_struct.real_parent");
                    bool leads = _kernel.ReadS32(task, "task_struct.pid") == _kernel.ReadS32(task, "task_struct.tgid");
                    if (!_known.Contains(parent))
                        _notes.Absent("parent", Confidence.High, $"the parent of the task at 0x{task:x}, 0x{parent:x}, is on no list of tasks");
                    else if (leads && task != init && !parents.ContainsKey(task))
                        _notes.Absent("child", Confidence.High, $"the task at 0x{task:x} is in no list of children; its parent is 0x{parent:x}");
                });
            }
        }

        private void Pids()
        {
            ulong idr = unchecked(_kernel.Symbol("init_pid_ns") + _kernel.Offset("pid_namespace.idr"));
            ulong numbers = _kernel.Offset("pid.numbers"), number = _kernel.Offset("upid.nr"), heads = _kernel.Offset("pid.tasks"), links = _kernel.Offset("task_struct.pid_links");
            var pids = new Dictionary<ulong, ulong>();
            bool whole = false;
            _notes.Guard("pids", () =>
            {
                foreach (XArrayEntry entry in context.Settled(() => XArrays.IdrEntries(_kernel, idr, "pid_namespace.idr", context.Limits).ToList()))
                {
                    if (!_notes.Count("pids"))
                        return;
                    pids[entry.Index] = entry.Value;
                    Pid(entry.Index, entry.Value);
                }

                whole = true;
            });
            if (!whole)
                return;
            foreach (ulong task in _tasks)
            {
                _notes.Guard($"pid of the task at 0x{task:x}", () =>
                {
                    ulong nr = unchecked((ulong)_kernel.ReadS32(task, "task_struct.pid")), pid = _kernel.Read(task, "task_struct.thread_pid");
                    if (nr != 0 && (!pids.TryGetValue(nr, out ulong there) || there != pid))
                        _notes.Found("pid", Confidence.High, $"the task at 0x{task:x} has pid {nr} and struct pid 0x{pid:x}; the table of pids has {(there == 0 ? "none" : $"0x{there:x}")} there");
                });
            }

            // What is held by a struct pid is a process group or a session that outlives its leader, or a task: that one has to be on the lists.
            void Pid(ulong nr, ulong pid) => _notes.Guard($"pid {nr}", () =>
            {
                uint says = _kernel.Space.ReadUInt32(new VirtualAddress(unchecked(pid + numbers + number)), "upid.nr");
                if (says != nr)
                    _notes.Found("pid", Confidence.High, $"the struct pid at 0x{pid:x} stands for pid {nr} in the table and says that it is {says}");
                int tasks = 0;
                foreach (ulong node in Kernel.Structures.Lists.HlistNodes(_kernel, unchecked(pid + heads), $"tasks of pid {nr}", context.Limits))
                {
                    ulong task = unchecked(node - links);
                    if (!_known.Contains(task))
                        _notes.Absent("hidden", Confidence.High, $"pid {nr} belongs to the task at 0x{task:x}, which is on no list of tasks", $"struct pid 0x{pid:x}");
                    else if (_kernel.Read(task, "task_struct.thread_pid") is var back && back != pid)
                        _notes.Found("pid", Confidence.High, $"pid {nr} belongs to the task at 0x{task:x}, which has another struct pid, 0x{back:x}", $"struct pid 0x{pid:x}");
                    if (++tasks == 2)
                        _notes.Found("pid", Confidence.High, $"pid {nr} belongs to more than one task", $"struct pid 0x{pid:x}");
                }
            });
        }
    }
}
