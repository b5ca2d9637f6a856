using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.GuestTests.Understanding;

/// <summary>Locks that threads of the lab's module hold and wait for. The module says where its locks are and which thread does what; the guest says that they sleep.</summary>
public abstract class LockTests(SharedGuest shared)
{
    /// <summary>Name, then "waiter kind lock owner" each, then how it ends. An owner of "-" is one that the kernel does not keep; "?" one that is gone.</summary>
    public static TheoryData<string, string[], ChainEnd> Sets => new()
    {
        { "hold-mutex", ["lk_want1 Mutex mutex_a lk_holder", "lk_want2 Mutex mutex_a lk_holder"], ChainEnd.Sleeps },
        { "hold-rwsem", ["lk_reader RwSemaphore rwsem lk_holder", "lk_writer RwSemaphore rwsem lk_holder"], ChainEnd.Sleeps },
        { "hold-rwsem-read", ["lk_writer RwSemaphore rwsem lk_holder"], ChainEnd.OwnerUnknown },
        { "hold-semaphore", ["lk_want1 Semaphore semaphore -"], ChainEnd.OwnerUnknown },
        { "hold-percpu-rwsem", ["lk_reader PercpuRwSemaphore percpu -"], ChainEnd.OwnerUnknown },
        { "hold-percpu-rwsem-read", ["lk_writer PercpuRwSemaphore percpu -"], ChainEnd.OwnerUnknown },
        { "hold-rtmutex", ["lk_want1 RtMutex rtmutex lk_holder"], ChainEnd.Sleeps },
        { "wait-completion", ["lk_want1 Completion completion -"], ChainEnd.OwnerUnknown },
        { "wait-event", ["lk_want1 WaitQueue queue -"], ChainEnd.OwnerUnknown },
        { "deadlock-abba-mutex", ["lk_a Mutex mutex_b lk_b", "lk_b Mutex mutex_a lk_a"], ChainEnd.Deadlock },
        { "deadlock-self-mutex", ["lk_a Mutex mutex_a lk_a"], ChainEnd.Deadlock },
        { "orphan-mutex", ["lk_want1 Mutex mutex_a ?"], ChainEnd.OwnerGone },
    };

    [Theory]
    [MemberData(nameof(Sets))]
    public async Task Who_waits_for_whom_is_told(string name, string[] expected, ChainEnd end)
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync($"echo {name} > /dev/crashtest_locks");
        await guest.MustAsync($"until [ $(cat /proc/[0-9]*/stat 2> /dev/null | grep -c '(lk_[a-z0-9]*) D') = {expected.Length} ]; do sleep 0.05; done", Limits.Guest);
        (WaitGraph graph, Dictionary<ulong, LinuxTask> tasks) = KernelView.Settled(() =>
        {
            List<LinuxTask> all = Tasks.Enumerate(view.Kernel, TargetLimits.Default);
            WaitGraph found = WaitGraph.Build(view.Kernel, all, new TaskBacktraces(view.Kernel, TargetLimits.Default), TargetLimits.Default);

            // Others may sleep for a moment too, in the middle of whose waking they are read.
            return found.Edges.Count(e => all.First(t => t.Address == e.Wait.Task).Comm.StartsWith("lk_", StringComparison.Ordinal)) == expected.Length
                ? (found, all.ToDictionary(t => t.Address)) : throw new KernelShapeException("not all of them are there yet");
        });
        LockEdge[] ours = [.. graph.Edges.Where(e => Name(e.Wait.Task).StartsWith("lk_", StringComparison.Ordinal)).OrderBy(e => Name(e.Wait.Task), StringComparer.Ordinal)];
        Assert.Equal(expected, ours.Select(e => $"{Name(e.Wait.Task)} {e.Wait.Kind} {locks.NameOf(e.Wait.Lock)} {Name(e.State!.Owner)}"));
        Assert.All(ours, e => Assert.Equal($"locks_{locks.NameOf(e.Wait.Lock)}", e.Symbol?.Name));
        Assert.All(ours, e => Assert.True(e.State!.Waiters.IsWhole && e.State.Waiters.Items.Contains(e.Wait.Task)));
        Assert.All(ours, e => Assert.Equal(!Name(e.Wait.Task).StartsWith("lk_reader", StringComparison.Ordinal), e.Wait.IsExclusive));
        WaitChain[] chains = [.. graph.Chains.Where(c => c.Links.Any(l => ours.Contains(l)))];
        Assert.All(chains, c => Assert.Equal(end, c.End));
        Assert.Equal(end == ChainEnd.Deadlock ? 1 : expected.Length, chains.Length);
        Assert.Equal(expected.Length, chains.Sum(c => c.Links.Count));

