using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Wait queues (include/linux/wait.h) of what can be reached: tasks, open files, memory nodes, block devices and the kernel's own. What waits is an entry with a function, as a rule
/// on the stack of a task that sleeps.</summary>
public sealed class WaitQueueValidator : IValidator
{
    /// <summary>Entries of one queue.</summary>
    private const int MaxEntries = 10_000;

    /// <summary>WQ_FLAG_BOOKMARK, of an entry that marks a place and has no function (kernel/sched/wait.c, until 6.6).</summary>
    private const ulong Bookmark = 4;

    /// <summary>Queues that are variables, and tables of them.</summary>
    private static readonly string[] Variables =
    [
        "bit_wait_table", "folio_wait_table", "page_wait_table", "log_wait", "crng_init_wait", "oom_reaper_wait", "oom_victims_wait", "khugepaged_wait", "ksm_iter_wait", "ksm_thread_wait",
        "kauditd_wait", "audit_backlog_wait", "proc_poll_wait", "nl_table_wait", "pci_cfg_wait", "input_devices_poll_wait", "muxed_resource_wait",
    ];

    /// <summary>Queues of a memory node.</summary>
    private static readonly string[] OfNode = ["kswapd_wait", "pfmemalloc_wait", "kcompactd_wait"];

    /// <summary>By the file_operations of a file: what its private data is, and that one's queues.</summary>
    private static readonly (string Operations, string[] Members)[] OfFiles =
    [
        ("eventpoll_fops", ["eventpoll.wq", "eventpoll.poll_wait"]), ("eventfd_fops", ["eventfd_ctx.wqh"]), ("timerfd_fops", ["timerfd_ctx.wqh"]),
        ("inotify_fops", ["fsnotify_group.notification_waitq"]), ("socket_file_ops", ["socket.wq.wait"]), ("pidfd_fops", ["pid.wait_pidfd"]),
        ("pipefifo_fops", ["pipe_inode_info.rd_wait", "pipe_inode_info.wr_wait"]),
    ];

    /// <summary>Functions whose entry's private pointer is the task that they wake.</summary>
    private static readonly string[] OfTasks =
    [
        "autoremove_wake_function", "default_wake_function", "woken_wake_function", "wake_bit_function", "var_wake_function", "wake_page_function", "ep_autoremove_wake_function",
        "child_wait_callback", "receiver_wake_function",
    ];

    /// <inheritdoc/>
    public string Name => "wait-queues";

