namespace Panacea.Repair;

/// <summary>A place in the kernel that calls functions of others through a pointer: whatever such a function did or left undone, its return is safe there with the result given.</summary>
/// <param name="Function">The kernel's function that makes the call.</param>
/// <param name="Callee">What it calls, for a person.</param>
/// <param name="Result">What is returned to it; null where the callee returns nothing.</param>
/// <param name="Shown">The result for a person; empty where there is none.</param>
/// <param name="Interrupts">What the interrupt flag is there; null where it may be either and is left as the callee found it.</param>
/// <param name="PreemptCount">What the CPU's preempt count is there; null where it depends on what was interrupted.</param>
/// <param name="Lost">What is lost by it.</param>
/// <param name="Risk">What may go wrong after it; null where nothing is known to.</param>
public sealed record Boundary(string Function, string Callee, ulong? Result, string Shown, bool? Interrupts, uint? PreemptCount, string Lost, string? Risk = null)
{
    /// <summary>Answers to it by those functions that have to be called again whatever happened to them, by their names; empty where one answer is as good for all.</summary>
    public IReadOnlyDictionary<string, BoundaryAnswer> ByCallee { get; init; } = BoundaryAnswer.None;

    /// <summary>Another answer, after which it calls the same function again: the first that is tried, as long as the crash does not come back. Null where there is none.</summary>
    public BoundaryAnswer? Retry { get; init; }

    /// <summary>Functions that it calls directly where the pointer leads to them: a comparison costs less than a retpoline (include/linux/indirect_call_wrapper.h, INDIRECT_CALL_INET).</summary>
    public IReadOnlyList<string> Directly { get; init; } = [];

    /// <summary>As of a crash: with the answer that is given now.</summary>
    /// <param name="callee">The function that is to return, without a compiler's suffix.</param>
    /// <param name="earlierRepairs">How often the guest has been repaired at the same place of late.</param>
    public Boundary For(string callee, int earlierRepairs) =>
        (ByCallee.GetValueOrDefault(callee) ?? (earlierRepairs < BoundaryAnswer.MostRetries ? Retry : null)) is { } answer
            ? this with { Result = answer.Result, Shown = answer.Shown, Lost = answer.Lost, Risk = answer.Risk } : this;

    /// <summary>"an error to" or "to": the beginning of a sentence's end.</summary>
    public string Returns => Result is null ? $"returns to {Function}" : $"returns {Shown} to {Function}";
}

/// <summary>An answer to a dispatch point other than its usual one.</summary>
/// <param name="Result">What is returned.</param>
/// <param name="Shown">The result for a person.</param>
/// <param name="Lost">What is lost by it.</param>
/// <param name="Risk">What may go wrong after it; null where nothing is known to.</param>
public sealed record BoundaryAnswer(ulong Result, string Shown, string Lost, string? Risk)
{
    /// <summary>How often an answer after which the function is called again is tried at one place before the usual one is given.</summary>
    public const int MostRetries = 2;

    /// <summary>No answers.</summary>
    internal static IReadOnlyDictionary<string, BoundaryAnswer> None { get; } = new Dictionary<string, BoundaryAnswer>();
}

/// <summary>The kernel's dispatch points. Each row says what must hold there; the calls meant are those through a pointer, which no other call of the same function is.</summary>
public static class Boundaries
{
    private const ulong Zero = 0, One = 1, FaultSigbus = 2, BlockResource = 9, BlockIoError = 10;
    private const ulong Eio = unchecked((ulong)-5L), Eio32 = unchecked((uint)-5);

    /// <summary>HRTIMER_RESTART is 1. A timer that was not forwarded has expired already, and its function is called again at once, from the beginning. The tick of a CPU is kernel/time/tick-sched.c's
    /// tick_sched_timer, tick_nohz_highres_handler since 6.7 (commit dba428a678c7), tick_nohz_handler since 6.9 (commit 37263ba0c44b); kernel/watchdog.c forwards its timer before anything else.</summary>
    private static readonly Dictionary<string, BoundaryAnswer> Ticks = ((string[])["tick_sched_timer", "tick_nohz_highres_handler", "tick_nohz_handler", "watchdog_timer_fn"]).ToDictionary(
        name => name, _ => new BoundaryAnswer(One, "HRTIMER_RESTART", "the rest of one run of the timer, which is called again", "what it had counted is counted twice"), StringComparer.Ordinal);

    /// <summary>BLK_STS_RESOURCE: the block layer takes the request back and gives it to the driver again some milliseconds later (__blk_mq_requeue_request, which also handles one that was begun). BLK_STS_IOERR ends it
    /// (include/linux/blk_types.h).</summary>
    private static readonly BoundaryAnswer Requeued =
        new(BlockResource, "BLK_STS_RESOURCE", "nothing: the request is given to the driver again", "a request that the driver had handed to its device already is done twice");

