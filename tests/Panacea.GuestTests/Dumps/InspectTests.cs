using System.Globalization;
using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Dumps;

/// <summary><c>panacea inspect</c> as a user runs it, of a living guest and of a dump of it, against what the guest says of itself.</summary>
public abstract class InspectTests(SharedGuest shared, GuestDump dumps)
{
    /// <summary>Every subcommand, with a word that its output has in any guest.</summary>
    private static readonly (string Command, string Says)[] All =
    [
        ("ps", "kthreadd"), ("task 1", "state"), ("files 1", "CWD: /"), ("bt", "PID: "), ("bt --all", "schedule"), ("bt 2", "kthreadd+0x"), ("dmesg", "Linux version"), ("modules", "virtio"),
        ("vmcoreinfo", "OSRELEASE="), ("symbol schedule", "schedule"), ("type task_struct", "struct list_head"), ("read init_task 12", "init_stack"), ("read init_task --as task_struct", "comm = \"swapper/0\""),
        ("read linux_banner --as string", "Linux version"), ("read runqueues:1 --as rq", "nr_running = "), ("read 0x100000 32 --as u8 --physical", "0000000000100000:"), ("disasm schedule", "ret"),
        ("disasm schedule+0 3", "<+0>"), ("runq", "RUNQUEUE:"), ("locks", "o"), ("workqueues --all", "events"), ("timers", "TIMER_LIST"), ("memory", "TOTAL MEM"), ("slab", "task_struct"),
        ("mounts", "proc"), ("net", "lo"), ("dev", "CHRDEV"), ("sys", "LOAD AVERAGE:"),
    ];

    private string Live => $"qmp:{shared.Guest.QmpPath}";

