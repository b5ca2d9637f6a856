using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Panacea.GuestTests.Harness;

namespace Panacea.GuestTests.Oracles;

/// <summary><c>panacea inspect</c> of a dead machine's dump, without debug files, against crash and drgn, with them, and against what the machine wrote when it died. docs/oracles.md says what
/// is known to differ; nothing else does.</summary>
public abstract partial class OracleTests(DeadDump dump)
{
    /// <summary>Text of initialisation, freed long ago: debug files still name its functions, the memory of the guest no longer has them.</summary>
    private const string InitFrames = "^(arch_call_rest_init|rest_init|start_kernel|x86_64_start_reservations|x86_64_start_kernel|secondary_startup_64|common_startup_64)";

    /// <summary>State letters of crash, of proc(5).</summary>
    private static readonly Dictionary<string, string> States = new() { ["RU"] = "R", ["IN"] = "S", ["UN"] = "D", ["ID"] = "I", ["ST"] = "T", ["TR"] = "t", ["ZO"] = "Z", ["DE"] = "X", ["PA"] = "P" };

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Tasks_are_those_of_crash()
    {
        Dictionary<string, CrashTask> theirs = CrashProgram.Tasks((await dump.Crash)["ps"]);
        JsonElement[] ours = [.. (await dump.OursAsync("ps")).RootElement.EnumerateArray()];
        Assert.True(theirs.Count > 60, $"{theirs.Count} tasks");
        Assert.Equal(theirs.Keys.Order(), ours.Select(t => Hex(t, "address")).Order());
        foreach (JsonElement task in ours)
        {
            CrashTask their = theirs[Hex(task, "address")];
            int pid = task.GetProperty("pid").GetInt32(), rss = task.GetProperty("rss_kib").GetInt32();
            Assert.Equal(
                their with { Ppid = pid == 0 ? 0 : their.Ppid, State = States[their.State] },
                new CrashTask(
                    task.GetProperty("active").GetBoolean(), pid, pid == 0 ? 0 : task.GetProperty("ppid").GetInt32(), task.GetProperty("cpu").GetInt32(), task.GetProperty("state").GetString()!,
                    task.GetProperty("vsz_kib").GetInt32(), rss, task.GetProperty("comm").GetString()!));
        }
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Tasks_are_those_of_drgn()
    {
        string[][] theirs = [.. (await dump.Drgn)["task"]];
        Assert.Equal(
            theirs.Select(t => string.Join(' ', t)).Order(StringComparer.Ordinal),
            (await dump.OursAsync("ps")).RootElement.EnumerateArray().Select(t =>
                $"{Hex(t, "address")} {t.GetProperty("pid")} {t.GetProperty("ppid")} {t.GetProperty("cpu")} {t.GetProperty("state").GetString()} {t.GetProperty("comm").GetString()}").Order(StringComparer.Ordinal));
    }

    /// <summary>Our own dump of the same moment, without free memory, page cache and processes: crash tells the same of it.</summary>
    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Crash_tells_the_same_of_the_dump_that_panacea_writes()
    {
        IReadOnlyDictionary<string, string> theirs = await dump.Crash, ours = await dump.CrashOfOwn;
        Assert.InRange(new FileInfo(dump.OwnPath).Length, 10_000_000, new FileInfo(dump.Path).Length / 2);
        foreach (string command in (string[])["foreach bt", "log", "mod", "runq", "timer", "kmem -s", "mount"])
            Assert.Equal(theirs[command], ours[command]);
        Assert.Equal(CrashProgram.Tasks(theirs["ps"]), CrashProgram.Tasks(ours["ps"]));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Stacks_of_waiting_tasks_are_those_of_crash()
    {
        Dictionary<string, List<string>> theirs = CrashProgram.Stacks((await dump.Crash)["foreach bt"]);
        int compared = 0;
        foreach (JsonElement task in (await dump.OursAsync("bt --all")).RootElement.EnumerateArray().Where(t => t.GetProperty("vcpu").ValueKind == JsonValueKind.Null))
        {
            // What a task was interrupted in is a frame for us and registers for crash: nothing that waits was interrupted. The first idle task came out of initialisation code, which crash reads
            // from the debug file and which is gone from the machine.
            List<(string Address, string Location)> ours = Frames(task);
            List<string> their = theirs[Hex(task, "task")];
            bool ends = their.Count == ours.Count || (task.GetProperty("ends").GetString() is { Length: > 0 } && Regex.IsMatch(ours[^1].Location, InitFrames));
            Assert.True(ends && their.Take(ours.Count).SequenceEqual(ours.Select(f => f.Address)), $"{task}\ncrash: {string.Join(' ', their)}");
            compared++;
        }

        Assert.True(compared > 60, $"{compared} stacks");
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task The_stack_of_the_task_that_died_has_every_frame_that_crash_shows()
    {
        Dictionary<string, List<string>> theirs = CrashProgram.Stacks((await dump.Crash)["foreach bt"]);
        JsonElement dead = (await dump.OursAsync("bt --all")).RootElement.EnumerateArray().Single(t => t.GetProperty("comm").GetString() == "sh" && t.GetProperty("vcpu").ValueKind == JsonValueKind.Number);
        List<(string Address, string Location)> ours = Frames(dead);
        List<string> their = [.. theirs[Hex(dead, "task")].Where(a => a.AsSpan().Trim('0').Length > 0)];

        // In the same order; crash leaves out what the compiler has split off a function (NAME.cold), what was called from panic(), and a NULL that was called. Now and then it shows the
        // first one or two frames alone.
        Assert.NotEmpty(their);
        Assert.Equal(their, ours.Select(f => f.Address).Where(their.Contains));
        int panic = ours.FindIndex(f => f.Location.StartsWith("panic+", StringComparison.Ordinal) || f.Location.StartsWith("vpanic+", StringComparison.Ordinal));
        Assert.True(panic >= 0, $"{dead}");
        int last = ours.FindLastIndex(f => their.Contains(f.Address));
        Assert.All(ours.Take(last).Skip(panic).Where(f => !their.Contains(f.Address)), f => Assert.Matches(@"^(\S+\.cold\+.*|0x0)", f.Location));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Every_stack_is_the_one_of_drgn()
    {
        Dictionary<string, string[]> theirs = (await dump.Drgn)["stack"].ToDictionary(s => s[0], s => s[1..]);
        var wrong = new List<string>();
        foreach (JsonElement task in (await dump.OursAsync("bt --all")).RootElement.EnumerateArray())
        {
            string[] ours = [.. Frames(task).Select(f => f.Address)];

            // drgn goes on into user space, where it has nothing to unwind by.
            string[] their = [.. theirs[Hex(task, "task")].TakeWhile(f => f.Length == 16 || f == "0").SkipWhile(f => f == "0" && ours[0] != f)];
            bool ends = their.Length == ours.Length || (task.GetProperty("ends").GetString() is { Length: > 0 } && Regex.IsMatch(Frames(task)[^1].Location, InitFrames));
            if (!ends || !their.Take(ours.Length).SequenceEqual(ours))
                wrong.Add($"{task.GetProperty("pid")} {task.GetProperty("comm")}: {string.Join(' ', Frames(task))}\n  drgn {string.Join(' ', their)}");
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.True(theirs.Count > 60, $"{theirs.Count} stacks");
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task The_stack_of_the_task_that_died_is_the_Call_Trace_that_it_wrote()
    {
        KernelTrace trace = KernelTrace.Parse(dump.Console);
        JsonElement dead = (await dump.OursAsync("bt --all")).RootElement.EnumerateArray().Single(t => t.GetProperty("comm").GetString() == "sh" && t.GetProperty("vcpu").ValueKind == JsonValueKind.Number);
        string[] ours = [.. Frames(dead).Select(f => Nowhere().Replace(f.Location, "0x0"))];

        // The trace was written on the way to where the dump finds the CPU: from the first frame that both have on, they are one. Of an explicit panic that is panic() itself, at another
        // instruction; so from its caller on.
        string[] theirs = trace.Instruction.Length > 0 ? [trace.Instruction, .. trace.Calls] : [.. trace.Calls.SkipWhile(c => !Panic().IsMatch(c)).Skip(1)];
        Assert.True(theirs.Length > 5, dump.Console);
        Assert.Equal(theirs, ours.SkipWhile(f => f != theirs[0]));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task The_log_is_the_one_of_crash_and_of_drgn()
    {
        string[] ours = [.. (await dump.OursAsync("dmesg")).RootElement.EnumerateArray().SelectMany(r => r.GetProperty("text").GetString()!.Split('\n')).Select(l => l.Trim())];
        string[] crash = [.. (await dump.Crash)["log"].TrimEnd('\n').Split('\n').Select(Text)];
        string[] drgn = [.. (await dump.Drgn)["log"].Select(w => Text(string.Join('\t', w)))];
        Assert.Equal(crash, ours);
        Assert.Equal(drgn.Reverse().SkipWhile(l => l.Length == 0).Reverse(), ours);

        static string Text(string line) => Stamp().Replace(line, "").Trim();
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Modules_are_those_of_crash_and_of_drgn()
    {
        JsonElement[] ours = [.. (await dump.OursAsync("modules")).RootElement.EnumerateArray()];
        Assert.Equal(
            ModuleRow().Matches((await dump.Crash)["mod"]).Select(m => (m.Groups[1].Value, m.Groups[2].Value, m.Groups[3].Value, m.Groups[4].Value)).Order(),
            ours.Select(m => (Hex(m, "address"), m.GetProperty("name").GetString()!, Hex(m, "base"), m.GetProperty("bytes").GetRawText())).Order());
        Assert.Equal((await dump.Drgn)["module"].Select(m => (m[0], m[1])), ours.Select(m => (m.GetProperty("name").GetString()!, Hex(m, "address"))));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Mounts_are_those_of_crash_and_of_drgn()
    {
        JsonElement[] ours = [.. (await dump.OursAsync("mounts")).RootElement.EnumerateArray()];
        string[] Row(JsonElement m) => [Hex(m, "mount"), m.GetProperty("type").GetString()!, m.GetProperty("devname").GetString()!, m.GetProperty("dirname").GetString()!];
        Assert.Equal((await dump.Drgn)["mount"], ours.Select(Row));
        Assert.Equal(
            (await dump.Crash)["mount"].Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
            ours.Select(m => (string[])[Hex(m, "mount"), Hex(m, "superblk"), .. Row(m)[1..]]));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Open_files_are_those_of_crash_and_of_drgn()
    {
        Dictionary<string, string[]> crash = (await dump.Crash)["foreach files"].Split("PID: ", StringSplitOptions.RemoveEmptyEntries).Select(t => t.Split('\n'))
            .DistinctBy(t => t[0].Split(' ')[0]).ToDictionary(t => t[0].Split(' ')[0]);
        foreach (IGrouping<string, string[]> process in (await dump.Drgn)["file"].GroupBy(f => f[0]))
        {
            JsonElement[] ours = [.. (await dump.OursAsync($"files {process.Key}")).RootElement.GetProperty("files").EnumerateArray()];

            // The text of what is no file differs: drgn and /proc show "anon_inode:[eventpoll]", crash its own.
            Assert.Equal(
                process.Select(f => $"{f[1]} {f[2]}"), ours.Select(f => $"{f.GetProperty("fd")} {Hex(f, "file")}"));
            Assert.Equal(process.Select(f => f[3]).Where(p => p.StartsWith('/')), ours.Select(f => f.GetProperty("path").GetString()!).Where(p => p.StartsWith('/')));
            string[][] rows = [.. crash[process.Key].Skip(1).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(w => w.Length >= 5 && int.TryParse(w[0], out _))];
            Assert.Equal(
                rows.Select(w => string.Join(' ', w.Take(5))),
                ours.Select(f => $"{f.GetProperty("fd")} {Hex(f, "file")} {Hex(f, "dentry")} {Hex(f, "inode")} {f.GetProperty("type").GetString()}"));
        }
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Run_queues_timers_and_devices_are_those_of_crash()
    {
        IReadOnlyDictionary<string, string> crash = await dump.Crash;
        Assert.Equal(
            QueueRow().Matches(crash["runq"]).Select(m => (m.Groups[1].Value, m.Groups[2].Value, m.Groups[3].Value)),
            (await dump.OursAsync("runq")).RootElement.EnumerateArray().Select(q => (q.GetProperty("cpu").GetRawText(), Hex(q, "address"), Hex(q.GetProperty("current"), "task"))));

        // crash 8.0.6 knows two of the three wheels that a CPU has since 6.12 (BASE_LOCAL, BASE_GLOBAL, BASE_DEF; commit 83a665dc99a7): it leaves out those that may be deferred.
        JsonElement[] timers = [.. (await dump.OursAsync("timers")).RootElement.GetProperty("wheel").EnumerateArray()];
        bool three = timers.Any(t => t.GetProperty("wheel").GetString() == "global");
        Assert.Equal(
            TimerRow().Matches(crash["timer"]).Select(m => $"{m.Groups[1]} {m.Groups[2]} {m.Groups[3]}").Order(StringComparer.Ordinal),
            timers.Where(t => !three || t.GetProperty("wheel").GetString() is "local" or "global")
                .Select(t => $"{t.GetProperty("expires")} {Hex(t, "timer")} {t.GetProperty("function").GetString()}").Order(StringComparer.Ordinal));
        Assert.Equal(
            crash["net"].Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(l => Blanks().Replace(l.Trim(), " ")),
            (await dump.OursAsync("net")).RootElement.GetProperty("devices").EnumerateArray().Select(d =>
                $"{Hex(d, "net_device")} {d.GetProperty("name").GetString()} {string.Join(", ", d.GetProperty("addresses").EnumerateArray().Select(a => a.GetString()!.Split('/')[0]))}"));
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Device_numbers_and_disks_are_those_of_crash()
    {
        IReadOnlyDictionary<string, string> crash = await dump.Crash;
        JsonElement ours = (await dump.OursAsync("dev")).RootElement;
        string[] halves = crash["dev"].Split("BLKDEV");
        Assert.Equal(
            DriverRow().Matches(halves[0]).Select(Their).Order(StringComparer.Ordinal),
            ours.GetProperty("characters").EnumerateArray().Select(d => Our(d, "cdev")).Order(StringComparer.Ordinal));
        Assert.Equal(
            DriverRow().Matches(halves[1]).Select(Their).Order(StringComparer.Ordinal),
            ours.GetProperty("blocks").EnumerateArray().Select(d => Our(d, "gendisk")).Order(StringComparer.Ordinal));

        // crash leaves out RAM disks and loop devices.
        Assert.Equal(
            DiskRow().Matches(crash["dev -d"]).Select(m => string.Join(' ', m.Groups.Values.Skip(1).Select(g => g.Value))).Order(StringComparer.Ordinal),
            ours.GetProperty("disks").EnumerateArray().Where(d => !Regex.IsMatch(d.GetProperty("name").GetString()!, "^(ram|loop)"))
                .Select(d => $"{d.GetProperty("major")} {Hex(d, "gendisk")} {d.GetProperty("name").GetString()} {Hex(d, "request_queue")} {d.GetProperty("reads")} {d.GetProperty("writes")}")
                .Order(StringComparer.Ordinal));

        static string Their(Match m) => $"{m.Groups[1]} {m.Groups[2]} {(m.Groups[4].Length > 0 ? $"{m.Groups[3]} {m.Groups[4]}" : "-")}";

        static string Our(JsonElement d, string device) => $"{d.GetProperty("major")} {d.GetProperty("name").GetString()} "
            + (d.GetProperty("operations").GetString() is { } operations ? $"{Hex(d, device)} {operations.Split(' ')[0]}" : "-");
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task The_machine_is_the_one_of_crash()
    {
        Dictionary<string, string> crash = SystemRow().Matches((await dump.Crash)["sys"]).ToDictionary(m => m.Groups[1].Value, m => m.Groups[2].Value.Trim());
        JsonElement ours = (await dump.OursAsync("sys")).RootElement;
        string Ours(string member) => ours.GetProperty(member).ToString();
        Assert.Equal(crash["CPUS"], ours.GetProperty("cpus_offline").GetInt32() is var offline and not 0 ? $"{Ours("cpus")} [OFFLINE: {offline}]" : Ours("cpus"));
        Assert.Equal(crash["TASKS"], Ours("tasks"));
        Assert.Equal(crash["NODENAME"], Ours("nodename"));
        Assert.Equal(crash["RELEASE"], Ours("release"));
        Assert.Equal(crash["VERSION"], Ours("version"));
        Assert.Equal(crash["MACHINE"], $"{Ours("machine")}  ({Ours("mhz")} Mhz)");
        Assert.Equal(crash["LOAD AVERAGE"], string.Join(", ", ours.GetProperty("load_average").EnumerateArray().Select(l => (Math.Floor((l.GetDouble() + 0.005) * 100) / 100).ToString("0.00", CultureInfo.InvariantCulture))));
        Assert.Equal(crash["PANIC"], $"\"{Ours("panic")}\"{(Ours("panic").Contains("Oops: ", StringComparison.Ordinal) ? " (check log for details)" : "")}");

        // crash counts jiffies since boot, of which it takes the 250 a second of 6.12 for 1000; jiffies begin 300 seconds before they wrap.
        TimeSpan up = TimeSpan.ParseExact(crash["UPTIME"], @"hh\:mm\:ss", CultureInfo.InvariantCulture);
        double seconds = ours.GetProperty("uptime_ms").GetInt64() / 1000.0, mistaken = (300 * 0.75) + (seconds / 4);
        Assert.True(Math.Abs(up.TotalSeconds - seconds) <= 2 || Math.Abs(up.TotalSeconds - mistaken) <= 2, $"{seconds} s, {up} in crash");

        // It shows memory as gigabytes where no more than 64 MB are missing.
        long bytes = ours.GetProperty("memory_bytes").GetInt64(), missing = ((1L << 30) - (bytes % (1L << 30))) % (1L << 30);
        double megabytes = (missing <= 64 << 20 ? bytes + missing : bytes) / (double)(1 << 20);
        Assert.Equal(crash["MEMORY"], megabytes >= 1024 ? FormattableString.Invariant($"{megabytes / 1024:0.#} GB") : FormattableString.Invariant($"{megabytes:0.#} MB"));
        var date = DateTimeOffset.ParseExact(Blanks().Replace(crash["DATE"].Replace("UTC ", "", StringComparison.Ordinal), " "), "ddd MMM d HH:mm:ss yyyy", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        Assert.InRange((ours.GetProperty("date").GetDateTimeOffset() - date).TotalSeconds, -1, 2);
    }

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Memory_and_slab_caches_are_those_of_crash_and_of_drgn()
    {
        IReadOnlyDictionary<string, string> crash = await dump.Crash;
        Dictionary<string, long> pages = (await dump.OursAsync("memory")).RootElement.GetProperty("lines").EnumerateArray().ToDictionary(l => l.GetProperty("name").GetString()!, l => l.GetProperty("pages").GetInt64());
        Dictionary<string, long> theirs = MemoryRow().Matches(crash["kmem -i"]).ToDictionary(m => m.Groups[1].Value, m => long.Parse(m.Groups[2].ValueSpan, CultureInfo.InvariantCulture));
        foreach (string name in (string[])["TOTAL MEM", "FREE", "USED", "SLAB", "TOTAL SWAP"])
            Assert.Equal((name, theirs[name]), (name, pages[name]));
        Assert.Equal(theirs["CACHED"] + theirs["BUFFERS"], pages["CACHED"]);
        Assert.Equal(Assert.Single((await dump.Drgn)["memory"])[0], pages["TOTAL MEM"].ToString(CultureInfo.InvariantCulture));

        // ALLOCATED is that of /proc/slabinfo with us: what lies on the free lists of CPUs counts.
        Dictionary<string, JsonElement> ours = (await dump.OursAsync("slab")).RootElement.EnumerateArray().ToDictionary(c => Hex(c, "cache"));
        Assert.Equal((await dump.Drgn)["slab"].Select(c => string.Join(' ', c)).Order(), ours.Select(c => $"{c.Key} {c.Value.GetProperty("name").GetString()} {c.Value.GetProperty("object_size")}").Order());
        Match[] caches = [.. SlabRow().Matches(crash["kmem -s"]).Cast<Match>()];
        Assert.Equal(ours.Count, caches.Length);
        foreach (Match their in caches)
        {
            JsonElement our = ours[their.Groups[1].Value];
            Assert.Equal(
                $"{their.Groups[2]} {their.Groups[4]} {their.Groups[5]} {their.Groups[6]} {their.Groups[7]}",
                $"{our.GetProperty("object_size")} {our.GetProperty("total")} {our.GetProperty("slabs")} {our.GetProperty("slab_kib")} {our.GetProperty("name").GetString()}");
            Assert.InRange(our.GetProperty("allocated").GetInt64(), long.Parse(their.Groups[3].ValueSpan, CultureInfo.InvariantCulture), our.GetProperty("total").GetInt64());
        }
    }

    /// <summary>The frames that are proved.</summary>
    private static List<(string Address, string Location)> Frames(JsonElement task) =>
        [.. task.GetProperty("frames").EnumerateArray().Where(f => f.GetProperty("reliable").GetBoolean()).Select(f => (Hex(f, "address"), f.GetProperty("location").GetString()!))];

    private static string Hex(JsonElement row, string member) => row.GetProperty(member).GetString()![2..];

    [GeneratedRegex("^0x0+$")]
    private static partial Regex Nowhere();

    [GeneratedRegex(@"^v?panic\+")]
    private static partial Regex Panic();

    [GeneratedRegex(@"^\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? ?")]
    private static partial Regex Stamp();

    [GeneratedRegex(@"^([0-9a-f]{16})  (\S+) +([0-9a-f]{16}) +(\d+) ", RegexOptions.Multiline)]
    private static partial Regex ModuleRow();

    [GeneratedRegex(@"^CPU (\d+) RUNQUEUE: ([0-9a-f]+)\n  CURRENT: PID: \d+ +TASK: ([0-9a-f]+)", RegexOptions.Multiline)]
    private static partial Regex QueueRow();

    [GeneratedRegex(@"^ +(\d+) +-?\d+ +([0-9a-f]{16}) +[0-9a-f]{16} +<(\S+)>", RegexOptions.Multiline)]
    private static partial Regex TimerRow();

    [GeneratedRegex(@"^ *([A-Z][A-Z ]*[A-Z]) +(\d+) ", RegexOptions.Multiline)]
    private static partial Regex MemoryRow();

    [GeneratedRegex(@"^([0-9a-f]{16}) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)k +(\S+)$", RegexOptions.Multiline)]
    private static partial Regex SlabRow();

    [GeneratedRegex(@"^ +(\d+) +(\S+) +(?:([0-9a-f]{16})  (\S+)|\(none\)|[0-9a-f]+ +0) *$", RegexOptions.Multiline)]
    private static partial Regex DriverRow();

    [GeneratedRegex(@"^ *(\d+) +([0-9a-f]{16}) +(\S+) +([0-9a-f]{16}) +\d+ +(\d+) +(\d+) *(?:N/A\(MQ\))?$", RegexOptions.Multiline)]
    private static partial Regex DiskRow();

    [GeneratedRegex("^ *([A-Z][A-Z ]*[A-Z]): (.*)$", RegexOptions.Multiline)]
    private static partial Regex SystemRow();

    [GeneratedRegex(" +")]
    private static partial Regex Blanks();
}
