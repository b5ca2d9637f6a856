using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>The scheduler against /proc. What only grows is read between two looks at /proc and has to lie between them.</summary>
public abstract class SchedulerTests(SharedGuest shared)
{
    private const int Rounds = 20;
    private static readonly TargetLimits Limited = TargetLimits.Default;

    /// <summary>Tasks that do nothing but run are always in exactly one run queue, that of their CPU; every policy's is another structure.</summary>
    [Fact]
    public async Task Every_busy_task_is_in_the_queue_of_its_cpu()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        using KernelView view = KernelView.Open(guest);

        // Several of each kind on CPU 1, so that some always wait; the agent has CPU 0. The real-time ones are the module's.
        string[] started = (await guest.MustAsync("""
            busy() { exec > /dev/null 2>&1; while :; do :; done; }
            busy & a=$!; busy & b=$!; busy & c=$!; renice -n 5 -p $c > /dev/null; taskset -p 2 $a > /dev/null; taskset -p 2 $b > /dev/null; taskset -p 2 $c > /dev/null
            echo $a $b $c
            """.ReplaceLineEndings("\n"), Limits.Guest)).Split('\n')[^1].Split(' ');
        try
        {
            await guest.MustAsync("echo busy-realtime > /dev/crashtest_locks", Limits.Guest);
            string[] urgent = await guest.MustLinesAsync("for n in lk_fifo lk_low; do grep -l \"($n)\" /proc/[0-9]*/stat | cut -d / -f 3; done");
            int[] pids = [.. started.Concat(urgent).Select(p => int.Parse(p, CultureInfo.InvariantCulture))];
            string wrong = "";
            for (int round = 0; round < Rounds; round++)
            {
                (Dictionary<int, LinuxTask> tasks, List<RunQueue> queues) = KernelView.Settled(() =>
                {
                    List<RunQueue> read = RunQueues.ReadAll(view.Kernel, Limited);
                    return read.All(q => q.Tasks.IsWhole) ? (Tasks.Enumerate(view.Kernel, Limited).Where(t => t.Pid != 0).ToDictionary(t => t.Pid), read) : throw new KernelShapeException("a queue moved");
                });
                wrong = Check(pids, tasks, queues);
                if (wrong.Length == 0)
                    return;
            }

            Assert.Fail($"still different after {Rounds} rounds: {wrong}");
        }
        finally
        {
            await guest.MustAsync($"kill -9 {string.Join(' ', started)}; true", Limits.Guest);
        }
    }

    [Fact]
    public async Task Every_number_of_every_task_is_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        Dictionary<int, string>? wrong = null;
        Dictionary<int, string[]> before = await StatsAsync(guest);
        for (int round = 0; round < Rounds && wrong is not { Count: 0 }; round++)
        {
            Dictionary<int, TaskDetails> ours = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, Limited).Where(t => t.Pid != 0).ToDictionary(t => t.Pid, t => TaskDetails.Read(view.Kernel, t)));
            Dictionary<int, string[]> after = await StatsAsync(guest);
            int[] both = [.. before.Keys.Where(pid => after.ContainsKey(pid) && ours.ContainsKey(pid) && before[pid][19] == after[pid][19])];
            Assert.True(both.Length > 40, $"{both.Length} threads");
            var now = both.Select(pid => (pid, Differs(before[pid], ours[pid], after[pid]))).Where(d => d.Item2.Length > 0).ToDictionary(d => d.pid, d => d.Item2);
            wrong = wrong is null ? now : wrong.Where(w => now.ContainsKey(w.Key)).ToDictionary();
            before = after;
        }

        Assert.True(wrong is { Count: 0 }, string.Join('\n', wrong!.Select(w => $"{w.Key}: {w.Value}")));
    }

    [Fact]
    public async Task Clock_load_and_counters_are_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        for (int round = 0; ; round++)
        {
            string load = await LoadAsync(guest);
            Dictionary<string, ulong> before = await CountersAsync(guest);
            KernelClock clock = KernelView.Settled(() => KernelClock.Read(view.Kernel));
            var ours = new Dictionary<string, ulong>
            {
                ["jiffies"] = clock.Jiffies, ["uptime"] = clock.BoottimeNs!.Value / 10_000_000, ["switches"] = (ulong)RunQueues.ReadAll(view.Kernel, Limited).Sum(q => (long)q.Switches),
            };
            IReadOnlyList<string> names = CpuStates.SoftirqNames(view.Kernel);
            foreach (CpuState cpu in KernelView.Settled(() => CpuStates.ReadAll(view.Kernel)))
            {
                ours[$"LOC {cpu.Cpu}"] = cpu.TimerInterrupts!.Value;
                for (int i = 0; i < cpu.Softirqs.Count; i++)
                    ours[$"{names[i]} {cpu.Cpu}"] = cpu.Softirqs[i];
            }

            Dictionary<string, ulong> after = await CountersAsync(guest);
            Assert.Equal(before.Keys.Order(), ours.Keys.Order());

            // The clock is as of the last tick, and an idle guest ticks once in a while only.
            string[] wrong = [.. ours.Where(o => o.Value + (o.Key is "uptime" ? 200UL : o.Key is "jiffies" ? 500UL : 0) < before[o.Key] || o.Value > after[o.Key]).Select(o => $"{o.Key}: {before[o.Key]}, ours {o.Value}, {after[o.Key]}")];
            Assert.Equal(250, clock.Hz);
            string[] shown = [.. clock.LoadAverage.Select(l => (Math.Floor((l + 0.005) * 100) / 100).ToString("0.00", CultureInfo.InvariantCulture))];
            if (wrong.Length == 0 && (load == string.Join(' ', shown) || await LoadAsync(guest) == string.Join(' ', shown)))
                return;
            Assert.True(round < Rounds, $"still different: {string.Join("; ", wrong)}; load {load}, ours {string.Join(' ', shown)}");
        }
    }

    [Fact]
    public async Task Every_sleeping_task_waits_where_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] wrong = [];
        Dictionary<int, string> before = await WaitsAsync(guest);
        for (int round = 0; round < Rounds; round++)
        {
            Dictionary<int, string> ours = KernelView.Settled(() => OurWaits(view));
            Dictionary<int, string> after = await WaitsAsync(guest);
            var same = before.Where(b => after.GetValueOrDefault(b.Key) == b.Value && b.Value != "0" && ours.ContainsKey(b.Key)).ToList();
            wrong = [.. same.Where(s => ours[s.Key] != s.Value).Select(s => $"{s.Key}: {s.Value}, ours {ours[s.Key]}")];
            if (wrong.Length == 0)
            {
                Assert.True(same.Count > 30, $"{same.Count} tasks");
                return;
            }

            before = after;
        }

        Assert.Fail(string.Join('\n', wrong));
    }

    private static Dictionary<int, string> OurWaits(KernelView view)
    {
        var backtraces = new TaskBacktraces(view.Kernel, Limited);
        var all = new Dictionary<int, string>();
        foreach (LinuxTask task in Tasks.Enumerate(view.Kernel, Limited).Where(t => t.Pid != 0 && t.State is not ('Z' or 'X') && !TaskDetails.IsRunning(view.Kernel, t.Address)))
            all[task.Pid] = backtraces.WaitsIn(backtraces.Of(task.Address)) is { } frame ? backtraces.Locate(frame)?.Name ?? "?" : "-";
        return all;
    }

    private static string Check(int[] pids, Dictionary<int, LinuxTask> tasks, List<RunQueue> queues)
    {
        (string Class, int Pid)[] expected = [.. pids.Select((pid, i) => (i < 3 ? nameof(SchedulingClass.Fair) : nameof(SchedulingClass.RealTime), pid))];
        RunQueue busy = queues.First(q => q.Cpu == 1);
        Dictionary<ulong, LinuxTask> byAddress = tasks.Values.ToDictionary(t => t.Address);
        var there = busy.Tasks.Items.Where(q => byAddress.ContainsKey(q.Task)).Select(q => (q.Class.ToString(), byAddress[q.Task].Pid)).ToHashSet();
        if (expected.Where(e => !there.Contains(e)).ToArray() is { Length: > 0 } missing)
            return $"missing on CPU 1: {string.Join(", ", missing)}; there are {string.Join(", ", there)}";
        if (queues.Any(q => q.Cpu != 1 && q.Tasks.Items.Any(t => pids.Any(p => tasks[p].Address == t.Task))))
            return "one of CPU 1 is queued elsewhere";
        int ready = busy.Tasks.Items.Count(t => !t.IsDelayed);
        if (busy.Running < 5 || Math.Abs(ready - (int)busy.Running) > 1)
            return $"nr_running is {busy.Running}, {busy.Tasks.Items.Count} are there";
        if (busy.Tasks.Items.Count(t => t.IsCurrent) == 0 || !byAddress.ContainsKey(busy.Current))
            return $"the current task 0x{busy.Current:x} is not among them";

        // FIFO at 50 (sched_set_fifo) goes before FIFO at 1 (sched_set_fifo_low).
        ulong[] priorities = [.. busy.Tasks.Items.Where(t => t.Class == SchedulingClass.RealTime && pids.Contains(byAddress[t.Task].Pid)).Select(t => t.Key)];
        return priorities is [49, 98] ? "" : $"real-time priorities {string.Join(' ', priorities)}";
    }

    /// <summary>Fields of /proc/PID/stat behind the name, so that field n of proc(5) is at n − 3; behind them VmRSS in kB, 0 for kernel threads.</summary>
    private static async Task<Dictionary<int, string[]>> StatsAsync(Guest guest)
    {
        string[] lines = await guest.MustLinesAsync(
            "for t in /proc/[0-9]*/task/[0-9]*; do { IFS= read -r s < $t/stat; r=$(grep VmRSS $t/status); } 2> /dev/null; [ -n \"$s\" ] && echo \"$s ${r:-VmRSS: 0 kB}\"; s=; done; true");
        var all = new Dictionary<int, string[]>();
        foreach (string line in lines)
            all[int.Parse(line[..line.IndexOf(' ')], CultureInfo.InvariantCulture)] = line[(line.LastIndexOf(')') + 2)..].Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        return all;
    }

    private static string Differs(string[] before, TaskDetails ours, string[] after)
    {
        long Before(int field) => long.Parse(before[field - 3], CultureInfo.InvariantCulture);
        long After(int field) => long.Parse(after[field - 3], CultureInfo.InvariantCulture);
        var wrong = new List<string>();
        void Between(string what, long low, long mine, long high, long slack = 0)
        {
            if (mine < Math.Min(low, high) - slack || mine > Math.Max(low, high) + slack)
                wrong.Add($"{what} {low}, ours {mine}, {high}");
        }

        // USER_HZ is 100. The sum is what the scheduler measured, to a tick; the split is scaled.
        Between("utime+stime", Before(14) + Before(15), (long)(ours.RuntimeNs / 10_000_000), After(14) + After(15), 2);
        Between("priority", Before(18), ours.Priority - 100, After(18));
        Between("nice", Before(19), ours.Nice, After(19));
        Between("threads", Before(20), ours.Threads, After(20));
        Between("start", Before(22), (long)(ours.StartNs / 10_000_000), After(22));
        Between("processor", Before(39), ours.Cpu, After(39));
        Between("rt_priority", Before(40), ours.RealtimePriority, After(40));
        Between("policy", Before(41), (long)ours.Policy, After(41));

        // /proc may leave out what CPUs have not added up yet: a batch of 32 or twice the CPUs on each of two of them, for each of three counters.
        if (ours.Memory is { } memory)
        {
            Between("VmRSS", long.Parse(before[^2], CultureInfo.InvariantCulture) / 4, memory.ResidentPages, long.Parse(after[^2], CultureInfo.InvariantCulture) / 4, 3 * 2 * 32);
            Between("vsize", Before(23) / 4096, (long)memory.VirtualPages, After(23) / 4096);
        }

        return string.Join("; ", wrong);
    }

    private static async Task<string> LoadAsync(Guest guest) => string.Join(' ', (await guest.MustAsync("cat /proc/loadavg")).Split(' ').Take(3));

    private static async Task<Dictionary<string, ulong>> CountersAsync(Guest guest)
    {
        var all = new Dictionary<string, ulong>();
        foreach (string line in await guest.MustLinesAsync("grep -m 1 '^jiffies:' /proc/timer_list; cat /proc/uptime; grep ctxt /proc/stat; grep LOC: /proc/interrupts; cat /proc/softirqs"))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words[0] == "jiffies:")
                all["jiffies"] = ulong.Parse(words[1], CultureInfo.InvariantCulture);
            else if (words[0] == "ctxt")
                all["switches"] = ulong.Parse(words[1], CultureInfo.InvariantCulture);
            else if (words.Length == 2 && words[0].Contains('.'))
                all["uptime"] = (ulong)(decimal.Parse(words[0], CultureInfo.InvariantCulture) * 100);
            else if (words[0].EndsWith(':'))
            {
                for (int cpu = 0; cpu < 2; cpu++)
                    all[$"{words[0].TrimEnd(':')} {cpu}"] = ulong.Parse(words[1 + cpu], CultureInfo.InvariantCulture);
            }
        }

        return all;
    }

    private static async Task<Dictionary<int, string>> WaitsAsync(Guest guest)
    {
        string[] lines = await guest.MustLinesAsync("for t in /proc/[0-9]*/task/[0-9]*; do { IFS= read -r w < $t/wchan; } 2> /dev/null; echo \"${t##*/} $w\"; w=; done; true");
        return lines.Select(l => l.Split(' ')).Where(w => w is [_, { Length: > 0 }]).ToDictionary(w => int.Parse(w[0], CultureInfo.InvariantCulture), w => w[1]);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class SchedulerTests61(Guest61 guest) : SchedulerTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class SchedulerTests612(Guest612 guest) : SchedulerTests(guest);
