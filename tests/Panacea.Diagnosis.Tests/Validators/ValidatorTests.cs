using Panacea.Diagnosis.Validators;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

/// <summary>Each validator finds nothing in a whole guest, and what is broken in one where something is. The CPU's own numbers are those of a machine that stands still.</summary>
public sealed class ValidatorTests
{
    /// <summary>What is broken in a guest and the finding that tells of it.</summary>
    private static readonly (string Validator, string Finding, Action<SyntheticKernel, WholeKernel> Break)[] Damages =
    [
        ("tasks", "check.tasks.back-pointer", (k, _) => k.WriteU64(k.Init.Address + k.Types.Offset("task_struct.tasks") + 8, k.Kthread.Address + k.Types.Offset("task_struct.tasks"))),
        ("tasks", "check.tasks.poison", (k, _) => k.WriteU64(k.Init.Address + k.Types.Offset("task_struct.tasks"), 0xdead_0000_0000_0100)),
        ("tasks", "check.tasks.null", (k, _) => k.WriteU64(k.Init.Address + k.Types.Offset("task_struct.tasks"), 0)),
        ("tasks", "check.tasks.cycle", (k, _) => k.WriteU64(k.Victim.Address + k.Types.Offset("task_struct.tasks"), k.Init.Address + k.Types.Offset("task_struct.tasks"))),
        ("tasks", "check.tasks.unreadable", (k, _) => k.WriteU64(k.Init.Address + k.Types.Offset("task_struct.tasks"), 0xffff_c900_1234_5000)),
        ("tasks", "check.tasks.tgid", (k, _) => k.Put(k.Tasks.Single(t => t.Pid == 322).Address, "task_struct.tgid", 7)),
        ("tasks", "check.tasks.leader", (k, _) => k.Put(k.Victim.Address, "task_struct.group_leader", k.Init.Address)),
        ("tasks", "check.tasks.thread-count", (k, _) => k.Put(k.Victim.Signal, "signal_struct.nr_threads", 9)),
        ("tasks", "check.tasks.parent", (k, _) => k.Put(k.Victim.Address, "task_struct.real_parent", k.Init.Address)),
        ("tasks", "check.tasks.child", (k, _) => k.List(k.Tasks[0].Address + k.Types.Offset("task_struct.children"), "task_struct.sibling")),
        ("tasks", "check.tasks.hidden", (k, _) => Unlink(k, k.Victim.Address + k.Types.Offset("task_struct.tasks"))),
        ("tasks", "check.tasks.pid", (k, w) => k.WriteU64(w.Pids[321] + k.Types.Offset("pid.numbers"), 322)),
        ("tasks", "check.tasks.pid", (k, w) => k.Put(k.Victim.Address, "task_struct.thread_pid", w.Pids[1])),
        ("stacks", "check.stacks.end-magic", (k, _) => k.WriteU64(k.Kthread.Stack, 0)),
        ("stacks", "check.stacks.shared", (k, _) => k.Put(k.Kthread.Address, "task_struct.stack", k.Init.Stack)),
        ("stacks", "check.stacks.pointer", (k, _) => k.Put(k.Kthread.Address, "task_struct.thread.sp", k.Init.Stack + 0x1000)),
        ("stacks", "check.stacks.canary", (k, _) => k.Put(k.Kthread.Address, "task_struct.stack_canary", 0)),
        ("runqueues", "check.runqueues.on-rq", (k, _) => k.Put(k.Victim.Address, "task_struct.on_rq", 0)),
        ("runqueues", "check.runqueues.cpu", (k, _) => k.Put(k.Victim.Address, "task_struct.thread_info.cpu", 1)),
        ("runqueues", "check.runqueues.count", (k, _) => k.Put(k.PerCpu("runqueues", 0), "rq.nr_running", 3)),
        ("runqueues", "check.runqueues.lost", (k, _) => k.Put(k.Kthread.Address, "task_struct.on_rq", 1)),
        ("runqueues", "check.runqueues.current", (k, _) => k.Put(k.PerCpu("runqueues", 1), "rq.curr", 0)),
        ("runqueues", "check.runqueues.structure", (k, _) => k.WriteU64(k.Queue(0, "cfs") + k.Types.Offset("cfs_rq.tasks_timeline"), 0xffff_c900_0000_0000)),
        ("modules", "check.modules.back-pointer", (k, _) => k.WriteU64(k.Modules[0].Address + k.Types.Offset("module.list") + 8, k["modules"] + 16)),
        ("modules", "check.modules.state", (k, _) => k.Put(k.Modules[0].Address, "module.state", 9)),
        ("modules", "check.modules.name", (k, _) => k.WriteText(k.Modules[0].Address + k.Types.Offset("module.name"), "\u0001")),
        ("modules", "check.modules.name", (k, _) => k.WriteText(k.Modules[0].Address + k.Types.Offset("module.name"), k.Modules[1].Name)),
        ("gates", "check.gates.trap", (k, _) => k.WriteU64(k["idt_table"] + (14 * 16) + 8, 0xffff_c900)),
        ("gates", "check.gates.trap-level", (k, _) => k.WriteU64(k["idt_table"] + (14 * 16), k.ReadU64(k["idt_table"] + (14 * 16)) | 0x60UL << 40)),
        ("gates", "check.gates.syscall", (k, _) => k.WriteU64(k["sys_call_table"], 0xffff_c900_0000_1000)),
        ("gates", "check.gates.syscall", (k, _) => k.WriteU64(k["sys_call_table"], k["ksys_write"] + 4)),
        ("descriptors", "check.descriptors.segment", (k, _) => k.WriteU64(k.PerCpu("gdt_page", 1) + 16, 0x00af_fb00_0000_ffff)),
        ("descriptors", "check.descriptors.segment", (k, _) => k.WriteU64(k.PerCpu("gdt_page", 0) + (12 * 8), 0x0000_ec00_0010_1000)),
        ("descriptors", "check.descriptors.segment", (k, _) => k.WriteU64(k.PerCpu("gdt_page", 1) + (15 * 8), 0x0040_f500_0000_0000)),
        ("descriptors", "check.descriptors.ldt", (k, _) => k.WriteU64(k.PerCpu("gdt_page", 0) + (10 * 8), 0x0000_8200_1000_ffff)),
        ("descriptors", "check.descriptors.tss", (k, _) => k.WriteU64(k.PerCpu("gdt_page", 0) + (9 * 8), 0xffff_8880)),
        ("descriptors", "check.descriptors.entry-stack", (k, _) => k.Put(k.PerCpu("cpu_tss_rw", 0), "tss_struct.x86_tss.sp0", k.Init.StackTop)),
        ("descriptors", "check.descriptors.exception-stack", (k, _) => k.WriteU64(k.PerCpu("cpu_tss_rw", 1) + k.Types.Offset("tss_struct.x86_tss.ist") + 8, k.Init.StackTop)),
        ("descriptors", "check.descriptors.exception-stack", (k, _) => k.WriteU64(k.PerCpu("cea_exception_stacks", 1), k.EntryArea(0) + k.Types.Offset("cpu_entry_area.estacks"))),
        ("descriptors", "check.descriptors.mapping", (k, _) => k.Tables.Map(k.EntryArea(1), k.Physical(k.PerCpu("gdt_page", 0)))),
        ("text", "check.text.differs", (k, _) => k.Write(k["vfs_write"] + 0x20, 0x90)),
        ("locks", "check.locks.owner-gone", (k, w) => k.Put(w.Mutex, "mutex.owner.counter", k.Allocate(4096) | 1)),
        ("locks", "check.locks.owner-gone", (k, _) => { k.Put(k.Victim.Address, "task_struct.exit_state", 0x20); k.Put(k.Victim.Address, "task_struct.__state", 0x80); }),
        ("workqueues", "check.workqueues.count", (k, w) => k.Put(w.Pool, "worker_pool.nr_workers", 5)),
        ("workqueues", "check.workqueues.worker", (k, w) => k.Put(w.Worker, "worker.task", k.Allocate(4096))),
        ("workqueues", "check.workqueues.structure", (k, w) => k.WriteU64(w.Worker + k.Types.Offset("worker.node") + 8, w.Pool)),
        ("timers", "check.timers.function", (k, w) => k.Put(w.Timer, "timer_list.function", 0x4141)),
        ("timers", "check.timers.bucket", (k, w) => k.Put(w.Timer, "timer_list.flags", 71UL << 22)),
        ("timers", "check.timers.cpu", (k, w) => k.Put(w.Timer, "timer_list.flags", 70UL << 22 | 1)),
        ("timers", "check.timers.map", (k, w) => k.WriteU64(w.Wheel + k.Types.Offset("timer_base.pending_map") + 8, 0)),
        ("timers", "check.timers.structure", (k, w) => k.WriteU64(w.Timer + 8, w.Wheel)),
        ("hrtimers", "check.hrtimers.order", (k, w) => k.Put(w.HighResolution[1], "hrtimer.node.expires", 50)),
        ("hrtimers", "check.hrtimers.function", (k, w) => k.Put(w.HighResolution[1], "hrtimer.function", 0)),
        ("hrtimers", "check.hrtimers.structure", (k, w) => k.WriteU64(w.HighResolution[0], 0x1001)),
        ("hrtimers", "check.hrtimers.leftmost", (k, w) => k.WriteU64(Root(k) + 8, w.HighResolution[1])),
        ("slabs", "check.slabs.freelist", (k, w) => k.WriteU64(w.Slab.Objects[3] + (ulong)w.Cache.FreeOffset, 0x4141_4141)),
        ("slabs", "check.slabs.shape", (k, w) => k.Put(w.Cache.Address, "kmem_cache.offset", 0xffff_fffc)),
        ("slabs", "check.slabs.count", (k, w) => k.Put(w.Slab.Slab, "slab.inuse", 60)),
        ("slabs", "check.slabs.owner", (k, w) => k.Put(w.Slab.Slab, "slab.slab_cache", k["slab_caches"])),
        ("pages", "check.pages.back-pointer", (k, w) => k.WriteU64(w.Pages.Free + k.Types.Offset("page.lru") + 8, w.Pages.Free)),
        ("pages", "check.pages.poison", (k, w) => k.WriteU64(w.Pages.Anonymous + k.Types.Offset("page.lru"), 0xdead_0000_0000_0100)),
        ("pages", "check.pages.shape", (k, w) => k.WriteU64(w.Pages.Free + k.Types.Offset("page.lru"), 0x4141_4141_4141_4141)),
        ("pages", "check.pages.free", (k, w) => k.Put(w.Pages.Free, "page.page_type", 0)),
        ("pages", "check.pages.free", (k, w) => k.Put(w.Pages.Free, "page.private", 2)),
        ("pages", "check.pages.free", (k, w) => k.Put(w.Pages.Free, "page._refcount", 1)),
        ("pages", "check.pages.place", (k, w) => { k.Put(w.Pages.Odd, "page.page_type", k.Get(w.Pages.Free, "page.page_type")); k.Put(w.Pages.Odd, "page.private", 1); k.List(w.Pages.FreeList, "page.lru", w.Pages.Odd); }),
        ("pages", "check.pages.zone", (k, w) => k.Put(w.Pages.Free, "page.flags", 1UL << 60)),
        ("pages", "check.pages.zone", (k, _) => k.Put(k.PageOf(k.DirectBase), "page.flags", 2UL << 62)),
        ("pages", "check.pages.lru", (k, w) => k.Put(w.Pages.Anonymous, "page.flags", 0)),
        ("pages", "check.pages.lru", (k, w) => k.Put(w.Pages.Anonymous, "page.flags", k.Get(w.Pages.File, "page.flags"))),
        ("pages", "check.pages.lru", (k, w) => k.Put(w.Pages.Aged, "page.flags", k.Get(w.Pages.Anonymous, "page.flags"))),
        ("pages", "check.pages.node", (k, w) => k.Put(w.Pages.File, "page.flags", k.Get(w.Pages.File, "page.flags") | (1UL << 62))),
        ("pages", "check.pages.compound", (k, _) => k.Put(k.PageOf(k.DirectBase), "page.compound_head", k.PageOf(k.DirectBase) | 1)),
        ("pages", "check.pages.cycle", (k, w) => k.WriteU64(w.Pages.Group + k.Types.Offset("cgroup_subsys_state.sibling"), w.Pages.Group + k.Types.Offset("cgroup_subsys_state.sibling"))),
        ("red-zones", "check.red-zones.overwritten", (k, w) => k.Write(w.Guarded.Objects[1] + 32, 0)),
        ("red-zones", "check.red-zones.overwritten", (k, w) => k.Write(w.Guarded.Objects[2] - 1, 0x41)),
        ("red-zones", "check.red-zones.state", (k, w) => { k.Write(w.Guarded.Objects[1] - 16, [.. Enumerable.Repeat((byte)0xbb, 16)]); k.Write(w.Guarded.Objects[1] + 32, [.. Enumerable.Repeat((byte)0xbb, 8)]); }),
        ("red-zones", "check.red-zones.poison", (k, w) => k.Write(w.Guarded.Objects[2] + 8, 0)),
        ("red-zones", "check.red-zones.poison", (k, w) => k.Write(w.Guarded.Objects[0] + 31, 0x6b)),
        ("red-zones", "check.red-zones.shape", (k, w) => k.Put(k.Get(w.Guarded.Slab, "slab.slab_cache"), "kmem_cache.inuse", 5)),
        ("files", "check.files.inode", (k, w) => k.Put(w.File, "file.f_inode", k.New("inode"))),
        ("files", "check.files.null", (k, w) => k.Put(w.File, "file.f_inode", 0)),
        ("files", "check.files.table", (k, _) => k.Put(k.Get(k.Get(k.Init.Address, "task_struct.files"), "files_struct.fdt"), "fdtable.max_fds", 77)),
        ("mounts", "check.mounts.super-block", (k, w) => k.Put(w.Mount, "mount.mnt.mnt_sb", k.New("super_block", ("s_type", k.New("file_system_type"))))),
        ("mounts", "check.mounts.back-pointer", (k, w) => k.WriteU64(k.Get(w.Mount, "mount.mnt.mnt_sb") + 8, w.Mount)),
        ("operations", "check.operations.function", (k, _) => k.Put(k["null_fops"], "file_operations.read", 0xffff_c900_0000_1000)),
        ("operations", "check.operations.null", (k, w) => k.Put(w.File, "file.f_op", 0)),
        ("wait-queues", "check.wait-queues.back-pointer", (k, w) => k.WriteU64(w.Waits.Sleeper + k.Types.Offset("wait_queue_entry.entry") + 8, w.Waits.Sleeper)),
        ("wait-queues", "check.wait-queues.null", (k, w) => k.WriteU64(w.Waits.Children + k.Types.Offset("wait_queue_head.head"), 0)),
        ("wait-queues", "check.wait-queues.function", (k, w) => k.Put(w.Waits.Sleeper, "wait_queue_entry.func", 0xffff_c900_0000_1000)),
        ("wait-queues", "check.wait-queues.function", (k, w) => k.Put(w.Waits.Watcher, "eppoll_entry.wait.func", 0)),
        ("wait-queues", "check.wait-queues.task", (k, w) => k.Put(w.Waits.Sleeper, "wait_queue_entry.private", k.Allocate(4096))),
        ("wait-queues", "check.wait-queues.task", (k, w) => k.Put(w.Waits.Sleeper, "wait_queue_entry.private", k.Victim.Address)),
        ("wait-queues", "check.wait-queues.task", (k, w) => k.Put(w.Waits.Poller, "poll_wqueues.polling_task", k.Allocate(4096))),
        ("wait-queues", "check.wait-queues.head", (k, w) => k.Put(w.Waits.Watcher, "eppoll_entry.whead", w.Waits.Children)),
        ("wait-queues", "check.wait-queues.poison", (k, _) => k.WriteU64(k["bit_wait_table"] + k.Types.Offset("wait_queue_head.head"), 0xdead_0000_0000_0100)),
    ];

