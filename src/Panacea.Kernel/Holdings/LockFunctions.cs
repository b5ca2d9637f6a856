namespace Panacea.Kernel.Holdings;

/// <summary>What a piece of kernel code can hold.</summary>
public enum HoldingKind
{
    /// <summary>struct mutex.</summary>
    Mutex,

    /// <summary>struct rw_semaphore, for reading.</summary>
    RwsemRead,

    /// <summary>struct rw_semaphore, for writing.</summary>
    RwsemWrite,

    /// <summary>struct semaphore.</summary>
    Semaphore,

    /// <summary>spinlock_t or raw_spinlock_t; preemption is off with it.</summary>
    Spinlock,

    /// <summary>The same, with bottom halves off too.</summary>
    SpinlockBh,

    /// <summary>rwlock_t for reading; preemption is off with it.</summary>
    RwlockRead,

    /// <summary>rwlock_t for writing; preemption is off with it.</summary>
    RwlockWrite,

    /// <summary>rwlock_t for reading, with bottom halves off too.</summary>
    RwlockReadBh,

    /// <summary>rwlock_t for writing, with bottom halves off too.</summary>
    RwlockWriteBh,

    /// <summary>An RCU read-side critical section.</summary>
    Rcu,

    /// <summary>A handle of a jbd2 transaction, which current->journal_info points to: the file system comes to a standstill where nobody ends it (fs/jbd2/transaction.c).</summary>
    Journal,

    /// <summary>A plug on the stack, which current->plug points to: block requests wait in it to be sent (block/blk-core.c).</summary>
    Plug,

    /// <summary>Something that a function takes which is not one of these: it can't be given back.</summary>
    Other,
}

/// <summary>When a function that takes has taken, by its result.</summary>
public enum TakenWhen
{
    /// <summary>Whenever it has returned.</summary>
    Always,

    /// <summary>It returned zero: the interruptible ones.</summary>
    ResultIsZero,

    /// <summary>It did not return zero: the trylocks.</summary>
    ResultIsNotZero,
}

/// <summary>What becomes of the CPU's interrupt flag.</summary>
public enum InterruptChange
{
    /// <summary>It stays.</summary>
    None,

    /// <summary>Interrupts are off afterwards.</summary>
    Off,

    /// <summary>Interrupts are on afterwards.</summary>
    On,

    /// <summary>It becomes what it was before it was last changed.</summary>
    Restored,

    /// <summary>It differs from way to way.</summary>
    Unknown,
}

/// <summary>What a call of one of the kernel's lock functions does.</summary>
/// <param name="Kind">To what.</param>
/// <param name="Takes">True where it takes, false where it gives back.</param>
/// <param name="When">For one that takes: when it has.</param>
/// <param name="Interrupts">What it does to the interrupt flag.</param>
/// <param name="Argument">Which argument is the lock, from 0.</param>
public sealed record LockFunction(HoldingKind Kind, bool Takes, TakenWhen When = TakenWhen.Always, InterruptChange Interrupts = InterruptChange.None, int Argument = 0)
{
    /// <summary>It counts something down, too, and takes the lock by one of the others.</summary>
    public bool Counts { get; init; }
}

/// <summary>The kernel's functions that take locks and give them back (kernel/locking/, include/linux/{spinlock,rwlock}_api_smp.h, kernel/rcu/tree_plugin.h).</summary>
public static class LockFunctions
{
    private const TakenWhen Zero = TakenWhen.ResultIsZero, NotZero = TakenWhen.ResultIsNotZero;

