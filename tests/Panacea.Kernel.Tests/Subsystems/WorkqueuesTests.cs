using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class WorkqueuesTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    /// <summary>One pool of CPU 1 with an idle and a busy worker, one workqueue with work that waits in both.</summary>
    private sealed record Scene(ulong Pool, ulong Queue, ulong Pwq, ulong Idle, ulong Busy, ulong[] Works);

    private static Scene Make(SyntheticKernel k)
    {
        ulong pool = k.Allocate(k.Types.SizeOf("worker_pool")), queue = k.Allocate(k.Types.SizeOf("workqueue_struct")), pwq = k.Allocate(k.Types.SizeOf("pool_workqueue"), 256);
        ulong idle = k.Allocate(k.Types.SizeOf("worker")), busy = k.Allocate(k.Types.SizeOf("worker")), attributes = k.Allocate(8);
        ulong[] works = [.. Enumerable.Range(0, 3).Select(_ => k.Allocate(k.Types.SizeOf("work_struct")))];
        k.XArray(k["worker_pool_idr"] + k.Types.Offset("idr.idr_rt"), new Dictionary<ulong, ulong> { [2] = pool });
        foreach ((string member, ulong value) in ((string, ulong)[])[("cpu", 1), ("id", 2), ("nr_workers", 2), ("nr_idle", 1), ("watchdog_ts", 77), ("attrs", attributes)])
            k.Put(pool, $"worker_pool.{member}", value);
        k.Put(attributes, "workqueue_attrs.nice", unchecked((ulong)-20));
        k.Put(idle, "worker.flags", 4);
        k.Put(idle, "worker.task", k.Kthread.Address);
        k.Put(busy, "worker.task", k.Init.Address);
        k.Put(busy, "worker.current_work", works[0]);
        k.Put(busy, "worker.current_func", k["ct_work"]);
        k.Put(busy, "worker.current_pwq", pwq);
        k.WriteText(busy + k.Types.Offset("worker.desc"), "flush-8:0");
        k.Ring([pool + k.Types.Offset("worker_pool.workers"), idle + k.Types.Offset("worker.node"), busy + k.Types.Offset("worker.node")]);
        foreach (ulong work in works)
        {
            k.Put(work, "work_struct.func", k["ct_work"]);
            k.Put(work, "work_struct.data.counter", pwq | 5);
        }

        ulong entry = k.Types.Offset("work_struct.entry");
        k.Ring([pool + k.Types.Offset("worker_pool.worklist"), works[1] + entry]);
        k.Ring([pwq + k.Types.Offset("pool_workqueue.inactive_works"), works[2] + entry]);
        k.Put(pwq, "pool_workqueue.pool", pool);
        k.Put(pwq, "pool_workqueue.wq", queue);
        k.Put(pwq, "pool_workqueue.nr_active", 2);
        k.WriteText(queue + k.Types.Offset("workqueue_struct.name"), "events");
        k.Put(queue, "workqueue_struct.flags", 0x12);
        k.Ring([queue + k.Types.Offset("workqueue_struct.pwqs"), pwq + k.Types.Offset("pool_workqueue.pwqs_node")]);
        k.Ring([k["workqueues"], queue + k.Types.Offset("workqueue_struct.list")]);
        return new Scene(pool, queue, pwq, idle, busy, works);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Pools_workers_and_work_are_told(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        Scene s = Make(k);
        WorkerPool pool = Assert.Single(Workqueues.Pools(g.Kernel, Few));
        Assert.Equal((s.Pool, 2, 1, -20, 2, 1, 77UL), (pool.Address, pool.Id, pool.Cpu, pool.Nice, pool.WorkerCount, pool.IdleCount, pool.LastProgressJiffies));
        WorkItem pending = Assert.Single(pool.Pending.Items);
        Assert.Equal((s.Works[1], "ct_work", "events"), (pending.Address, pending.Name?.Name, pending.Queue));
        Assert.Equal((true, k.Kthread.Address, null), (pool.Workers.Items[0].IsIdle, pool.Workers.Items[0].Task, pool.Workers.Items[0].Current));
        Worker busy = pool.Workers.Items[1];
        Assert.Equal((false, k.Init.Address, "flush-8:0", "ct_work", "events", false), (busy.IsIdle, busy.Task, busy.Description, busy.Current?.Name?.Name, busy.Current?.Queue, busy.IsRescuer));
        Workqueue queue = Assert.Single(Workqueues.Enumerate(g.Kernel, Few));
        Assert.Equal(("events", true, 0UL), (queue.Name, queue.IsUnbound, queue.Rescuer));
        PoolWorkqueue share = Assert.Single(queue.Pools.Items);
        Assert.Equal((s.Pool, 2), (share.Pool, share.Active));
        Assert.Equal(s.Works[2], Assert.Single(share.Inactive.Items).Address);
    }

    [Fact]
    public void Work_that_is_gone_and_wild_pointers_leave_the_rest()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        Scene s = Make(k);
        k.Put(s.Busy, "worker.current_work", 0xffff_c900_0000_0000);
        k.Put(s.Busy, "worker.current_pwq", 0xffff_c900_0000_0000);
        k.Put(s.Works[1], "work_struct.data.counter", 0xdead_0000_0000_0004);
        k.Put(s.Works[1], "work_struct.func", 0x10);
        WorkerPool pool = Assert.Single(Workqueues.Pools(g.Kernel, Few));
        Assert.Equal((0xffff_c900_0000_0000, null, "ct_work"), (pool.Workers.Items[1].Current?.Address, pool.Workers.Items[1].Current?.Queue, pool.Workers.Items[1].Current?.Name?.Name));
        Assert.Equal((null, null, 0x10UL), (pool.Pending.Items[0].Queue, pool.Pending.Items[0].Name, pool.Pending.Items[0].Function));
    }

    [Fact]
    public void Broken_lists_say_where_they_broke()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        Scene s = Make(k);
        ulong entry = s.Works[1] + k.Types.Offset("work_struct.entry"), node = s.Busy + k.Types.Offset("worker.node");
        k.WriteU64(entry, entry);
        k.WriteU64(node + 8, 0x10);
        WorkerPool pool = Assert.Single(Workqueues.Pools(g.Kernel, Few));
        Assert.Contains($"0x{entry:x}", pool.Pending.Broken);
        Assert.Contains($"0x{node:x}", pool.Workers.Broken);
        Assert.Single(pool.Workers.Items);

        // A share that says it is another workqueue's.
        k.Put(s.Pwq, "pool_workqueue.wq", s.Pool);
        Assert.Contains($"0x{s.Pwq:x}", Assert.Single(Workqueues.Enumerate(g.Kernel, Few)).Pools.Broken);
        k.WriteU64(k["workqueues"], 0);
        Assert.Throws<StructureException>(() => Workqueues.Enumerate(g.Kernel, Few));
        k.Put(k["worker_pool_idr"] + k.Types.Offset("idr.idr_rt"), "xarray.xa_head", 0xffff_c900_0000_0002);
        Assert.Throws<GuestMemoryException>(() => Workqueues.Pools(g.Kernel, Few));
    }
}
