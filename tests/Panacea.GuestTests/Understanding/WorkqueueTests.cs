using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Workqueues against the names that the kernel gives its workers, sysfs, and what sysrq-t says of a queue of the lab's module.</summary>
public abstract partial class WorkqueueTests(SharedGuest shared)
{
    private const int Rounds = 20;
    private static readonly TargetLimits Limited = TargetLimits.Default;

    [Fact]
    public async Task Every_worker_is_in_the_pool_that_its_name_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] wrong = [];
        for (int round = 0; round < Rounds; round++)
        {
            // kworker/CPU:ID[H] and kworker/uPOOL:ID[H] (create_worker, kernel/workqueue.c); a "-" or "+" and what it works for may follow in /proc.
            string[] before = await WorkersAsync(guest);
            List<WorkerPool> pools = KernelView.Settled(() => Workqueues.Pools(view.Kernel, Limited) is var read && read.All(p => p.Workers.IsWhole && p.Pending.IsWhole) ? read : throw new KernelShapeException("a list moved"));
            string[] after = await WorkersAsync(guest);
            string[] stayed = [.. before.Intersect(after)];
            Assert.True(stayed.Length > 5, $"{stayed.Length} workers");
            HashSet<string> ours = [.. pools.SelectMany(p => p.Workers.Items.Where(w => w.Task != 0 && !w.IsRescuer).Select(w => Name(view.Kernel, p, w)))];
            wrong = [.. stayed.Except(ours), .. ours.Except(before).Except(after)];
            if (wrong.Length == 0)
            {
                Assert.All(pools, p => Assert.True(p.WorkerCount >= p.IdleCount && p.IdleCount == p.Workers.Items.Count(w => w.IsIdle), $"{p}"));
                return;
            }
        }

        Assert.Fail(string.Join('\n', wrong));
    }

    [Fact]
    public async Task Workqueues_have_the_names_that_sysfs_and_their_rescuers_say()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] shown = await guest.MustLinesAsync("ls /sys/bus/workqueue/devices");
        List<Workqueue> ours = KernelView.Settled(() => Workqueues.Enumerate(view.Kernel, Limited));
        Assert.True(ours.Count > 20, $"{ours.Count} workqueues");
        Assert.All(ours, q => Assert.True(q.Pools.IsWhole && q.Pools.Items.Count > 0, $"{q.Name}: {q.Pools.Broken}"));
        Assert.Equal(shown.Order(), ours.Where(q => (q.Flags & 0x40) != 0).Select(q => q.Name).Order());
        foreach (Workqueue queue in ours.Where(q => q.Rescuer != 0))
        {
            // The rescuer is named for the queue, with "kworker/R-" before it from 6.9 on; names are cut at 15 bytes.
            string comm = Tasks.ReadTask(view.Kernel, queue.Rescuer).Comm;
            string[] names = [.. new[] { queue.Name, $"kworker/R-{queue.Name}" }.Select(n => n[..Math.Min(15, n.Length)])];
            Assert.Contains(comm, names);
        }

        Assert.Contains(ours, q => q.Name == "events" && !q.IsUnbound);
        Assert.Contains(ours, q => q.Name == "events_unbound" && q.IsUnbound);
    }

    [Fact]
    public async Task Work_that_is_done_and_that_waits_is_what_sysrq_says()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        await guest.MustAsync("echo hold-work > /dev/crashtest_locks; until grep -q locks_work_fn /proc/[0-9]*/stack; do sleep 0.05; done", Limits.Guest);
        using KernelView view = KernelView.Open(guest);

        // "workqueue lk_wq: flags=0x…\n  pwq 4: cpus=0-1 flags=0x4 nice=0 active=1/1 refcnt=…\n    in-flight: 123:locks_work_fn [crashtest_locks]\n    inactive: locks_waiting_fn [crashtest_locks]"
        string said = await guest.MustAsync("dmesg -n 1; dmesg -c > /dev/null; echo t > /proc/sysrq-trigger; dmesg | grep -A 4 'workqueue lk_wq'", Limits.Guest);
        Match flight = InFlight().Match(said), waiting = Inactive().Match(said);
        Assert.True(flight.Success && waiting.Success, said);
        Workqueue queue = KernelView.Settled(() => Workqueues.Enumerate(view.Kernel, Limited)).Single(q => q.Name == "lk_wq");
        (WorkerPool pool, Worker worker) = KernelView.Settled(() => Workqueues.Pools(view.Kernel, Limited).SelectMany(p => p.Workers.Items.Select(w => (p, w))).Single(w => w.w.Current?.Queue == "lk_wq"));
        Assert.Equal(flight.Groups[1].Value, Tasks.ReadTask(view.Kernel, worker.Task).Pid.ToString(CultureInfo.InvariantCulture));
        Assert.Equal((flight.Groups[2].Value, "work"), (worker.Current!.Name?.Name, locks.NameOf(worker.Current.Address)));
        PoolWorkqueue share = queue.Pools.Items.Single(p => p.Pool == pool.Address && p.Active > 0);
        WorkItem inactive = Assert.Single(queue.Pools.Items.SelectMany(p => p.Inactive.Items));
        Assert.Equal((1, waiting.Groups[1].Value, "waiting"), (share.Active, inactive.Name?.Name, locks.NameOf(inactive.Address)));
        Assert.Equal("lk_wq", inactive.Queue);
        Assert.NotEqual(0UL, queue.Rescuer);
    }

    private static string Name(LinuxKernel kernel, WorkerPool pool, Worker worker)
    {
        int id = kernel.ReadS32(worker.Address, "worker.id");
        return pool.Cpu >= 0 ? $"kworker/{pool.Cpu}:{id}{(pool.Nice < 0 ? "H" : "")}" : $"kworker/u{pool.Id}:{id}";
    }

    private static async Task<string[]> WorkersAsync(Guest guest) =>
        [.. (await guest.MustLinesAsync("cat /proc/[0-9]*/comm")).Select(c => Worker().Match(c)).Where(m => m.Success).Select(m => m.Value)];

    [GeneratedRegex(@"^kworker/(?:\d+:\d+H?|u\d+:\d+)")]
    private static partial Regex Worker();

    [GeneratedRegex(@"in-flight: (\d+):(\w+)")]
    private static partial Regex InFlight();

    [GeneratedRegex(@"inactive: (\w+)")]
    private static partial Regex Inactive();
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class WorkqueueTests61(Guest61 guest) : WorkqueueTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class WorkqueueTests612(Guest612 guest) : WorkqueueTests(guest);