    [Fact]
    public async Task Every_command_answers_live_and_from_a_dump()
    {
        Guest guest = await shared.AliveAsync();
        foreach (string source in (string[])[Live, dumps.Elf])
        {
            // One process for all of them: opening a source is most of the time that a command takes.
            (int code, string output, string errors) = await ScriptAsync(source, All.Select(c => c.Command));
            Assert.Equal((0, ""), (code, errors));
            Assert.All(All, c => Assert.Contains(c.Says, output, StringComparison.Ordinal));
            (code, output, errors) = await ScriptAsync(source, All.Select(c => $"{c.Command} --json"));
            Assert.Equal((0, ""), (code, errors));
            Assert.Equal(All.Length, Documents(output));
        }

        Assert.Contains("kthreadd", await PanaceaCommand.MustAsync("inspect", Live, "ps"), StringComparison.Ordinal);
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task Facts_of_both_sources_are_those_of_proc()
    {
        Guest guest = await shared.AliveAsync();
        string[] modules = [.. (await guest.MustLinesAsync("cut -d ' ' -f 1 /proc/modules")).Order(StringComparer.Ordinal)];
        string[] mounts = await guest.MustLinesAsync("cut -d ' ' -f 2 /proc/1/mounts");
        string[] files = await guest.MustLinesAsync("for f in /proc/1/fd/*; do readlink $f; done");
        string address = await guest.MustAsync("ip -4 -o addr show | sed -n 's/.* inet \\([0-9./]*\\) .*/\\1/p' | head -n 1");
        long total = long.Parse((await guest.MustAsync("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")), CultureInfo.InvariantCulture);
        string pids = await guest.MustAsync("grep -L ^kworker /proc/[0-9]*/comm | cut -d / -f 3 | sort -n | head -n 20 | tr '\\n' ' '");
        foreach (string source in (string[])[Live, dumps.Elf])
        {
            Assert.Equal(modules, (await ColumnAsync(source, "modules", "name")).Order(StringComparer.Ordinal));
            Assert.Equal(mounts, await ColumnAsync(source, "mounts", "dirname"));
            using (JsonDocument json = await JsonAsync(source, "files 1"))
                Assert.Equal(files, json.RootElement.GetProperty("files").EnumerateArray().Select(f => f.GetProperty("path").GetString()));
            using (JsonDocument json = await JsonAsync(source, "memory"))
                Assert.Equal(total, json.RootElement.GetProperty("lines")[0].GetProperty("pages").GetInt64() * 4);
            using (JsonDocument json = await JsonAsync(source, "net"))
                Assert.Contains(address, json.RootElement.GetProperty("devices").EnumerateArray().SelectMany(d => d.GetProperty("addresses").EnumerateArray()).Select(a => a.GetString()));
            using (JsonDocument json = await JsonAsync(source, "ps"))
            {
                // The first twenty are kernel threads and stay, but for workers, which come and go.
                IEnumerable<int> ours = json.RootElement.EnumerateArray()
                    .Where(t => !t.GetProperty("comm").GetString()!.StartsWith("kworker", StringComparison.Ordinal)).Select(t => t.GetProperty("pid").GetInt32()).Where(p => p != 0).Take(20);
                Assert.Equal(pids.Trim(), string.Join(' ', ours));
                Assert.Contains(json.RootElement.EnumerateArray(), t => t.GetProperty("comm").GetString() == "redis-server" && t.GetProperty("rss_kib").GetInt64() > 1000);
            }
        }
    }

    [Fact]
    public async Task A_dump_says_what_the_guest_said_when_it_was_made()
    {
        using JsonDocument ps = await JsonAsync(dumps.Elf, "ps");
        Assert.Equal(
            dumps.Tasks.OrderBy(t => t.Address).Select(t => (t.Address, t.Pid, t.State.ToString(), t.Comm)),
            ps.RootElement.EnumerateArray().Select(t => (
                Address: Convert.ToUInt64(t.GetProperty("address").GetString(), 16), t.GetProperty("pid").GetInt32(), t.GetProperty("state").GetString()!, t.GetProperty("comm").GetString()!))
                .Where(t => dumps.Tasks.Any(d => d.Address == t.Address)).OrderBy(t => t.Address));
        using JsonDocument info = await JsonAsync(dumps.Elf, "vmcoreinfo");
        Assert.Equal(dumps.Meta.Release, info.RootElement.GetProperty("values").GetProperty("OSRELEASE").GetString());

        // Every task on a CPU has that CPU's stack, every other one its own.
        using JsonDocument all = await JsonAsync(dumps.Elf, "bt --all");
        Assert.Equal(ps.RootElement.GetArrayLength(), all.RootElement.GetArrayLength());
        Assert.Equal(2, all.RootElement.EnumerateArray().Count(t => t.GetProperty("vcpu").ValueKind == JsonValueKind.Number));
    }

    [Fact]
    public async Task A_deadlock_is_shown_with_who_holds_what()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await Understanding.LockModule.LoadAsync(guest);
        await guest.MustAsync("echo deadlock-abba-mutex > /dev/crashtest_locks");
        await guest.MustAsync("until [ $(cat /proc/[0-9]*/stat 2> /dev/null | grep -c '(lk_[ab]) D') = 2 ]; do sleep 0.05; done", Limits.Guest);
        string said = await PanaceaCommand.MustAsync("inspect", Live, "locks");
        Assert.StartsWith("DEADLOCK\n", said, StringComparison.Ordinal);
        Assert.Matches("\"lk_a\" \\(task [0-9a-f]{16}\\)\n    waits for mutex [0-9a-f]{16} locks_mutex_b \\[crashtest_locks\\] in [a-z_.]*mutex_lock[a-z_.0-9]*, held by PID [0-9]+ \"lk_b\"", said);
        string pid = await guest.MustAsync("grep -l '(lk_a)' /proc/[0-9]*/stat | cut -d / -f 3");
        Assert.Contains("mutex_lock", await PanaceaCommand.MustAsync("inspect", Live, "bt", pid), StringComparison.Ordinal);
        Assert.Contains("UN (", await PanaceaCommand.MustAsync("inspect", Live, "task", pid), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_line_that_fails_does_not_end_a_script()
    {
        foreach (string source in (string[])[Live, dumps.Elf])
        {
            (int code, string output, string errors) = await ScriptAsync(source, ["symbol no_such_symbol", "bt", "mounts"]);
            Assert.Equal(5, code);
            Assert.Contains("no symbol 'no_such_symbol'", errors, StringComparison.Ordinal);
            Assert.Contains("COMMAND: ", output, StringComparison.Ordinal);
            Assert.Contains("MOUNT ", output, StringComparison.Ordinal);
        }
    }

    private static async Task<JsonDocument> JsonAsync(string source, string command) =>
        JsonDocument.Parse(await PanaceaCommand.MustAsync(["inspect", source, .. command.Split(' '), "--json"]));

    private static async Task<(int Code, string Output, string Errors)> ScriptAsync(string source, IEnumerable<string> lines)
    {
        using System.Diagnostics.Process script = PanaceaCommand.Start("inspect", source);
        Task<string> errors = script.StandardError.ReadToEndAsync(), output = script.StandardOutput.ReadToEndAsync();
        await script.StandardInput.WriteAsync(string.Join('\n', lines) + "\nquit\n");
        script.StandardInput.Close();
        await script.WaitForExitAsync().WaitAsync(Limits.Event);
        return (script.ExitCode, await output, await errors);
    }

    /// <summary>JSON documents that stand behind each other; throws where one is none.</summary>
    private static int Documents(string output)
    {
        var reader = new Utf8JsonReader(System.Text.Encoding.UTF8.GetBytes(output), new JsonReaderOptions { AllowMultipleValues = true });
        int count = 0;
        while (reader.Read())
        {
            count++;
            reader.Skip();
        }

        return count;
    }

    private static async Task<string[]> ColumnAsync(string source, string command, string member)
    {
        using JsonDocument json = await JsonAsync(source, command);
        return [.. json.RootElement.EnumerateArray().Select(r => r.GetProperty(member).GetString()!)];
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class InspectTests61(Guest61 guest, GuestDump61 dumps) : InspectTests(guest, dumps), IClassFixture<GuestDump61>;

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class InspectTests612(Guest612 guest, GuestDump612 dumps) : InspectTests(guest, dumps), IClassFixture<GuestDump612>;