        // From the other end: mutexes and rw_semaphores are found by the word that names their owner, whoever waits for them.
        List<HeldLock> held = KernelView.Settled(() => new HeldLocks(view.Kernel, tasks.Values, TargetLimits.Default).InData(Modules.Enumerate(view.Kernel, TargetLimits.Default)));
        Assert.Equal(
            expected.Select(e => e.Split(' ')).Where(e => e[1] is "Mutex" or "RwSemaphore" && e[3].StartsWith("lk_", StringComparison.Ordinal)).Select(e => $"{e[1]} locks_{e[2]} {e[3]}").Distinct().Order(),
            held.Where(h => h.IsSure && h.Symbol?.Name.StartsWith("locks_", StringComparison.Ordinal) == true).Select(h => $"{h.Lock.Kind} {h.Symbol!.Name} {Name(h.Lock.Owner)}").Order());

        string Name(ulong task) => task == 0 ? "-" : tasks.TryGetValue(task, out LinuxTask? found) ? found.Comm : "?";
    }

    [Fact]
    public async Task A_cpu_that_waits_for_its_own_spinlock_is_found_and_holds_up_rcu()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync("echo spin-deadlock > /dev/crashtest_locks");

        // Something that waits for a grace period, so that there is one.
        await guest.MustAsync("(insmod /modules/crashtest_extra.ko; rmmod crashtest_extra) > /dev/null 2>&1 &");
        await guest.MustAsync("until grep -q 'synchronize_rcu\\|rcu_barrier\\|wait_rcu' /proc/[0-9]*/stack; do sleep 0.05; done", Limits.Guest);
        RcuState rcu = KernelView.Settled(() => RcuState.Read(view.Kernel, TargetLimits.Default) is { WaitsForCpus.Count: > 0 } state
            ? state : throw new KernelShapeException("no grace period is running"));
        Assert.True(rcu.IsInProgress);
        Assert.Contains(1, rcu.WaitsForCpus);
        view.Release();
        using (QemuTarget target = QemuTarget.Attach(QemuTargetSpec.Parse($"qmp:{guest.QmpPath}")))
        {
            // Interrupts are on while it spins: the instant of a stop may be one of theirs. And the other CPU may have preemption off
            // then, so that it could be the holder as well.
            LinuxKernel kernel = view.Image.KernelOver(target.Memory);
            var code = new Kernel.Image.CodeMap(view.Image);
            bool found = false;
            for (int look = 0; look < 20 && !found; look++)
            {
                QemuStoppedGuest stopped = target.Stopped ?? target.Stop();
                try
                {
                    IReadOnlyList<SpinningCpu> all = new SpinningCpus(kernel, TargetLimits.Default, code).Find(stopped.ReadAllRegisters());
                    if (all.Count == 0)
                        continue;
                    SpinningCpu spinning = Assert.Single(all);
                    Assert.Equal((1, "spinlock"), (spinning.Cpu, locks.NameOf(spinning.Lock)));
                    Assert.Equal("lk_spin", Tasks.ReadTask(kernel, spinning.Task).Comm);
                    Assert.Equal("locks_spin", spinning.Caller?.Name);
                    Assert.True(spinning.State.IsLocked);
                    Assert.Contains(1, spinning.PossibleHolders);
                    Assert.Equal(spinning.PossibleHolders.Count == 1, spinning.IsSelfDeadlock);
                    found = spinning.IsSelfDeadlock;
                    CpuState cpu = CpuStates.Read(kernel, 1);
                    Assert.Equal((2u, false), (cpu.PreemptDepth, cpu.InSoftirq));
                }
                finally
                {
                    stopped.Resume();
                }
            }

            Assert.True(found, "the CPU was never seen to wait for what it alone can hold");
        }

        await guest.MustAsync("echo release > /dev/crashtest_locks; until ! pidof rmmod > /dev/null; do sleep 0.05; done", Limits.Guest);
    }

    [Fact]
    public async Task How_long_a_task_sleeps_is_told()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        using KernelView view = KernelView.Open(guest);
        double before = await UptimeAsync(guest);
        await guest.MustAsync("echo hold-mutex > /dev/crashtest_locks; until [ $(cat /proc/[0-9]*/stat 2> /dev/null | grep -c '(lk_want[12]) D') = 2 ]; do sleep 0.05; done", Limits.Guest);
        double asleep = await UptimeAsync(guest);
        await guest.MustAsync("sleep 2");
        double earliest = await UptimeAsync(guest);
        (SleepTime? Time, bool IsAccounted)[] slept = KernelView.Settled(() =>
        {
            var times = new SleepTimes(view.Kernel);
            return Tasks.Enumerate(view.Kernel, TargetLimits.Default).Where(t => t.Comm.StartsWith("lk_want", StringComparison.Ordinal)).Select(t => (times.Of(t.Address), view.Kernel.Read(t.Address, "task_struct.se.exec_start") != 0)).ToArray();
        });
        double latest = await UptimeAsync(guest);
        Assert.Equal(2, slept.Length);

        // The scheduler's clock and the uptime run beside each other; both vCPUs may be idle, then it stands for up to a second or so.
        Assert.All(slept, s => Assert.InRange(s.Time!.Ns / 1e9, earliest - asleep - 1.5, latest - before + 0.5));

        // One that the load balancer took after it went to sleep, as it does since 6.12, has lost the moment at which it ran last.
        Assert.All(slept, s => Assert.Equal(s.IsAccounted ? SleepTimeSource.LastRun : SleepTimeSource.LastArrival, s.Time!.Source));
        Assert.All(slept, s => Assert.True(s.Time!.AtMostNs >= s.Time.Ns && s.Time.AtLeastNs <= s.Time.Ns));
    }

    private static async Task<double> UptimeAsync(Guest guest) => double.Parse((await guest.MustAsync("cat /proc/uptime")).Split(' ')[0], CultureInfo.InvariantCulture);
}

