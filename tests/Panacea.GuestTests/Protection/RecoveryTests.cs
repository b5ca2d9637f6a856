using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>Every crash of the crash-test driver under a guard, with panic_on_oops=1: the operating system lives, and so does the process where its function can return an error.</summary>
public abstract class RecoveryTests(GuardedGuest guarded)
{
    /// <summary>Crashes after which the process lives: the start of the incident's title, and what its shell says of the write.</summary>
    public static TheoryData<string, string, string> Survived { get; } = new()
    {
        { "null-read", "NULL read in crashtest_null_read [crashtest]", "Input/output error" },
        { "null-write", "NULL write in crashtest_null_write [crashtest]", "Input/output error" },
        { "wild-read", "read through a wild pointer in crashtest_wild_read [crashtest]", "Input/output error" },
        { "epilogue-read", "read through a wild pointer in crashtest_epilogue_read [crashtest]", "Input/output error" },
        { "null-call", "call of a NULL pointer in crashtest_null_call [crashtest]", "Input/output error" },
        { "bug", "kernel BUG in crashtest_bug [crashtest]", "Input/output error" },
        { "divide-by-zero", "divide error in crashtest_divide_by_zero [crashtest]", "Input/output error" },
        { "pointer-null-read", "NULL read in crashtest_pointer_null_read [crashtest]", "No data available" },
        { "panic", "panic in crashtest_panic [crashtest]: crashtest: an explicit panic", "Input/output error" },
    };

    /// <summary>Crashes in functions that have no way to say that they failed: one further out has.</summary>
    public static TheoryData<string, string> Unwound { get; } = new()
    {
        { "void-null-write", "NULL write in crashtest_void_null_write [crashtest]" },
        { "sysrq", "panic in sysrq_handle_crash: sysrq triggered crash" },
    };

    [Theory]
    [MemberData(nameof(Survived))]
    public async Task The_process_survives_with_an_error(string name, string title, string says)
    {
        (Guest guest, GuardProcess guard) = await guarded.ReadyAsync();
        long console = guest.Console.Mark();
        int mark = guard.Mark();
        GuestCommandResult result = await guest.CrashAsync(name);
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        AssertIncident(guest, incident, title, "error-return");
        Assert.Empty(incident.Texts("lost"));
        // Not 128 + a signal: the shell itself saw write(2) fail, and said so.
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        Assert.Contains(says, result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("registers lost", guest.Console.TextFrom(console), StringComparison.Ordinal);
        await AssertRecordAsync(guest, incident, console, name != "panic");
        await AssertLivesOnAsync(guest, guard, mark);
    }

    [Theory]
    [MemberData(nameof(Unwound))]
    public async Task A_function_that_returns_nothing_is_unwound(string name, string title)
    {
        (Guest guest, GuardProcess guard) = await guarded.ReadyAsync();
        long console = guest.Console.Mark();
        int mark = guard.Mark();
        GuestCommandResult result = await guest.CrashAsync(name);
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        AssertIncident(guest, incident, title, "unwind");
        Assert.Empty(incident.Texts("lost"));
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        Assert.Contains("Input/output error", result.Output, StringComparison.Ordinal);
        await AssertRecordAsync(guest, incident, console, name != "sysrq");
        await AssertLivesOnAsync(guest, guard, mark);
    }

    [Fact]
    public async Task A_warning_is_no_incident()
    {
        (Guest guest, GuardProcess guard) = await guarded.ReadyAsync();
        int mark = guard.Mark();
        Assert.Equal(0, (await guest.CrashAsync("warn")).Status);
        // Events come in order: had the warning been taken for a death, its event would stand before this one's.
        await guest.CrashAsync("null-read");
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        Assert.StartsWith("NULL read", incident.Text("title"), StringComparison.Ordinal);
        Assert.Single(guard.EventsFrom(mark), e => e.Name == "death");
    }

    private static void AssertIncident(Guest guest, GuardEvent incident, string title, string repair)
    {
        string all = incident.Json.GetRawText();
        Assert.True(incident.Text("title") == title, all);
        Assert.True(incident.Text("repair") == repair, all);
        Assert.True(incident.Text("outcome") == "recovered", all);
        Assert.Equal("process", incident.Text("context"));
        Assert.Equal($"qmp:{guest.QmpPath}", incident.Text("vm"));
        Assert.NotEmpty(incident.Text("id"));
        Assert.NotEmpty(incident.Text("bucket"));
        Assert.True(incident.Number("stopped_us") > 0, all);
    }

    /// <summary>The record on disk is whole, and its stack is the kernel's own Call Trace.</summary>
    private static async Task AssertRecordAsync(Guest guest, GuardEvent incident, long console, bool isOops)
    {
        string directory = incident.Text("record");
        Assert.Contains(incident.Text("title").Split('[')[0].Trim(), await File.ReadAllTextAsync(Path.Combine(directory, "report.md")), StringComparison.Ordinal);
        Assert.NotEmpty(await File.ReadAllTextAsync(Path.Combine(directory, "console.txt")));
        using var record = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(directory, "incident.json")));
        JsonElement root = record.RootElement, report = root.GetProperty("report");
        Assert.Equal(incident.Text("id"), root.GetProperty("id").GetString());
        Assert.Empty(root.GetProperty("errors").EnumerateArray());
        Assert.True(root.GetProperty("health").GetProperty("verified").GetBoolean());
        JsonElement checkUp = root.GetProperty("check_up");
        if (checkUp.ValueKind != JsonValueKind.Null)
            Assert.Equal([], checkUp.GetProperty("findings").EnumerateArray().Select(f => f.GetProperty("text").GetString()));
        Assert.Equal(guest.Image.Kernel.Release, report.GetProperty("kernel_release").GetString());
        Assert.Equal("sh", report.GetProperty("task").GetProperty("comm").GetString());
        Assert.StartsWith("sh -c echo ", report.GetProperty("task").GetProperty("command_line").GetString(), StringComparison.Ordinal);
        var steps = root.GetProperty("timeline").EnumerateArray().Select(t => (Step: t.GetProperty("step").GetString()!, At: t.GetProperty("at_us").GetInt64())).ToList();
        Assert.Equal(["detected", "evidence-read", "diagnosed", "planned", "applied", "resumed", "machine-read", "health-verified"], steps.Select(s => s.Step));
        Assert.Equal(steps.Select(s => s.At).Order(), steps.Select(s => s.At));

        string[] frames = KernelTrace.FramesOf(report);
        Assert.NotEmpty(frames);
        if (!isOops)
            return;
        await guest.Console.WaitForAsync("---[ end trace", Limits.Guest, console);
        KernelTrace kernel = KernelTrace.Parse(guest.Console.TextFrom(console));
        Assert.Equal([kernel.Instruction, .. kernel.Calls], frames);
    }

    private async Task AssertLivesOnAsync(Guest guest, GuardProcess guard, int mark)
    {
        await guest.AssertLivesAsync();
        await guarded.AssertNothingLostAsync();
        Assert.Single(guard.EventsFrom(mark), e => e.Name == "incident");
        Assert.True(guard.IsRunning);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class RecoveryTests61(Guarded61 guarded) : RecoveryTests(guarded), IClassFixture<Guarded61>;

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class RecoveryTests612(Guarded612 guarded) : RecoveryTests(guarded), IClassFixture<Guarded612>;