    private static readonly Dictionary<string, LockFunction> Known = new(StringComparer.Ordinal)
    {
        ["mutex_lock"] = Take(HoldingKind.Mutex),
        ["mutex_lock_io"] = Take(HoldingKind.Mutex),
        ["mutex_lock_interruptible"] = Take(HoldingKind.Mutex, Zero),
        ["mutex_lock_killable"] = Take(HoldingKind.Mutex, Zero),
        ["mutex_trylock"] = Take(HoldingKind.Mutex, NotZero),
        ["atomic_dec_and_mutex_lock"] = new(HoldingKind.Mutex, true, NotZero, InterruptChange.None, 1) { Counts = true },
        ["refcount_dec_and_mutex_lock"] = new(HoldingKind.Mutex, true, NotZero, InterruptChange.None, 1) { Counts = true },
        ["mutex_unlock"] = Give(HoldingKind.Mutex),
        ["down_read"] = Take(HoldingKind.RwsemRead),
        ["down_read_interruptible"] = Take(HoldingKind.RwsemRead, Zero),
        ["down_read_killable"] = Take(HoldingKind.RwsemRead, Zero),
        ["down_read_trylock"] = Take(HoldingKind.RwsemRead, NotZero),
        ["up_read"] = Give(HoldingKind.RwsemRead),
        ["down_write"] = Take(HoldingKind.RwsemWrite),
        ["down_write_killable"] = Take(HoldingKind.RwsemWrite, Zero),
        ["down_write_trylock"] = Take(HoldingKind.RwsemWrite, NotZero),
        ["up_write"] = Give(HoldingKind.RwsemWrite),
        ["down"] = Take(HoldingKind.Semaphore),
        ["down_interruptible"] = Take(HoldingKind.Semaphore, Zero),
        ["down_killable"] = Take(HoldingKind.Semaphore, Zero),
        ["down_timeout"] = Take(HoldingKind.Semaphore, Zero),
        ["down_trylock"] = Take(HoldingKind.Semaphore, Zero),
        ["up"] = Give(HoldingKind.Semaphore),
        ["_raw_spin_lock"] = Take(HoldingKind.Spinlock),
        ["_raw_spin_lock_irq"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off),
        ["_raw_spin_lock_irqsave"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off),
        ["_raw_spin_lock_bh"] = Take(HoldingKind.SpinlockBh),
        ["_raw_spin_trylock"] = Take(HoldingKind.Spinlock, NotZero),
        ["_raw_spin_trylock_bh"] = Take(HoldingKind.SpinlockBh, NotZero),
        ["_raw_spin_unlock"] = Give(HoldingKind.Spinlock),
        ["_raw_spin_unlock_irq"] = Give(HoldingKind.Spinlock, InterruptChange.On),
        ["_raw_spin_unlock_irqrestore"] = Give(HoldingKind.Spinlock, InterruptChange.Restored),
        ["_raw_spin_unlock_bh"] = Give(HoldingKind.SpinlockBh),
        ["_raw_read_lock"] = Take(HoldingKind.RwlockRead),
        ["_raw_read_lock_irq"] = Take(HoldingKind.RwlockRead, TakenWhen.Always, InterruptChange.Off),
        ["_raw_read_lock_irqsave"] = Take(HoldingKind.RwlockRead, TakenWhen.Always, InterruptChange.Off),
        ["_raw_read_lock_bh"] = Take(HoldingKind.RwlockReadBh),
        ["_raw_read_trylock"] = Take(HoldingKind.RwlockRead, NotZero),
        ["_raw_read_unlock"] = Give(HoldingKind.RwlockRead),
        ["_raw_read_unlock_irq"] = Give(HoldingKind.RwlockRead, InterruptChange.On),
        ["_raw_read_unlock_irqrestore"] = Give(HoldingKind.RwlockRead, InterruptChange.Restored),
        ["_raw_read_unlock_bh"] = Give(HoldingKind.RwlockReadBh),
        ["_raw_write_lock"] = Take(HoldingKind.RwlockWrite),
        ["_raw_write_lock_irq"] = Take(HoldingKind.RwlockWrite, TakenWhen.Always, InterruptChange.Off),
        ["_raw_write_lock_irqsave"] = Take(HoldingKind.RwlockWrite, TakenWhen.Always, InterruptChange.Off),
        ["_raw_write_lock_bh"] = Take(HoldingKind.RwlockWriteBh),
        ["_raw_write_trylock"] = Take(HoldingKind.RwlockWrite, NotZero),
        ["_raw_write_unlock"] = Give(HoldingKind.RwlockWrite),
        ["_raw_write_unlock_irq"] = Give(HoldingKind.RwlockWrite, InterruptChange.On),
        ["_raw_write_unlock_irqrestore"] = Give(HoldingKind.RwlockWrite, InterruptChange.Restored),
        ["_raw_write_unlock_bh"] = Give(HoldingKind.RwlockWriteBh),
        ["__rcu_read_lock"] = Take(HoldingKind.Rcu),
        ["__rcu_read_unlock"] = Give(HoldingKind.Rcu),
        ["jbd2__journal_start"] = Take(HoldingKind.Journal),
        ["jbd2_journal_start"] = Take(HoldingKind.Journal),
        ["__ext4_journal_start_sb"] = Take(HoldingKind.Journal),
        ["__ext4_journal_start_reserved"] = Take(HoldingKind.Journal),
        ["jbd2_journal_stop"] = Give(HoldingKind.Journal),
        ["__ext4_journal_stop"] = Give(HoldingKind.Journal),
        ["blk_start_plug"] = Take(HoldingKind.Plug),
        ["blk_start_plug_nr_ios"] = Take(HoldingKind.Plug),
        ["blk_finish_plug"] = Give(HoldingKind.Plug),
    };

