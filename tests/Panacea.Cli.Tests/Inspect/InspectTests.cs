using System.Text.Json;
using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Tests.Inspect;

/// <summary>The subcommands of <c>inspect</c> over a guest that has one of everything.</summary>
public sealed class InspectTests
{
    /// <summary>Each subcommand as a user writes it, and the number of elements of its JSON: −1 for an object.</summary>
    public static TheoryData<string, int> Commands => new()
    {
        { "ps", 3 }, { "task 300", -1 }, { "files 300", -1 }, { "bt", 2 }, { "bt --all", 1 }, { "bt 300", 1 }, { "dmesg", 2 }, { "modules", 2 }, { "vmcoreinfo", -1 }, { "symbol oops_end", 2 },
        { "type mutex", -1 }, { "read x", -1 }, { "read x --as string", -1 }, { "read x --as mutex", -1 }, { "read x 17 --as u8", -1 }, { "disasm oops_end", -1 }, { "runq", 2 }, { "locks", -1 },
        { "workqueues", -1 }, { "workqueues --all", -1 }, { "timers", -1 }, { "memory", -1 }, { "slab", 2 }, { "mounts", 1 }, { "net", -1 }, { "dev", -1 }, { "sys", -1 },
    };

    private static Outcome Inspect(string line, FakeGuest? guest = null)
    {
        guest ??= new FakeGuest();
        Outcome outcome = new Harness { Inspect = _ => guest }.Run(["inspect", "pid:1", .. line.Split(' ')]);
        Assert.True(guest.Disposed);
        return outcome;
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public void No_guest_string_reaches_the_terminal_as_it_is(string line, int count)
    {
        _ = count;
        Outcome outcome = Inspect(line);
        Assert.Equal((ExitCodes.Ok, ""), (outcome.ExitCode, outcome.Error));
        Assert.NotEmpty(outcome.Out);
        Assert.DoesNotContain(outcome.Out, c => (char.IsControl(c) && c != '\n') || c == '\u202e');

        // Where a name's line feed came through, its second half would begin a line.
        Assert.DoesNotContain("evil\\x07\\u{202e}\n", outcome.Out, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public void Every_answer_has_a_json_form(string line, int count)
    {
        JsonElement json = JsonDocument.Parse(Inspect(line + " --json").Out).RootElement;
        Assert.Equal(count < 0 ? JsonValueKind.Object : JsonValueKind.Array, json.ValueKind);
        if (count >= 0)
            Assert.Equal(count, json.GetArrayLength());
    }

    [Fact]
    public void Ps_has_the_columns_of_crash_and_marks_what_runs() => Assert.Equal(
        "   PID  PPID  CPU  TASK              ST  %MEM   VSZ   RSS  COMM\n"
        + "     1     0    0  ffff888000000001  IN   0.1  2345   100  init\n"
        + "     2     0    -  0000000000000001  IN   0.0     0     0  [kthreadd]\n"
        + $">  300     1    1  ffff888000000002  RU   1.5  4000  1200  {FakeGuest.Shown}\n",
        Inspect("ps").Out);

    [Fact]
    public void Json_keeps_the_members_it_had_and_has_more()
    {
        JsonElement task = JsonDocument.Parse(Inspect("ps --json").Out).RootElement[2];
        Assert.Equal((300, 300, 1, "R", 1), (task.GetProperty("pid").GetInt32(), task.GetProperty("tgid").GetInt32(), task.GetProperty("ppid").GetInt32(), task.GetProperty("state").GetString(), task.GetProperty("cpu").GetInt32()));
        Assert.Equal((false, true, 4000), (task.GetProperty("kernel").GetBoolean(), task.GetProperty("active").GetBoolean(), task.GetProperty("vsz_kib").GetInt64()));
        Assert.Equal("0xffff888000000002", task.GetProperty("address").GetString());
        JsonElement stack = JsonDocument.Parse(Inspect("bt --json").Out).RootElement[0];
        Assert.Equal((0, 1, "init", false), (stack.GetProperty("vcpu").GetInt32(), stack.GetProperty("pid").GetInt32(), stack.GetProperty("comm").GetString(), stack.GetProperty("user_mode").GetBoolean()));
        Assert.Equal(("schedule+0x5/0x10", true), (stack.GetProperty("frames")[0].GetProperty("location").GetString(), stack.GetProperty("frames")[0].GetProperty("reliable").GetBoolean()));
    }

    [Fact]
    public void Json_may_stand_before_the_subcommand() => Assert.Equal(Inspect("ps --json").Out, Inspect("--json ps").Out);

    [Fact]
    public void Dev_has_the_columns_of_crash()
    {
        static string Name(string name) => name.PadRight(FakeGuest.Shown.Length);
        Assert.Equal(
            $"CHRDEV  {Name("NAME")}  CDEV              OPERATIONS\n"
            + $"     1  {Name("mem")}  ffff888000000700  memory_fops\n"
            + $"    10  {FakeGuest.Shown}  -                 -\n\n"
            + $"BLKDEV  {Name("NAME")}  GENDISK           OPERATIONS\n"
            + $"     7  {Name("loop")}  ffff888000000800  {FakeGuest.Shown}\n"
            + $"     8  {FakeGuest.Shown}  -                 -\n\n"
            + $"MAJOR  GENDISK           {Name("NAME")}  REQUEST_QUEUE     TOTAL  READ  WRITE\n"
            + $"    7  ffff888000000800  {Name("loop0")}  ffff888000000900      3     1      2\n"
            + $"    8  0000000000000001  {FakeGuest.Shown}  0000000000000002      -     -      -\n",
            Inspect("dev").Out);
    }

    [Fact]
    public void Sys_has_the_lines_of_crash() => Assert.Equal(
        $"      SOURCE: {FakeGuest.Shown}\n        CPUS: 2 [OFFLINE: 1]\n        DATE: Fri Jan 2 03:04:05 UTC 2026\n      UPTIME: 1 days, 01:01:01\nLOAD AVERAGE: 0.50, 0.25, 0.13\n"
        + $"       TASKS: 67\n    NODENAME: {FakeGuest.Shown}\n     RELEASE: 6.1\n     VERSION: {FakeGuest.Shown}\n     MACHINE: x86_64  (2100 Mhz)\n      MEMORY: 512 MB\n"
        + $"       PANIC: \"{FakeGuest.Shown}\"\n       TAINT: none\n    BUILD ID: ab12\nCOMMAND LINE: {FakeGuest.Shown}\n   CPU MODEL: {FakeGuest.Shown}\n",
        Inspect("sys").Out);

    [Fact]
    public void Dmesg_looks_like_dmesg() => Assert.Equal("[    1.500000] hello\\x1b[31m\n[   12.345678] Oops\n", Inspect("dmesg").Out);

    [Fact]
    public void Bt_has_the_heading_of_crash_and_marks_frames_that_are_not_proved() => Assert.Equal(
        "PID: 1        TASK: ffff888000000001  CPU: 0    COMMAND: \"init\"\n"
        + "  #0 [ffffc90000013e50] schedule+0x5/0x10 at ffffffff81000005\n"
        + "--- <task stack> ---\n"
        + $"  #1 [ffffc90000013e60] ? {FakeGuest.Shown} at ffffffff81000001\n"
        + "    (the proved part ends here)\n\nVCPU: 1  CPU: -  task unreadable\n    in user mode\n",
        Inspect("bt").Out);

    [Fact]
    public void A_type_is_shown_as_c() => Assert.Equal("struct mutex {\n    atomic_long_t owner; /* 0 */\n    int \\x1b]0;evil\\x07\\u{202e};\n};\n", Inspect("type mutex").Out);

    [Fact]
    public void Files_have_root_directory_and_sockets()
    {
        string[] lines = Inspect("files 300").Out.Split('\n');
        Assert.StartsWith("PID: 300", lines[0], StringComparison.Ordinal);
        Assert.Equal($"ROOT: {FakeGuest.Shown}    CWD: /tmp", lines[1]);
        Assert.Equal("FD  FILE              DENTRY            INODE             TYPE  PATH", lines[2]);
        Assert.Equal(" 0  ffff888000000010  ffff888000000020  ffff888000000030  CHR   /dev/null", lines[3]);
        Assert.EndsWith($"SOCK  {FakeGuest.Shown} inet stream LISTEN 0.0.0.0:6379", lines[4], StringComparison.Ordinal);
    }

    [Fact]
    public void Words_carry_what_they_are() => Assert.Equal(
        $"ffffffff82000000:  0000000000000001\nffffffff82000008:  ffffffff81000000  {FakeGuest.Shown}+0x0/0x10\n", Inspect("read x").Out);

    [Fact]
    public void Bytes_are_a_hex_dump_with_their_characters() => Assert.Equal(
        "ffffffff82000000:  48 65 6c 6c 6f 1b 5d 30 3b 65 76 69 6c 07 00 00  Hello.]0;evil...\nffffffff82000010:  01                                               .\n", Inspect("read x 17 --as u8").Out);

    [Fact]
    public void A_structure_is_spelled_out_with_offsets() => Assert.Equal(
        $"struct mutex at ffffffff82000000\n   0  owner:\n   0    counter = 0\n 128  {FakeGuest.Shown} = {FakeGuest.Shown}  {FakeGuest.Shown}\n", Inspect("read x --as mutex").Out);

    [Fact]
    public void What_is_read_is_what_was_asked_for()
    {
        var guest = new FakeGuest();
        Inspect("read 0x1000 4 --as u32 --physical", guest);
        Assert.Equal(new ReadRequest("0x1000", 4, "u32", true), guest.LastRead);
        guest = new FakeGuest();
        Inspect("disasm vfs_read 5 --pristine --image x.rimg", guest);
        Assert.Equal(new DisassemblyRequest("vfs_read", 5, true, "x.rimg"), guest.LastDisassembly);
    }

    [Fact]
    public void Code_that_differs_is_marked_with_what_the_other_copy_has()
    {
        string[] lines = Inspect("disasm oops_end").Out.Split('\n');
        Assert.Equal("  0xffffffff81000000 <+0>:     55  push %rbp", lines[1]);
        Assert.Equal("* 0xffffffff81000001 <+1>:     90  nop", lines[2]);
        Assert.Contains($"image has", lines[3], StringComparison.Ordinal);
        Assert.EndsWith($"c3  ret {FakeGuest.Shown}", lines[3], StringComparison.Ordinal);
    }

    [Fact]
    public void Workqueues_without_work_are_left_out_unless_asked_for()
    {
        Assert.DoesNotContain("events", Inspect("workqueues").Out, StringComparison.Ordinal);
        Assert.Contains("events", Inspect("workqueues --all").Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("symbol nope", "no symbol 'nope'")]
    [InlineData("type nope", "no type 'nope'")]
    [InlineData("type struct nope", "no type 'struct nope'")]
    [InlineData("task 7", "no task of pid 7")]
    [InlineData("bt 7", "no task of pid 7")]
    [InlineData("files 7", "no task of pid 7")]
    [InlineData("mounts 7", "no task of pid 7")]
    public void What_the_guest_has_not_is_exit_code_5(string line, string says)
    {
        Outcome outcome = Inspect(line);
        Assert.Equal((ExitCodes.NotFound, ""), (outcome.ExitCode, outcome.Out));
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void What_could_not_be_read_is_said_beside_the_answer()
    {
        Outcome outcome = Inspect("ps", new FakeGuest { Notes = [$"tasks are missing {FakeGuest.Evil}"] });
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal($"panacea: tasks are missing {FakeGuest.Shown}\n", outcome.Error);
    }
}
