namespace Panacea.Cli.Services.Inspection;

/// <summary>A task by name.</summary>
/// <param name="Pid">Thread id; null where unreadable.</param>
/// <param name="Comm">Name; null where unreadable.</param>
/// <param name="Task">task_struct.</param>
internal sealed record TaskName(int? Pid, string? Comm, ulong Task);

/// <summary>The run queue of a CPU.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Address">struct rq.</param>
/// <param name="Running">Tasks that are ready.</param>
/// <param name="Switches">Context switches.</param>
/// <param name="IoWait">Tasks that last ran here and wait for I/O.</param>
/// <param name="ClockNs">rq.clock in nanoseconds.</param>
/// <param name="Current">The task that runs.</param>
/// <param name="Idle">It is the idle task.</param>
/// <param name="Queued">Its tasks.</param>
/// <param name="Broken">Why there are no more; null where the queue is whole.</param>
internal sealed record RunQueueRow(
    int Cpu, ulong Address, long Running, long Switches, int IoWait, long ClockNs, TaskName Current, bool Idle, IReadOnlyList<QueuedRow> Queued, string? Broken);

/// <summary>A task in a run queue.</summary>
/// <param name="Task">The task.</param>
/// <param name="Class">deadline, real-time, fair, extensible.</param>
/// <param name="Priority">task_struct.prio; null where unreadable.</param>
/// <param name="Key">What its queue is ordered by.</param>
/// <param name="Depth">Task groups above it.</param>
/// <param name="Current">It runs.</param>
/// <param name="Delayed">It sleeps already and stays queued until its lag has run off.</param>
internal sealed record QueuedRow(TaskName Task, string Class, int? Priority, long Key, int Depth, bool Current, bool Delayed);

/// <summary>Who waits for which lock.</summary>
/// <param name="Chains">Chains of waits, deadlocks first.</param>
/// <param name="Spinning">CPUs that spin.</param>
/// <param name="Unexplained">Uninterruptible tasks of which it can't be told what they wait for.</param>
internal sealed record LocksAnswer(IReadOnlyList<ChainRow> Chains, IReadOnlyList<SpinRow> Spinning, IReadOnlyList<UnexplainedRow> Unexplained);

/// <summary>A chain of waits: each task waits for a lock that the next one holds.</summary>
/// <param name="Ends">runs, sleeps, deadlock, owner-gone, owner-unknown.</param>
/// <param name="Links">The waits, the hindmost first.</param>
internal sealed record ChainRow(string Ends, IReadOnlyList<WaitRow> Links);

/// <summary>One wait.</summary>
/// <param name="Waiter">Who waits.</param>
/// <param name="Kind">mutex, rw-semaphore, ….</param>
/// <param name="Lock">Address of the lock.</param>
/// <param name="Name">Its symbol; null where it is no variable.</param>
/// <param name="Function">The function that it waits in.</param>
/// <param name="Exclusive">It wants the lock for itself.</param>
/// <param name="Owner">Who holds it; null where unknown.</param>
internal sealed record WaitRow(TaskName Waiter, string Kind, ulong Lock, string? Name, string? Function, bool Exclusive, TaskName? Owner);

/// <summary>A CPU that spins.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Task">The task that runs there.</param>
/// <param name="Lock">Address of the spinlock.</param>
/// <param name="Name">Its symbol; null where it is no variable.</param>
/// <param name="Caller">The function that wants it.</param>
/// <param name="PossibleHolders">CPUs that could hold it.</param>
internal sealed record SpinRow(int Cpu, TaskName Task, ulong Lock, string? Name, string? Caller, IReadOnlyList<int> PossibleHolders);

/// <summary>A task that waits for something unknown.</summary>
/// <param name="Task">The task.</param>
/// <param name="Why">Why it can't be told.</param>
internal sealed record UnexplainedRow(TaskName Task, string Why);