    /// <summary>Every damage in both lines.</summary>
    public static TheoryData<KernelShape, int, string> Cases
    {
        get
        {
            var cases = new TheoryData<KernelShape, int, string>();
            foreach (KernelShape shape in (KernelShape[])[KernelShape.Linux61, KernelShape.Linux612])
            {
                for (int i = 0; i < Damages.Length; i++)
                    cases.Add(shape, i, Damages[i].Finding);
            }

            return cases;
        }
    }

    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void A_whole_guest_is_whole(KernelShape shape)
    {
        var g = new CheckedGuest(shape);
        CheckUpReport report = CheckUp.Run(g.Context());
        Assert.Empty(report.Findings.Select(f => $"{f.Id} {f.Text}"));
        Assert.Equal(Diagnosis.Validators.Validators.All.Select(v => (v.Name, CheckOutcome.Ok)), report.Validators.Select(v => (v.Name, v.Outcome)));
    }

    /// <summary>What a dump lacks is not broken, and what could not be looked for is not missing: a task that is out of reach is not hidden.</summary>
    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void What_a_dump_lacks_is_not_broken(KernelShape shape)
    {
        int cases = 0;
        foreach (int task in Enumerable.Range(0, new CheckedGuest(shape).Guest.Tasks.Count))
        {
            var g = new CheckedGuest(shape);
            ulong page = g.Guest.Physical(g.Guest.Tasks[task].Address + g.Guest.Types.Offset("task_struct.tasks"));
            g.Guest.Memory.Lose(page);
            CheckUpReport report = CheckUp.Run(g.Context());
            Assert.Empty(report.Findings.Select(f => $"task {g.Guest.Tasks[task].Pid} lost: {f.Id} {f.Text}"));
            cases++;
        }

        Assert.True(cases > 3, $"{cases} tasks");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void What_is_broken_is_found(KernelShape shape, int damage, string finding)
    {
        var g = new CheckedGuest(shape);
        Damages[damage].Break(g.Guest, g.Whole);
        CheckUpReport report = CheckUp.Run(g.Context(), [Damages[damage].Validator]);
        Assert.Contains(finding, report.Findings.Select(f => f.Id));
        Assert.True(report.IsBroken);
        Assert.All(report.Findings, f => Assert.InRange(f.Text.Length, 20, 500));

        // The others end too, whatever they make of it.
        Assert.Equal(Diagnosis.Validators.Validators.All.Count, CheckUp.Run(g.Context()).Validators.Count);
    }

    [Fact]
    public void Every_validator_is_shown_to_find_something() =>
        Assert.Equal(Diagnosis.Validators.Validators.All.Select(v => v.Name).Order(), Damages.Select(d => d.Validator).Distinct().Order());

    private static ulong Root(SyntheticKernel k) =>
        k.PerCpu("hrtimer_bases", 0) + k.Types.Offset("hrtimer_cpu_base.clock_base") + k.Types.Offset("hrtimer_clock_base.active") + k.Types.Offset("timerqueue_head.rb_root");

    private static void Unlink(SyntheticKernel k, ulong node)
    {
        ulong next = k.ReadU64(node), prev = k.ReadU64(node + 8);
        k.WriteU64(prev, next);
        k.WriteU64(next + 8, prev);
    }
}