    /// <summary>block/blk-mq.c: who calls queue_rq depends on what the compiler has put into what.</summary>
    private static readonly IEnumerable<Boundary> BlockDispatch = ((string[])
    [
        "blk_mq_dispatch_rq_list", "__blk_mq_issue_directly", "blk_mq_request_issue_directly", "__blk_mq_try_issue_directly", "blk_mq_try_issue_directly", "blk_mq_plug_issue_direct", "blk_mq_issue_direct",
        "blk_mq_try_issue_list_directly",
    ]).Select(name => new Boundary(
        name, "a disk's function for a request", BlockIoError, "BLK_STS_IOERR", null, null, "one request to a disk, which fails with an I/O error", "a request that the driver had handed to its device already is done after it has failed")
    {
        Retry = Requeued,
    });

    private static readonly Dictionary<string, Boundary> Table = ((Boundary[])
    [
        .. BlockDispatch,

        // block/blk-mq.c: what the driver has not taken from the list is issued one by one afterwards.
        new("blk_mq_flush_plug_list", "a disk's function for several requests", null, "", null, null, "those requests that the driver had taken from the list and not handed to its device"),
        new("__blk_mq_flush_plug_list", "a disk's function for several requests", null, "", null, null, "those requests that the driver had taken from the list and not handed to its device"),

        // block/blk-mq.c: mq_ops->complete, in a softirq.
        new("blk_complete_reqs", "a disk's function for a request that is done", null, "", null, null, "the end of one request to a disk", "who waits for it waits for ever"),

        // net/core/dev.c, xmit_one (inlined as a rule): NETDEV_TX_OK is 0, and the packet is the driver's from then on.
        new("dev_hard_start_xmit", "a network device's function for a packet", Zero, "NETDEV_TX_OK", null, null, "one packet that was to be sent", "its memory is never freed"),
        new("xmit_one", "a network device's function for a packet", Zero, "NETDEV_TX_OK", null, null, "one packet that was to be sent", "its memory is never freed"),

        // net/core/dev.c: what a protocol makes of packets that have come is its own matter; a packet that is gone is sent again by whoever misses it. net/ipv4/ip_input.c: 0 is a packet that was taken.
        new("__netif_receive_skb_list_core", "a protocol's function for packets", null, "", true, null, "packets that have come", "their memory is never freed") { Directly = ["ip_list_rcv", "ipv6_list_rcv"] },
        new("__netif_receive_skb_one_core", "a protocol's function for a packet", One, "NET_RX_DROP", true, null, "one packet that has come", "its memory is never freed") { Directly = ["ip_rcv", "ipv6_rcv"] },
        new("ip_protocol_deliver_rcu", "a transport's function for a packet", Zero, "0", true, null, "one packet that has come", "its memory is never freed") { Directly = ["tcp_v4_rcv", "udp_rcv"] },

        // kernel/time/timer.c: the caller holds no lock; it looks at the preempt count itself and puts it right. A TIMER_IRQSAFE timer runs with interrupts off.
        new("call_timer_fn", "a timer's function", null, "", null, null, "one run of the timer's function", "a timer that its function starts again is not started again"),

        // kernel/time/hrtimer.c, __run_hrtimer (inlined as a rule): HRTIMER_NORESTART is 0. The base's lock is let go for the call.
        new("__run_hrtimer", "an hrtimer's function", Zero, "HRTIMER_NORESTART", null, null, "one run of the hrtimer's function", "the hrtimer is not started again") { ByCallee = Ticks },
        new("__hrtimer_run_queues", "an hrtimer's function", Zero, "HRTIMER_NORESTART", null, null, "one run of the hrtimer's function", "the hrtimer is not started again") { ByCallee = Ticks },

        // kernel/softirq.c. handle_softirqs: split off __do_softirq in 6.10 (commit 1dd1eff161bd). Both compare the preempt count with the one from before and put it right.
        new("tasklet_action_common", "a tasklet's function", null, "", true, null, "one run of the tasklet"),
        new("__do_softirq", "a softirq's action", null, "", true, null, "the rest of one round of that softirq", "work that the softirq had queued is left until it is raised again"),
        new("handle_softirqs", "a softirq's action", null, "", true, null, "the rest of one round of that softirq", "work that the softirq had queued is left until it is raised again"),

        // net/core/dev.c: a poll that returns less than its budget has completed itself, or has to be scheduled anew by its device; one that returns its budget (or more, which is complained of once) is
        // called again. Nearly every instance has the usual weight (NAPI_POLL_WEIGHT, include/linux/netdevice.h).
        new("__napi_poll", "a device's NAPI poll", Zero, "0 packets", true, null, "the packets that the poll had taken from its device", "a device whose poll did not complete itself gets no more packets until it is reset")
        {
            Retry = new BoundaryAnswer(64, "64 packets, its budget", "one run of the device's NAPI poll, which is called again", null),
        },

        // kernel/irq/handle.c: IRQ_NONE is 0; a line that nobody serves is switched off by the kernel itself after 99900 of 100000 interrupts (kernel/irq/spurious.c).
        new("__handle_irq_event_percpu", "an interrupt handler", Zero, "IRQ_NONE", false, null, "one interrupt of the device", "a device that was not acknowledged may raise its interrupt again"),
        new("irq_thread_fn", "an interrupt's thread function", One, "IRQ_HANDLED", true, 0, "one interrupt of the device"),
        new("irq_forced_thread_fn", "an interrupt's thread function", One, "IRQ_HANDLED", null, null, "one interrupt of the device"),

        // kernel/irq_work.c, kernel/smp.c: called with interrupts off, or (lazy irq_work, PREEMPT_RT) from a thread.
        new("irq_work_single", "an irq_work's function", null, "", null, null, "one run of the irq_work"),
        new("flush_smp_call_function_queue", "a function called from another CPU", null, "", false, null, "one call from another CPU"),
        new("__flush_smp_call_function_queue", "a function called from another CPU", null, "", false, null, "one call from another CPU"),
        new("csd_do_func", "a function called from another CPU", null, "", null, null, "one call from another CPU"),
        new("generic_exec_single", "a function called on its own CPU", null, "", false, null, "one call of a function on this CPU"),
        new("smp_call_function_many_cond", "a function called on its own CPU", null, "", false, null, "one call of a function on this CPU"),

        // kernel/workqueue.c, kernel/kthread.c: both look for leaked locks and atomic sections afterwards.
        new("process_one_work", "a work's function", null, "", true, 0, "one work item"),
        new("kthread", "a kernel thread's function", Eio32, "-EIO", true, 0, "the kernel thread, which ends", "nobody starts the kernel thread again"),

        // kernel/rcu/: with interrupts on and bottom halves off, or from a thread.
        new("rcu_do_batch", "an RCU callback", null, "", true, null, "one RCU callback", "what the callback was to free is never freed"),
        new("srcu_invoke_callbacks", "an SRCU callback", null, "", true, null, "one SRCU callback", "what the callback was to free is never freed"),

        // init/main.c: compares preempt count and interrupt flag with those from before and puts them right. kernel/module/main.c.
        new("do_one_initcall", "a module's init function", Eio32, "-EIO", true, 0, "the module, which is not loaded"),
        new("__do_sys_delete_module", "a module's exit function", null, "", true, 0, "what the rest of the module's exit function would have taken down", "what the module has left registered points to code that is gone"),

        // kernel/notifier.c: NOTIFY_DONE is 0. Atomic chains are called in any context.
        new("notifier_call_chain", "a notifier", Zero, "NOTIFY_DONE", null, null, "one notification"),
        new("task_work_run", "a task's deferred work", null, "", true, 0, "one piece of the task's deferred work"),

        // mm/memory.c; kernel/fork.c, where dup_mmap is inlined as a rule: VM_FAULT_SIGBUS is 2; vm_ops->open returns nothing.
        new("__do_fault", "a mapping's fault handler", FaultSigbus, "VM_FAULT_SIGBUS", true, 0, "one page of a mapping, whose user gets SIGBUS or EFAULT"),
        new("do_page_mkwrite", "a mapping's write fault handler", FaultSigbus, "VM_FAULT_SIGBUS", true, 0, "one write to a mapping, whose user gets SIGBUS or EFAULT"),
        new("copy_process", "a mapping's open function", null, "", true, 0, "what the driver would have noted of the child's mapping", "the driver does not know of the mapping, whose close it will be told"),
        new("dup_mm", "a mapping's open function", null, "", true, 0, "what the driver would have noted of the child's mapping", "the driver does not know of the mapping, whose close it will be told"),
        new("dup_mmap", "a mapping's open function", null, "", true, 0, "what the driver would have noted of the child's mapping", "the driver does not know of the mapping, whose close it will be told"),

        // fs/file_table.c, drivers/cpuidle/cpuidle.c: the result of release is ignored; a negative state was not entered.
        new("__fput", "a file's release function", Zero, "0", true, 0, "what the rest of the file's release function would have given back"),
        new("cpuidle_enter_state", "an idle state's function", Eio32, "-EIO", false, null, "one entry into an idle state"),
    ]).ToDictionary(b => b.Function, StringComparer.Ordinal);

    /// <summary>All rows.</summary>
    public static IReadOnlyCollection<Boundary> All => Table.Values;

    /// <summary>The boundary that a function is, by its symbol; compilers' suffixes do not matter.</summary>
    public static Boundary? Find(string symbol) => Table.GetValueOrDefault(WithoutSuffix(symbol));

    /// <summary>A function that its dispatch point has to call again until it has done its work, by its symbol.</summary>
    public static bool HasToRun(string symbol) => Table.Values.Any(b => b.ByCallee.ContainsKey(WithoutSuffix(symbol)));

    /// <summary>A symbol without what compilers add to it (<c>.isra.0</c>, <c>.constprop.0</c>, <c>.cold</c>).</summary>
    internal static string WithoutSuffix(string symbol) => symbol.IndexOf('.', StringComparison.Ordinal) is var dot and > 0 ? symbol[..dot] : symbol;
}
