using System.Text.RegularExpressions;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>The unwinder against the kernel's own: the stack of every waiting task, as /proc/PID/stack shows it.</summary>
public abstract partial class StackTests(SharedGuest shared)
{
    private const int Rounds = 10;

    [Fact]
    public async Task The_stack_of_every_waiting_task_is_what_the_kernel_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] wrong = [];
        (_, Dictionary<int, string> switches) = await TheirsAsync(guest);
        for (int round = 0; round < Rounds; round++)
        {
            Dictionary<int, string> ours = KernelView.Settled(() => Ours(view));
            (Dictionary<int, string> theirs, Dictionary<int, string> after) = await TheirsAsync(guest);

            // Who has not been switched to since before our look has slept all the while.
            int[] still = [.. theirs.Where(t => t.Value.Length > 0 && ours.ContainsKey(t.Key) && after.TryGetValue(t.Key, out string? now) && switches.GetValueOrDefault(t.Key) == now).Select(t => t.Key)];
            wrong = [.. still.Where(pid => ours[pid] != theirs[pid]).Select(pid => $"{pid}:\n{theirs[pid]}ours:\n{ours[pid]}")];
            if (wrong.Length == 0)
            {
                Assert.True(still.Length > 30, $"{still.Length} stacks");
                return;
            }

            switches = after;
        }

        Assert.Fail($"{wrong.Length} still different after {Rounds} rounds:\n{string.Join('\n', wrong.Take(5))}");
    }

    [Fact]
    public async Task The_running_vcpus_have_plausible_stacks()
    {
        Guest guest = await shared.AliveAsync();
        // JSON: [{"vcpu":0,"pid":…,"user_mode":false,"frames":[{"address":"0x…","location":"…","reliable":true},…]},…]
        string json = await PanaceaCommand.MustAsync("inspect", $"qmp:{guest.QmpPath}", "bt", "--json");
        using var rows = System.Text.Json.JsonDocument.Parse(json);
        Assert.Equal(2, rows.RootElement.GetArrayLength());
        foreach (System.Text.Json.JsonElement row in rows.RootElement.EnumerateArray().Where(r => !r.GetProperty("user_mode").GetBoolean()))
        {
            string[] reliable = [.. row.GetProperty("frames").EnumerateArray().Where(f => f.GetProperty("reliable").GetBoolean()).Select(f => f.GetProperty("location").GetString()!)];
            Assert.NotEmpty(reliable);
            // Wherever a CPU is, its outermost frame is one of the few ways into the kernel; or the first CPU's idle loop, whose callers are initialisation code that has been freed.
            Assert.Matches("^(entry_|asm_|arch_call_rest_init|rest_init|start_kernel|secondary_startup_64|ret_from_fork|common_startup_64|x86_64_start_|syscall_return|early_setup_idt|native_iret|irqentry_|error_)", reliable[^1]);
        }

        await guest.AssertLivesAsync();
    }

    private static Dictionary<int, string> Ours(KernelView view)
    {
        var backtraces = new TaskBacktraces(view.Kernel, TargetLimits.Default);
        var all = new Dictionary<int, string>();
        foreach (LinuxTask task in Tasks.Enumerate(view.Kernel, TargetLimits.Default).Where(t => t.Pid != 0 && t.State is not ('Z' or 'X') && !TaskDetails.IsRunning(view.Kernel, t.Address)))
        {
            IEnumerable<StackFrame> frames = backtraces.Of(task.Address).Trace.Frames.Where(f => f.Reliability == FrameReliability.Exact && !backtraces.IsScheduler(f.Ip));
            all[task.Pid] = string.Concat(frames.Select(f => (backtraces.Locate(f)?.ToString() ?? $"0x{f.Ip:x}") + "\n"));
        }

        return all;
    }

    /// <summary>The stacks, and after them how often each task has been switched to and from.</summary>
    private static async Task<(Dictionary<int, string> Stacks, Dictionary<int, string> Switches)> TheirsAsync(Guest guest)
    {
        var stacks = new Dictionary<int, string>();
        var switches = new Dictionary<int, string>();
        int pid = 0;
        foreach (string line in await guest.MustLinesAsync("head -v -n 999 /proc/[0-9]*/task/[0-9]*/stack; grep -H ctxt_switches /proc/[0-9]*/task/[0-9]*/status; true"))
        {
            if (Heading().Match(line) is { Success: true } heading)
                stacks[pid = int.Parse(heading.Groups[1].ValueSpan, System.Globalization.CultureInfo.InvariantCulture)] = "";
            else if (line.StartsWith("[<0>] ", StringComparison.Ordinal))
                stacks[pid] += line[6..] + "\n";
            else if (Counted().Match(line) is { Success: true } counted && int.Parse(counted.Groups[1].ValueSpan, System.Globalization.CultureInfo.InvariantCulture) is var task)
                switches[task] = switches.GetValueOrDefault(task) + counted.Groups[2].Value;
        }

        Assert.NotEmpty(switches);
        return (stacks, switches);
    }

    [GeneratedRegex("^==> /proc/[0-9]+/task/([0-9]+)/stack <==$")]
    private static partial Regex Heading();

    [GeneratedRegex("^/proc/[0-9]+/task/([0-9]+)/status:(.*)$")]
    private static partial Regex Counted();
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class StackTests61(Guest61 guest) : StackTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class StackTests612(Guest612 guest) : StackTests(guest);
