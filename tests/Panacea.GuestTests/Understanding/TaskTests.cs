using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Tasks against /proc. The guest lives meanwhile, so ours are read between two looks at /proc, and again where something moved.</summary>
public abstract class TaskTests(SharedGuest shared)
{
    private const int Rounds = 20;

    // fields of /proc/PID/stat (proc(5)): pid (comm) state ppid … starttime is the 22nd.
    private sealed record Stat(int Pid, int Tgid, int Parent, char State, string Comm, string StartTime)
    {
        public Stat InAnyState() => this with { State = '*' };
    }

    [Fact]
    public async Task Every_thread_is_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        Dictionary<int, string>? wrong = null;
        Dictionary<int, Stat> before = await StatsAsync(guest);
        for (int round = 0; round < Rounds && wrong is not { Count: 0 }; round++)
        {
            List<LinuxTask> ours = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default));
            Assert.True(ours.Count > 40, $"{ours.Count} threads");
            Assert.Contains(ours, t => t.Comm == "redis-server");
            Assert.Contains(ours, t => t.Pid != t.Tgid);
            Dictionary<int, Stat> after = await StatsAsync(guest);
            Dictionary<int, string> now = Compare(before, ours, after);
            // One that was right once is right: what differs round after round is ours to explain.
            wrong = wrong is null ? now : wrong.Where(w => now.ContainsKey(w.Key)).ToDictionary();
            before = after;
        }

        Assert.True(wrong is { Count: 0 }, $"still different after {Rounds} rounds:\n{string.Join('\n', wrong!.Values)}");
    }

    [Fact]
    public async Task Every_command_line_is_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] wrong = [];
        for (int round = 0; round < Rounds; round++)
        {
            Dictionary<int, string> theirs = (await guest.MustLinesAsync("for p in /proc/[0-9]*; do echo \"${p#/proc/}|$(tr '\\0' ' ' < $p/cmdline)\"; done 2> /dev/null"))
                .Select(l => l.Split('|', 2)).ToDictionary(p => int.Parse(p[0], CultureInfo.InvariantCulture), p => p[1].TrimEnd(' '));
            Dictionary<int, LinuxTask> ours = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).Where(t => t.Pid == t.Tgid && t.Pid != 0).ToDictionary(t => t.Pid);
            // The shell that prints them is gone by now, and so are its children.
            var both = theirs.Where(t => ours.ContainsKey(t.Key)).ToList();
            wrong = [.. both.Select(t => (t.Key, Theirs: t.Value, Ours: CommandLine(view.Kernel, ours[t.Key]))).Where(t => t.Theirs != t.Ours).Select(t => $"{t.Key}: '{t.Theirs}', ours '{t.Ours}'")];
            if (wrong.Length == 0)
            {
                Assert.Contains(both, t => t.Value.StartsWith("redis-server ", StringComparison.Ordinal));
                Assert.Contains(both, t => t.Value == "/bin/agent 7000");
                Assert.Contains(both, t => t.Value.Length == 0);
                return;
            }
        }

        Assert.Fail($"still different after {Rounds} rounds:\n{string.Join('\n', wrong)}");
    }

    private static string CommandLine(LinuxKernel kernel, LinuxTask task) =>
        Tasks.TryReadCommandLine(kernel, task, 4096, out string line, out string why) ? line.TrimEnd(' ') : task.IsKernelThread ? "" : $"({why})";

    private static async Task<Dictionary<int, Stat>> StatsAsync(Guest guest)
    {
        // A thread that ends between the listing and the reading leaves an empty line out.
        string[] lines = await guest.MustLinesAsync("for t in /proc/[0-9]*/task/[0-9]*; do { IFS= read -r s < $t/stat; } 2> /dev/null && echo \"$t $s\"; done; true");
        return lines.Select(Parse).ToDictionary(s => s.Pid);
    }

    private static Stat Parse(string line)
    {
        // "/proc/1/task/1 1 (init) S 0 …"
        int tgid = int.Parse(line.Split('/')[2], CultureInfo.InvariantCulture);
        int open = line.IndexOf('(', StringComparison.Ordinal), close = line.LastIndexOf(')');
        int pid = int.Parse(line[..open].Split(' ')[1], CultureInfo.InvariantCulture);
        string[] rest = line[(close + 2)..].Split(' ');
        return new Stat(pid, tgid, int.Parse(rest[1], CultureInfo.InvariantCulture), rest[0][0], line[(open + 1)..close], rest[19]);
    }

    private static Dictionary<int, string> Compare(Dictionary<int, Stat> before, List<LinuxTask> ours, Dictionary<int, Stat> after)
    {
        var wrong = new Dictionary<int, string>();
        Dictionary<int, LinuxTask> byPid = ours.Where(t => t.Pid != 0).ToDictionary(t => t.Pid);
        foreach (Stat then in before.Values)
        {
            // What was there before and after was there in between.
            if (!after.TryGetValue(then.Pid, out Stat? now) || now.StartTime != then.StartTime)
                continue;
            if (!byPid.TryGetValue(then.Pid, out LinuxTask? task))
            {
                wrong[then.Pid] = $"{then} is missing";
                continue;
            }

            var mine = new Stat(task.Pid, task.Tgid, task.Parent, task.State, IsShownAs(task, now.Comm) ? now.Comm : task.Comm, now.StartTime);
            if ((mine.InAnyState() != then.InAnyState() && mine.InAnyState() != now.InAnyState()) || (mine.State != then.State && mine.State != now.State))
                wrong[then.Pid] = $"{now} (before: {then.State}), ours {mine}";
        }

        foreach (LinuxTask task in ours.Where(t => t.Pid != 0 && !before.ContainsKey(t.Pid) && !after.ContainsKey(t.Pid)))
            wrong[task.Pid] = $"ours alone: {task}";
        return wrong;
    }

    /// <summary>/proc shows a kernel thread by its full name, of which comm holds the first 15 bytes, and a kworker with what it works for (fs/proc/array.c, proc_task_name).</summary>
    private static bool IsShownAs(LinuxTask task, string name) => task.IsKernelThread && name.StartsWith(task.Comm, StringComparison.Ordinal)
        && (task.Comm.Length == 15 || ((task.Flags & Tasks.PfWqWorker) != 0 && name[task.Comm.Length..] is ['-' or '+', ..]));
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class TaskTests61(Guest61 guest) : TaskTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class TaskTests612(Guest612 guest) : TaskTests(guest);