/// <summary>The lab's module with locks, loaded.</summary>
internal sealed class LockModule : IAsyncDisposable
{
    private readonly Guest _guest;
    private readonly Dictionary<ulong, string> _names = [];

    private LockModule(Guest guest, string[] lines)
    {
        _guest = guest;
        foreach (string[] words in lines.Select(l => l.Split(' ')))
        {
            if (words is ["lock", string name, string address])
                _names[ulong.Parse(address, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)] = name;
            else if (words is ["expires", string jiffies])
                Expires = ulong.Parse(jiffies, CultureInfo.InvariantCulture);
        }
    }

    /// <summary>When its timer expires, in jiffies, as of the last time it was asked.</summary>
    public ulong Expires { get; private set; }

    /// <summary>Loads it.</summary>
    public static async Task<LockModule> LoadAsync(Guest guest)
    {
        await guest.MustAsync("insmod /modules/crashtest_locks.ko", Limits.Guest);
        return new LockModule(guest, await guest.MustLinesAsync("cat /dev/crashtest_locks"));
    }

    /// <summary>The name of one of its locks, or the address where it is none of them.</summary>
    public string NameOf(ulong address) => _names.TryGetValue(address, out string? name) ? name : $"0x{address:x}";

    /// <summary>Asks again.</summary>
    public async Task RefreshAsync()
    {
        var again = new LockModule(_guest, await _guest.MustLinesAsync("cat /dev/crashtest_locks"));
        Expires = again.Expires;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await _guest.MustAsync("echo release > /dev/crashtest_locks; rmmod crashtest_locks", Limits.Guest);
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class LockTests61(Guest61 guest) : LockTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class LockTests612(Guest612 guest) : LockTests(guest);
