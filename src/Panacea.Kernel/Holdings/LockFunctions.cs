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

    /// <summary>Whether it has does not follow from its result being zero or not.</summary>
    Sometimes,
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

    /// <summary>They are on, and were on before a lock was taken that turned them off.</summary>
    OnAgain,

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
/// <param name="Argument">Which argument is the lock, from 0; <see cref="Inner"/> where none is.</param>
public sealed record LockFunction(HoldingKind Kind, bool Takes, TakenWhen When = TakenWhen.Always, InterruptChange Interrupts = InterruptChange.None, int Argument = 0)
{
    /// <summary>No argument is the lock, but something that an argument leads to.</summary>
    public const int Inner = -1;

    /// <summary>It counts something down, too, and takes the lock by one of the others.</summary>
    public bool Counts { get; init; }

    /// <summary>It takes or gives back by calling one of the others.</summary>
    public bool IsHelper { get; init; }

    /// <summary>What else it takes or gives back at once: a second lock, or an RCU read-side section.</summary>
    public HoldingKind? Also { get; init; }

    /// <summary>Of <see cref="HoldingKind.Other"/>: what is given back by the functions of the same name here.</summary>
    public string? Pair { get; init; }

    /// <summary>What the call itself adds to the CPU's preempt count, beside what a lock does.</summary>
    public int Preempt { get; init; }
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

    /// <summary>Names of functions that take or give back by calling another one of these.</summary>
    public static IReadOnlyCollection<string> Helpers => LockHelpers.Names;

    /// <summary>What a call of a function does.</summary>
    /// <param name="name">The function's symbol.</param>
    /// <returns>Null where it takes nothing and gives nothing back.</returns>
    public static LockFunction? Find(string name) => Known.TryGetValue(name, out LockFunction? function) ? function : LockHelpers.Find(name);

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