    /// <summary>Functions that come back holding something that is not in the table: what they took can't be given back. Prefixes of symbol names.</summary>
    private static readonly string[] Others =
    [
        "ww_mutex_lock", "ww_mutex_trylock", "rt_mutex_lock", "rt_mutex_trylock", "percpu_down_", "__percpu_down_", "jbd2_journal_start_", "__ext4_journal_start", "lock_sock", "release_sock_nested",
        "lock_page", "folio_lock", "__folio_lock", "bit_spin_lock", "srcu_read_lock", "__srcu_read_lock", "kernfs_get_active", "queued_spin_lock", "native_queued_spin_lock",
        "preempt_disable", "local_bh_disable", "__local_bh_disable", "queue_write_lock", "queued_read_lock", "queued_write_lock", "downgrade_write", "rtnl_lock", "rtnl_trylock", "console_lock", "console_trylock",
        "cpus_read_lock", "cpus_write_lock", "get_online_cpus", "lock_rename", "vfs_rename_lock", "lock_two_", "mnt_want_write", "__mnt_want_write", "sb_start_", "__sb_start_write", "file_start_write", "kernel_fpu_begin",
        "device_lock", "task_rq_lock", "__task_rq_lock", "lock_timer_base", "__lock_task_sighand", "lock_task_sighand", "blk_queue_enter", "blk_mq_freeze_queue", "seq_lock", "write_seqlock", "module_mutex_lock", "lock_system_sleep",
        "local_lock", "migrate_disable", "pagefault_disable", "kmap_atomic", "memalloc_",
    ];

    /// <summary>What a call of a function does.</summary>
    /// <param name="name">The function's symbol.</param>
    /// <returns>Null where it takes nothing and gives nothing back.</returns>
    public static LockFunction? Find(string name)
    {
        if (Known.TryGetValue(name, out LockFunction? function))
            return function;
        foreach (string prefix in Others)
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal))
                return new LockFunction(HoldingKind.Other, true);
        }

        return null;
    }

    /// <summary>The kernel's function that gives back what is held; null where there is none. Those of the "irq" kinds are not among them: the interrupt flag is set by itself.</summary>
    public static string? ReleaseOf(HoldingKind kind) => kind switch
    {
        HoldingKind.Mutex => "mutex_unlock",
        HoldingKind.RwsemRead => "up_read",
        HoldingKind.RwsemWrite => "up_write",
        HoldingKind.Semaphore => "up",
        HoldingKind.Spinlock => "_raw_spin_unlock",
        HoldingKind.SpinlockBh => "_raw_spin_unlock_bh",
        HoldingKind.RwlockRead => "_raw_read_unlock",
        HoldingKind.RwlockWrite => "_raw_write_unlock",
        HoldingKind.RwlockReadBh => "_raw_read_unlock_bh",
        HoldingKind.RwlockWriteBh => "_raw_write_unlock_bh",
        HoldingKind.Rcu => "__rcu_read_unlock",
        HoldingKind.Journal => "jbd2_journal_stop",
        HoldingKind.Plug => "blk_finish_plug",
        _ => null,
    };

    /// <summary>The member of task_struct that points to what is held, where that is the task's own and not a lock; null for the others.</summary>
    public static string? TaskMemberOf(HoldingKind kind) => kind switch
    {
        HoldingKind.Journal => "task_struct.journal_info",
        HoldingKind.Plug => "task_struct.plug",
        _ => null,
    };

    /// <summary>Giving it back may sleep.</summary>
    public static bool ReleaseSleeps(HoldingKind kind) => kind is HoldingKind.Journal or HoldingKind.Plug;

    /// <summary>What holding it adds to the CPU's preempt count (include/linux/preempt.h: PREEMPT_OFFSET 1, SOFTIRQ_DISABLE_OFFSET 0x200).</summary>
    public static int PreemptCountOf(HoldingKind kind) => kind switch
    {
        HoldingKind.Spinlock or HoldingKind.RwlockRead or HoldingKind.RwlockWrite => 1,
        HoldingKind.SpinlockBh or HoldingKind.RwlockReadBh or HoldingKind.RwlockWriteBh => 0x201,
        _ => 0,
    };

    private static LockFunction Take(HoldingKind kind, TakenWhen when = TakenWhen.Always, InterruptChange interrupts = InterruptChange.None) => new(kind, true, when, interrupts);

    private static LockFunction Give(HoldingKind kind, InterruptChange interrupts = InterruptChange.None) => new(kind, false, TakenWhen.Always, interrupts);
}
