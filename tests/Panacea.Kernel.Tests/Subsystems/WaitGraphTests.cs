using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class WaitGraphTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100, MaxTasks = 100 };

    private static WaitGraph Graph(KernelGuest g) => WaitGraph.Build(g.Kernel, Tasks.Enumerate(g.Kernel, Few), new TaskBacktraces(g.Kernel, Few), Few);

    private static SyntheticTask[] Add(SyntheticKernel k, int count) => [.. Enumerable.Range(0, count).Select(i => k.AddTask(600 + i, $"task{i}"))];

    private static ulong Mutex(SyntheticKernel k) => k.Allocate(k.Types.SizeOf("mutex"));

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Two_that_wait_for_each_other_are_a_deadlock_and_a_third_is_behind_it(KernelShape shape)
    {
        SyntheticTask[] tasks = [];
        ulong a = 0, b = 0;
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape }, k =>
        {
            tasks = Add(k, 3);
            (a, b) = (Mutex(k), Mutex(k));
            k.HoldMutex(a, tasks[0].Address, tasks[1], tasks[2]);
            k.HoldMutex(b, tasks[1].Address, tasks[0]);
        });
        WaitGraph graph = Graph(g);
        Assert.Empty(graph.Unexplained);
        Assert.Equal([(tasks[0].Address, b), (tasks[1].Address, a), (tasks[2].Address, a)], graph.Edges.Select(e => (e.Wait.Task, e.Wait.Lock)));
        Assert.All(graph.Edges, e => Assert.Equal((LockKind.Mutex, "__mutex_lock.constprop.0", true), (e.Wait.Kind, e.Wait.Function, e.Wait.IsExclusive)));
        Assert.Equal([tasks[1].Address, tasks[2].Address], graph.Edges[1].State!.Waiters.Items);
        Assert.Equal([(ChainEnd.Deadlock, 2), (ChainEnd.Deadlock, 1)], graph.Chains.Select(c => (c.End, c.Links.Count)));
        Assert.Equal([tasks[0].Address, tasks[1].Address], graph.Chains[0].Links.Select(l => l.Wait.Task).Order());
        Assert.Equal(tasks[2].Address, graph.Chains[1].Links[0].Wait.Task);
    }

    [Fact]
    public void One_that_waits_for_itself_is_a_deadlock_of_one()
    {
        SyntheticTask task = null!;
        using var g = new KernelGuest(null, k =>
        {
            task = Add(k, 1)[0];
            k.HoldMutex(Mutex(k), task.Address, task);
        });
        WaitChain chain = Assert.Single(Graph(g).Chains);
        Assert.Equal((ChainEnd.Deadlock, 1, task.Address), (chain.End, chain.Links.Count, chain.Last));
    }

    [Theory]
    [InlineData("runs", ChainEnd.Runs)]
    [InlineData("sleeps", ChainEnd.Sleeps)]
    [InlineData("zombie", ChainEnd.OwnerGone)]
    [InlineData("gone", ChainEnd.OwnerGone)]
    [InlineData("wild", ChainEnd.OwnerGone)]
    [InlineData("none", ChainEnd.OwnerUnknown)]
    [InlineData("idle", ChainEnd.Runs)]
    public void A_chain_is_followed_to_who_holds_the_last_lock(string last, ChainEnd end)
    {
        SyntheticTask[] tasks = [];
        using var g = new KernelGuest(null, k =>
        {
            tasks = Add(k, 4);
            k.HoldMutex(Mutex(k), tasks[1].Address, tasks[0]);
            k.HoldMutex(Mutex(k), tasks[2].Address, tasks[1]);
            ulong owner = last switch { "gone" => k.Allocate(k.Types.SizeOf("task_struct")), "wild" => 0xffff_c900_0000_0000, "none" => 0, "idle" => k.Idle[1].Address, _ => tasks[3].Address };
            k.HoldMutex(Mutex(k), owner, tasks[2]);
            k.Put(tasks[3].Address, "task_struct.__state", last is "runs" ? 0UL : 1UL);
            if (last == "zombie")
                k.Put(tasks[3].Address, "task_struct.exit_state", 0x20);
        });
        WaitChain chain = Assert.Single(Graph(g).Chains);
        Assert.Equal(end, chain.End);
        Assert.Equal(tasks.Take(3).Select(t => t.Address), chain.Links.Select(l => l.Wait.Task));
        Assert.True(last is "none" ? chain.Last == 0 : chain.Last != 0);
    }

    [Fact]
    public void Other_locks_are_told_by_the_function_that_waits()
    {
        SyntheticTask[] tasks = [];
        ulong rwsem = 0, semaphore = 0, percpu = 0, completion = 0, queue = 0, rt = 0, write = 0;
        using var g = new KernelGuest(null, k =>
        {
            tasks = Add(k, 8);
            (rwsem, semaphore, percpu, completion) = (k.Allocate(k.Types.SizeOf("rw_semaphore")), k.Allocate(k.Types.SizeOf("semaphore")), k.Allocate(128), k.Allocate(k.Types.SizeOf("completion")));
            (queue, rt, write) = (k.Allocate(k.Types.SizeOf("wait_queue_head")), k.Allocate(k.Types.SizeOf("rt_mutex_base")), k.Allocate(128));
            k.Put(rwsem, "rw_semaphore.count.counter", 3);
            k.Put(rwsem, "rw_semaphore.owner.counter", tasks[7].Address | 2);
            k.Ring([
                rwsem + k.Types.Offset("rw_semaphore.wait_list"), k.Wait(tasks[0], "rwsem_down_read_slowpath", "rwsem_waiter.task"), k.Wait(tasks[1], "rwsem_down_write_slowpath", "rwsem_waiter.task")]);
            k.Ring([semaphore + k.Types.Offset("semaphore.wait_list"), k.Wait(tasks[2], "__down_common", "semaphore_waiter.task")]);
            ulong entry = k.Types.Offset("wait_queue_entry.entry");
            k.Put(percpu, "percpu_rw_semaphore.read_count", 0x9000);
            k.Put(percpu, "percpu_rw_semaphore.block.counter", 1);
            ulong reader = k.Wait(tasks[3], "percpu_rwsem_wait", "wait_queue_entry.private");
            k.Put(reader, "wait_queue_entry.func", k["default_wake_function"]);
            k.Ring([percpu + k.Types.Offset("percpu_rw_semaphore.waiters.head"), reader + entry]);
            k.Ring([completion + k.Types.Offset("completion.wait.task_list"), k.Wait(tasks[4], "__wait_for_common", "swait_queue.task") + k.Types.Offset("swait_queue.task_list")]);
            ulong event_ = k.Wait(tasks[5], "ct_sleeper", "wait_queue_entry.private");
            k.Put(event_, "wait_queue_entry.func", k["default_wake_function"]);
            k.Ring([queue + k.Types.Offset("wait_queue_head.head"), event_ + entry]);
            ulong waiter = k.Wait(tasks[6], "rt_mutex_slowlock_block.constprop.0", "rt_mutex_waiter.task");
            k.Put(waiter, "rt_mutex_waiter.lock", rt);
            k.Put(rt, "rt_mutex_base.owner", tasks[7].Address | 1);
            k.Tree(rt + k.Types.Offset("rt_mutex_base.waiters"), [waiter + k.Types.Offset("rt_mutex_waiter.tree.entry")], cached: true);

            // A writer that waits for readers: named by the lock alone, whose address a frame has saved.
            k.Put(write, "percpu_rw_semaphore.read_count", 0x9100);
            k.Put(write, "percpu_rw_semaphore.writer.task", tasks[7].Address);
            k.Put(write, "percpu_rw_semaphore.block.counter", 1);
            k.Write(k.PerCpuBase(0) + 0x9100, 5, 0, 0, 0);
            k.Write(k.PerCpuBase(1) + 0x9100, BitConverter.GetBytes(-2));
            k.WriteU64(k.Sleep(tasks[7], SyntheticKernel.In("percpu_down_write")).Frames["schedule"], write);
            k.Put(tasks[7].Address, "task_struct.__state", 2);
        });
        WaitGraph graph = Graph(g);
        Assert.Empty(graph.Unexplained);
        Assert.Equal(
        [
            (LockKind.RwSemaphore, rwsem, false), (LockKind.RwSemaphore, rwsem, true), (LockKind.Semaphore, semaphore, true), (LockKind.PercpuRwSemaphore, percpu, true),
            (LockKind.Completion, completion, true), (LockKind.WaitQueue, queue, true), (LockKind.RtMutex, rt, true), (LockKind.PercpuRwSemaphore, write, true),
        ], graph.Edges.Select(e => (e.Wait.Kind, e.Wait.Lock, e.Wait.IsExclusive)));
        Assert.All(graph.Edges, e => Assert.Contains(e.Wait.Task, e.State!.Waiters.Items));
        Assert.Equal((tasks[7].Address, false, true), (graph.Edges[0].State!.Owner, graph.Edges[0].State!.OwnerIsHint, graph.Edges[0].State!.IsHeld));
        Assert.Equal(tasks[7].Address, graph.Edges[6].State!.Owner);
        Assert.Equal((3, true), (graph.Edges[7].State!.Readers, graph.Edges[7].State!.OwnerIsHint));
        Assert.Equal("ct_sleeper", graph.Edges[5].Wait.Function);
    }

    [Fact]
    public void Idle_kernel_threads_and_running_tasks_wait_for_nothing()
    {
        using var g = new KernelGuest(null, k => k.HoldMutex(Mutex(k), 0, Add(k, 1)));
        SyntheticTask task = g.Guest.Tasks.First(t => t.Pid == 600);
        Assert.Single(Graph(g).Edges);
        g.Guest.Put(task.Address, "task_struct.__state", 0x402);
        Assert.Empty(Graph(g).Edges);
        g.Guest.Put(task.Address, "task_struct.__state", 0x102);
        Assert.Single(Graph(g).Edges);
        g.Guest.Put(task.Address, "task_struct.on_cpu", 1);
        Assert.Empty(Graph(g).Edges);
    }

    [Fact]
    public void Many_that_wait_for_one_lock_are_all_told()
    {
        SyntheticTask[] tasks = [];
        using var g = new KernelGuest(null, k => k.HoldMutex(Mutex(k), k.Victim.Address, tasks = Add(k, 60)));
        WaitGraph graph = Graph(g);
        Assert.Equal(tasks.Select(t => t.Address), graph.Edges.Select(e => e.Wait.Task));
        Assert.All(graph.Edges, e => Assert.Same(graph.Edges[0].State, e.State));
        Assert.Equal(60, graph.Edges[0].State!.Waiters.Items.Count);
        Assert.Equal(60, graph.Chains.Count);
    }

    [Fact]
    public void A_wait_queue_may_hold_what_is_on_no_stack()
    {
        SyntheticTask task = null!;
        ulong queue = 0;
        using var g = new KernelGuest(null, k =>
        {
            task = Add(k, 1)[0];
            queue = k.Allocate(k.Types.SizeOf("wait_queue_head"));
            ulong entry = k.Types.Offset("wait_queue_entry.entry"), polled = k.Allocate(k.Types.SizeOf("wait_queue_entry")), waiter = k.Wait(task, "ct_sleeper", "wait_queue_entry.private");
            k.Put(waiter, "wait_queue_entry.func", k["default_wake_function"]);
            k.Put(polled, "wait_queue_entry.func", k["ct_work"]);
            k.Put(polled, "wait_queue_entry.private", 0x4242);
            k.Ring([queue + k.Types.Offset("wait_queue_head.head"), polled + entry, waiter + entry]);
        });
        LockEdge edge = Assert.Single(Graph(g).Edges);
        Assert.Equal((LockKind.WaitQueue, queue), (edge.Wait.Kind, edge.Wait.Lock));
        Assert.Equal([task.Address], edge.State!.Waiters.Items);
    }

    public static TheoryData<string> Forgeries => ["unlinked", "linked one way", "two heads", "ring of itself", "into the void", "head poisoned"];

    [Theory]
    [MemberData(nameof(Forgeries))]
    public void What_is_not_linked_from_both_sides_is_no_waiter(string forgery)
    {
        using var g = new KernelGuest(null, k => k.HoldMutex(Mutex(k), 0, Add(k, 1)));
        SyntheticKernel k = g.Guest;
        LockWait real = Graph(g).Edges[0].Wait;
        ulong waiter = real.Waiter - k.Types.Offset("mutex_waiter.task"), head = real.Lock + k.Types.Offset("mutex.wait_list");
        switch (forgery)
        {
            case "unlinked":
                k.Ring([head]);
                break;
            case "linked one way":
                k.WriteU64(head + 8, head);
                break;
            case "two heads":
                k.Ring([head, waiter, k.Allocate(16)]);
                break;
            case "ring of itself":
                k.Ring([waiter]);
                break;
            case "into the void":
                k.WriteU64(waiter, 0xffff_c900_0000_0000);
                break;
            default:
                k.WriteU64(head, 0xdead_0000_0000_0100);
                break;
        }

        WaitGraph graph = Graph(g);
        Assert.Empty(graph.Edges);
        Assert.Contains("__mutex_lock.constprop.0", Assert.Single(graph.Unexplained).Why);
    }

    [Fact]
    public void A_long_list_of_waiters_that_does_not_close_is_given_up()
    {
        using var g = new KernelGuest(null, k =>
        {
            SyntheticTask[] tasks = Add(k, 3);
            ulong mutex = Mutex(k);
            k.HoldMutex(mutex, 0, tasks);
        });
        SyntheticKernel k = g.Guest;
        ulong last = Graph(g).Edges[2].Wait.Waiter - k.Types.Offset("mutex_waiter.task"), second = Graph(g).Edges[1].Wait.Waiter - k.Types.Offset("mutex_waiter.task");
        k.WriteU64(last, second);
        Assert.Empty(Graph(g).Edges);
    }
}
