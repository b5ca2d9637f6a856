using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Timers against /proc/timer_list, and those of the lab's module.</summary>
public abstract partial class TimerTests(SharedGuest shared)
{
    private const int Rounds = 20;
    private static readonly TargetLimits Limited = TargetLimits.Default;

    [Fact]
    public async Task High_resolution_timers_are_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);

        // Some that stay: nanosleep of an hour, in tasks whose name is known.
        string[] pids = (await guest.MustAsync("for i in 1 2 3 4 5; do sleep 3600 > /dev/null 2>&1 & echo $!; done")).Split('\n');
        try
        {
            string wrong = "";
            for (int round = 0; round < Rounds; round++)
            {
                (HashSet<string> before, Dictionary<int, ulong> eventsBefore) = await TheirsAsync(guest);
                List<HighResolutionTimers> ours = KernelView.Settled(() => Timers.HighResolution(view.Kernel, Limited) is var read && read.All(c => c.Timers.IsWhole) ? read : throw new KernelShapeException("a tree moved"));
                (HashSet<string> after, Dictionary<int, ulong> eventsAfter) = await TheirsAsync(guest);
                HashSet<string> mine = [.. ours.SelectMany(c => c.Timers.Items).Select(t => $"{t.Cpu} {t.Clock} {t.Name?.Name} {t.SoftExpiresNs}-{t.ExpiresNs}")];
                string[] stayed = [.. before.Intersect(after)];
                Assert.True(stayed.Length >= 5, $"{stayed.Length} timers stayed");
                wrong = string.Join('\n', stayed.Except(mine));
                bool counted = ours.All(c => c.Events >= eventsBefore[c.Cpu] && c.Events <= eventsAfter[c.Cpu] && c.IsHighResolution);
                HashSet<int> sleepers = [.. ours.SelectMany(c => c.Timers.Items).Where(t => t.Task != 0).Select(t => Tasks.ReadTask(view.Kernel, t.Task)).Where(t => t.Comm == "sleep").Select(t => t.Pid)];
                if (wrong.Length == 0 && counted && pids.All(p => sleepers.Contains(int.Parse(p, CultureInfo.InvariantCulture))))
                    return;
            }

            Assert.Fail($"still different after {Rounds} rounds: {wrong}");
        }
        finally
        {
            await guest.MustAsync($"kill {string.Join(' ', pids)}");
        }
    }

    [Fact]
    public async Task Timers_of_the_wheels_are_where_their_flags_say_and_the_modules_are_there()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        await guest.MustAsync("echo hold-work > /dev/crashtest_locks");
        await locks.RefreshAsync();
        using KernelView view = KernelView.Open(guest);
        List<TimerWheel> wheels = KernelView.Settled(() => Timers.Wheels(view.Kernel, Limited) is var read && read.All(w => w.Timers.IsWhole) ? read : throw new KernelShapeException("a bucket moved"));
        KernelTimer[] all = [.. wheels.SelectMany(w => w.Timers.Items)];
        Assert.True(all.Length > 5, $"{all.Length} timers");

        // TIMER_CPUMASK and TIMER_ARRAYMASK (include/linux/timer.h): what the kernel itself wrote into each timer of its place.
        Assert.All(all, t => Assert.Equal((t.Cpu, t.Bucket), ((int)(t.Flags & 0x3ffff), (int)(t.Flags >> 22))));
        Assert.All(all, t => Assert.True(view.Image.IsText(t.Function), $"{t}"));
        Assert.All(wheels.Where(w => w.Timers.Items.Count > 0), w => Assert.InRange(w.Clock, 1UL << 32 >> 1, w.Timers.Items.Max(t => t.Expires)));
        KernelTimer timer = Assert.Single(all, t => locks.NameOf(t.Address) == "timer");
        Assert.Equal(("locks_timer_fn", locks.Expires), (timer.Name?.Name, timer.Expires));
        KernelTimer work = Assert.Single(all, t => t.Work?.Name == "locks_delayed_fn");
        Assert.Equal("delayed_work_timer_fn", work.Name?.Name);
        Assert.InRange(timer.Expires - work.Expires, 1000u * 250 - 100, 1000u * 250 + 500);
        Assert.Contains(all, t => t.Task != 0 && t.Name?.Name == "process_timeout" && Tasks.ReadTask(view.Kernel, t.Task).Comm.Length > 0);
    }

    private static async Task<(HashSet<string> Timers, Dictionary<int, ulong> Events)> TheirsAsync(Guest guest)
    {
        var timers = new HashSet<string>();
        var events = new Dictionary<int, ulong>();
        int cpu = -1;
        string clock = "", name = "";
        foreach (string line in await guest.MustLinesAsync("cat /proc/timer_list"))
        {
            if (line.StartsWith("cpu: ", StringComparison.Ordinal))
                cpu = int.Parse(line.AsSpan(5), CultureInfo.InvariantCulture);
            else if (line.StartsWith(" clock ", StringComparison.Ordinal))
                clock = line[7..].TrimEnd(':');
            else if (Timer().Match(line) is { Success: true } timer)
                name = timer.Groups[1].Value;
            else if (Expiry().Match(line) is { Success: true } expiry)
                timers.Add($"{cpu} {clock} {name} {expiry.Groups[1].Value}");
            else if (line.StartsWith("  .nr_events", StringComparison.Ordinal))
                events[cpu] = ulong.Parse(line.AsSpan(line.IndexOf(':') + 1), CultureInfo.InvariantCulture);
        }

        return (timers, events);
    }

    [GeneratedRegex(@"^ #\d+: <[0-9a-f]+>, (\S+), S:")]
    private static partial Regex Timer();

    [GeneratedRegex(@"^ # expires at (\d+-\d+) nsecs")]
    private static partial Regex Expiry();
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class TimerTests61(Guest61 guest) : TimerTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class TimerTests612(Guest612 guest) : TimerTests(guest);