/// <summary>Workqueues and the pools that do their work.</summary>
/// <param name="Queues">In the order of the kernel's list.</param>
/// <param name="Pools">By number.</param>
internal sealed record WorkqueuesAnswer(IReadOnlyList<WorkqueueRow> Queues, IReadOnlyList<PoolRow> Pools);

/// <summary>A workqueue.</summary>
/// <param name="Address">struct workqueue_struct.</param>
/// <param name="Name">Name.</param>
/// <param name="Flags">WQ_* flags.</param>
/// <param name="Unbound">It is bound to no CPU.</param>
/// <param name="Active">Work that it has in pools.</param>
/// <param name="Inactive">Functions of work that waits until less is active.</param>
/// <param name="Broken">Why there is no more; null where its lists are whole.</param>
internal sealed record WorkqueueRow(ulong Address, string Name, uint Flags, bool Unbound, int Active, IReadOnlyList<string> Inactive, string? Broken);

/// <summary>A pool of workers.</summary>
/// <param name="Address">struct worker_pool.</param>
/// <param name="Id">Number.</param>
/// <param name="Cpu">CPU; null where unbound.</param>
/// <param name="Nice">Nice value of its workers; null where unknown.</param>
/// <param name="Workers">Workers.</param>
/// <param name="Idle">Idle ones.</param>
/// <param name="Pending">Work that waits for a worker.</param>
/// <param name="Busy">What workers do.</param>
/// <param name="Broken">Why there is no more; null where its lists are whole.</param>
internal sealed record PoolRow(
    ulong Address, int Id, int? Cpu, int? Nice, int Workers, int Idle, IReadOnlyList<WorkRow> Pending, IReadOnlyList<WorkRow> Busy, string? Broken);

/// <summary>Work.</summary>
/// <param name="Work">struct work_struct.</param>
/// <param name="Function">Its function.</param>
/// <param name="Queue">The workqueue; null where that can't be told.</param>
/// <param name="Worker">Who does it; null for what waits.</param>
internal sealed record WorkRow(ulong Work, string Function, string? Queue, TaskName? Worker);

/// <summary>Timers.</summary>
/// <param name="Jiffies">Now.</param>
/// <param name="Hz">Ticks a second; null where unknown.</param>
/// <param name="MonotonicNs">Now on CLOCK_MONOTONIC; null where unknown.</param>
/// <param name="Wheel">Timers of the wheel, by CPU and time.</param>
/// <param name="HighResolution">High-resolution timers, by CPU and clock.</param>
/// <param name="Broken">Where lists do not hold together.</param>
internal sealed record TimersAnswer(
    long Jiffies, int? Hz, long? MonotonicNs, IReadOnlyList<TimerRow> Wheel, IReadOnlyList<HrtimerRow> HighResolution, IReadOnlyList<string> Broken);

/// <summary>A timer of the wheel.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Wheel">standard, deferrable, local, global.</param>
/// <param name="Expires">When it is due, in jiffies.</param>
/// <param name="Tte">Jiffies until then; negative where it is late.</param>
/// <param name="Timer">struct timer_list.</param>
/// <param name="Function">Its function.</param>
/// <param name="For">The task that sleeps or the work that is queued then; null for others.</param>
internal sealed record TimerRow(int Cpu, string Wheel, long Expires, long Tte, ulong Timer, string Function, string? For);

/// <summary>A high-resolution timer.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Clock">monotonic, realtime, boottime, tai, with -soft where it expires in softirq.</param>
/// <param name="SoftExpiresNs">When it may expire, in nanoseconds of that clock.</param>
/// <param name="ExpiresNs">When it has to.</param>
/// <param name="TteNs">Nanoseconds until then; null where that clock is unknown.</param>
/// <param name="Timer">struct hrtimer.</param>
/// <param name="Function">Its function.</param>
/// <param name="For">The task that sleeps; null for others.</param>
internal sealed record HrtimerRow(int Cpu, string Clock, long SoftExpiresNs, long ExpiresNs, long? TteNs, ulong Timer, string Function, string? For);