    /// <inheritdoc/>
    public string Description => "wait queues of tasks, open files, memory nodes and the kernel both ways; each entry's function, and the task that it wakes";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context) => new Look(context).Run();

    private sealed class Look
    {
        private readonly CheckContext _context;
        private readonly LinuxKernel _kernel;
        private readonly CheckNotes _notes;
        private readonly HashSet<ulong> _seen = [], _tasks;
        private readonly List<(ulong Start, ulong Task)> _stacks = [];
        private readonly HashSet<ulong> _wakesTask;
        private readonly ulong _pollWake, _epollWake, _stackSize, _head, _private, _func, _flags, _entry;

        public Look(CheckContext context)
        {
            (_context, _kernel, _notes) = (context, context.Kernel, new CheckNotes(context, "wait-queues"));
            _tasks = [.. context.Tasks.Select(t => t.Address)];
            _stackSize = _kernel.Image.Types.TrySizeOf("thread_union", out int bytes) ? (ulong)bytes : 16384;
            _wakesTask = [.. OfTasks.Where(_kernel.HasSymbol).Select(_kernel.Symbol)];
            _pollWake = _kernel.HasSymbol("pollwake") ? _kernel.Symbol("pollwake") : 0;
            _epollWake = _kernel.HasSymbol("ep_poll_callback") ? _kernel.Symbol("ep_poll_callback") : 0;
            (_head, _entry) = (_kernel.Offset("wait_queue_head.head"), _kernel.Offset("wait_queue_entry.entry"));
            (_private, _func, _flags) = (_kernel.Offset("wait_queue_entry.private"), _kernel.Offset("wait_queue_entry.func"), _kernel.Offset("wait_queue_entry.flags"));
        }

        public ValidatorResult Run()
        {
            foreach (LinuxTask task in _context.Tasks)
                _notes.Guard($"the task at 0x{task.Address:x}", () => _stacks.Add((_kernel.Read(task.Address, "task_struct.stack"), task.Address)));
            _stacks.RemoveAll(s => s.Start == 0);
            _stacks.Sort();
            Kernel();
            foreach (LinuxTask task in _context.Tasks)
                _notes.Guard($"wait queues of pid {task.Pid}", () => OfTask(task));
            foreach (ulong file in FileValidator.Open(_context, _notes))
                _notes.Guard($"wait queues of the file at 0x{file:x}", () => OfFile(file));
            return _notes.Done();
        }

        private void Kernel()
        {
            ulong size = (ulong)_kernel.Image.Types.SizeOf("wait_queue_head");
            foreach (string variable in Variables)
            {
                if (!_kernel.Image.TryFindSymbol(variable, out ulong at))
                    continue;
                ulong room = _kernel.Image.Symbolize(at)?.Size ?? 0;

                // Tables are 1 << 8 queues (WAIT_TABLE_BITS); the next symbol follows where they end. Single ones are followed by whatever it is.
                ulong count = variable.EndsWith("_table", StringComparison.Ordinal) ? Math.Min(room / size, 256) : 1;
                for (ulong i = 0; i < count; i++)
                    Queue(unchecked(at + (i * size)), count == 1 ? variable : $"{variable}[{i}]");
            }

            _notes.Guard("memory nodes", () =>
            {
                foreach ((int node, ulong data) in MemorySummary.Nodes(_kernel))
                {
                    foreach (string member in OfNode.Where(m => _kernel.HasMember($"pglist_data.{m}")))
                        Queue(unchecked(data + _kernel.Offset($"pglist_data.{member}")), $"{member} of node {node}");
                }
            });
            if (!_kernel.HasMember("super_block.s_writers.rw_sem[0].waiters") || !_kernel.HasSymbol("super_blocks"))
                return;
            _notes.Guard("file systems", () =>
            {
                foreach (ulong super in _context.Settled(() => Lists.Entries(_kernel, _kernel.Symbol("super_blocks"), "super_block.s_list", _context.Limits).ToList()))
                {
                    // SB_FREEZE_LEVELS is 3.
                    for (int level = 0; level < 3; level++)
                        Queue(unchecked(super + _kernel.Offset($"super_block.s_writers.rw_sem[{level}].waiters")), $"writers of the file system at 0x{super:x}");
                }
            });
        }

        private void OfTask(LinuxTask task)
        {
            foreach ((string pointer, string member) in ((string, string)[])[("task_struct.signal", "signal_struct.wait_chldexit"), ("task_struct.sighand", "sighand_struct.signalfd_wqh")])
            {
                if (_kernel.HasMember(pointer) && _kernel.HasMember(member) && _kernel.Read(task.Address, pointer) is var owner && owner != 0)
                    Queue(unchecked(owner + _kernel.Offset(member)), $"{member} of pid {task.Tgid}");
            }
        }

        private void OfFile(ulong file)
        {
            ulong operations = _kernel.Read(file, "file.f_op");
            if (_kernel.Image.Symbolize(operations) is not { Offset: 0 } symbol)
                return;
            foreach ((string name, string[] members) in OfFiles)
            {
                if (name != symbol.Name)
                    continue;

                // A pipe's is its inode's, which every end of it shares; since 6.9 a pidfd's is its inode's private pointer (commit cb12fd8e0dab, "pidfd: add pidfs").
                ulong inode = _kernel.Read(file, "file.f_inode");
                ulong owner = name == "pipefifo_fops" ? Shapes.ReadIfAny(_kernel, inode, "inode.i_pipe") ?? 0
                    : name == "pidfd_fops" && _kernel.HasSymbol("pidfs_init_fs_context") ? _kernel.Read(inode, "inode.i_private")
                    : _kernel.Read(file, "file.private_data");
                foreach (string member in members.Where(_ => owner != 0).Where(_kernel.HasMember))
                    Queue(unchecked(owner + _kernel.Offset(member)), $"{member} of the file at 0x{file:x}");
            }
        }

        private void Queue(ulong head, string name)
        {
            // Threads share theirs, and so do descriptors.
            if (!_seen.Add(head) || !_notes.Count("queues"))
                return;
            string what = $"the wait queue at 0x{head:x} ({name})";
            List<ulong> nodes = Rings.Nodes(_context, _notes, unchecked(head + _head), what, MaxEntries);
            foreach (ulong node in nodes)
            {
                ulong entry = unchecked(node - _entry);
                _notes.Guard($"the entry at 0x{entry:x} of {what}", () =>
                {
                    if (_notes.Count("entries"))
                        Entry(entry, head, $"the entry at 0x{entry:x} of {what}");
                });
            }
        }

        private void Entry(ulong entry, ulong head, string who)
        {
            ulong function = _kernel.ReadU64(unchecked(entry + _func), "wait_queue_entry.func"), own = _kernel.ReadU64(unchecked(entry + _private), "wait_queue_entry.private");
            if (function == 0 && (_kernel.Space.ReadUInt32(new VirtualAddress(unchecked(entry + _flags)), "wait_queue_entry.flags") & Bookmark) != 0)
                return;
            if (!_context.Text.Contains(function))
            {
                _notes.Found("function", Confidence.High, $"{who} calls 0x{function:x}, which is no code");
                return;
            }

            ulong task = 0;
            if (_wakesTask.Contains(function))
            {
                task = own;
            }
            else if (function == _pollWake && _kernel.HasMember("poll_wqueues.polling_task"))
            {
                task = _kernel.Read(own, "poll_wqueues.polling_task");
            }
            else if (function == _epollWake && _kernel.HasMember("eppoll_entry.whead"))
            {
                ulong epoll = unchecked(entry - _kernel.Offset("eppoll_entry.wait"));
                if (_kernel.Read(epoll, "eppoll_entry.whead") is var says && says != head)
                    _notes.Found("head", Confidence.High, $"{who} says that it waits on the queue at 0x{says:x}", $"eppoll_entry 0x{epoll:x}");
                return;
            }
            else
            {
                return;
            }

            _notes.Count("waiting tasks");
            if (!_tasks.Contains(task) && _context.HasAllTasks)
                _notes.Found("task", Confidence.High, $"{who} wakes 0x{task:x}, which is no task (any more)");
            else if (StackOf(entry) is { } owner && owner != task)
                _notes.Found("task", Confidence.High, $"{who} lies on the stack of the task at 0x{owner:x} and wakes the task at 0x{task:x}");
        }

        /// <summary>The task on whose stack an address lies.</summary>
        private ulong? StackOf(ulong address)
        {
            int at = _stacks.BinarySearch((address, ulong.MaxValue));
            at = (at < 0 ? ~at : at) - 1;
            return at >= 0 && address - _stacks[at].Start < _stackSize ? _stacks[at].Task : null;
        }
    }
}
