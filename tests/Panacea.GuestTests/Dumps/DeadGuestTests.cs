using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>A guest that nobody protects dies: the command tells the same of it from the guest that stands in panic(), from its dumps and from its console.</summary>
public abstract class DeadGuestTests(SharedGuest shared)
{
    [Theory]
    [InlineData("null-write", "Kernel panic - not syncing: Fatal exception", "NULL write in crashtest_null_write [crashtest]", "null-write", "crashtest_null_write")]
    [InlineData("panic", "Kernel panic - not syncing: crashtest: an explicit panic", "panic in crashtest_panic [crashtest]: crashtest: an explicit panic", "panic", "crashtest_panic")]
    public async Task The_machine_its_dumps_and_its_console_tell_the_same_crash(string crash, string last, string title, string kind, string function)
    {
        using var directory = new TemporaryDirectory();
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicTimeout = 0 });
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> dying = guest.RunAsync($"echo {crash} > /dev/crashtest", TimeSpan.FromSeconds(5));
        await guest.Console.WaitForAsync($"end {last}", Limits.Guest, mark);
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
        foreach (string format in (string[])["elf", "kdump-zlib"])
        {
            await guest.Monitor.ExecuteAsync(
                "dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{directory.File(format)}", ["format"] = format });
        }

        await File.WriteAllTextAsync(directory.File("console.log"), guest.Console.TextFrom(mark));
        string bucket = "";
        foreach (string source in (string[])[$"pid:{guest.Pid}", directory.File("elf"), directory.File("kdump-zlib")])
        {
            using JsonDocument report = await DiagnoseAsync(source);
            JsonElement found = report.RootElement.GetProperty("crash");

            // The compiler moves what never returns out of the function's way, to one whose name ends in .cold.
            Assert.Equal(
                (title, kind, function, "process"),
                (found.GetProperty("title").GetString(), found.GetProperty("kind").GetString(), found.GetProperty("location").GetProperty("function").GetString()!.Split('.')[0], found.GetProperty("context").GetString()));
            Assert.True(report.RootElement.GetProperty("recoverability").GetProperty("is_recoverable").GetBoolean());
            Assert.Equal(2, report.RootElement.GetProperty("cpus").GetArrayLength());

            // One bad write to NULL breaks nothing of the kernel's own; what a busy host leaves no time for is said.
            Assert.DoesNotContain(report.RootElement.GetProperty("findings").EnumerateArray(), f => f.GetProperty("id").GetString()!.StartsWith("check.", StringComparison.Ordinal));
            Assert.Contains("tasks", report.RootElement.GetProperty("structures").EnumerateArray().Where(s => s.GetProperty("outcome").GetString() == "ok").Select(s => s.GetProperty("name").GetString()));
            bucket = bucket.Length == 0 ? found.GetProperty("bucket").GetString()! : bucket;
            Assert.Equal(bucket, found.GetProperty("bucket").GetString());
            AssertTellsTheMachine(report.RootElement, function, guest);
        }

        using JsonDocument log = await DiagnoseAsync(directory.File("console.log"));
        JsonElement first = log.RootElement.GetProperty("reports")[log.RootElement.GetProperty("first").GetInt32()];
        Assert.Equal((title, bucket), (first.GetProperty("title").GetString(), first.GetProperty("bucket").GetString()));
    }

    /// <summary>Everything around the crash is told: nothing of it is missing on these kernels, and what can be known from outside is right.</summary>
    private static void AssertTellsTheMachine(JsonElement report, string function, Guest guest)
    {
        Assert.Empty(JsonSchema.Load("diagnosis.schema.json").Validate(report));
        Assert.Empty(report.GetProperty("missing").EnumerateArray());
        JsonElement values = report.GetProperty("crash").GetProperty("values"), around = report.GetProperty("crash").GetProperty("surroundings"), state = report.GetProperty("state");

        // Of an explicit panic the registers are those with which panic() was entered.
        Assert.Matches($@"^({function}|v?panic)\b", values.GetProperty("registers")[0].GetProperty("text").GetString()!);
        Assert.Contains(values.GetProperty("stack").EnumerateArray(), w => w.GetProperty("meaning").GetString() == "symbol" && w.GetProperty("text").GetString()!.StartsWith("vfs_write+", StringComparison.Ordinal));
        Assert.Contains(values.GetProperty("stack").EnumerateArray(), w => w.GetProperty("meaning").GetString() == "slab-object");
        Assert.Empty(values.GetProperty("without").EnumerateArray());
        Assert.Equal(0, around.GetProperty("uid").GetInt64());
        Assert.Equal(1, around.GetProperty("parents").EnumerateArray().Last().GetProperty("pid").GetInt32());
        Assert.Equal(report.GetProperty("kernel").GetProperty("hostname").GetString(), around.GetProperty("hostname").GetString());
        Assert.All(state.EnumerateObject(), part => Assert.NotEqual(JsonValueKind.Null, part.Value.ValueKind));
        long total = state.GetProperty("memory").GetProperty("total_kib").GetInt64(), free = state.GetProperty("memory").GetProperty("free_kib").GetInt64();
        Assert.InRange(total, guest.Spec.MemoryMiB * 1024L * 3 / 4, guest.Spec.MemoryMiB * 1024L);
        Assert.InRange(free, 1, total - 1);
        Assert.Contains(state.GetProperty("memory").GetProperty("slabs").EnumerateArray(), s => s.GetProperty("name").GetString() == "task_struct");
        Assert.Contains(state.GetProperty("mounts").EnumerateArray(), m => m.GetProperty("point").GetString() == "/proc");
        Assert.Equal(["vda"], state.GetProperty("block").GetProperty("disks").EnumerateArray().Select(d => d.GetString()));
    }

    private static async Task<JsonDocument> DiagnoseAsync(string source) => JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", source, "--json"));
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class DeadGuestTests61(Guest61 guest) : DeadGuestTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class DeadGuestTests612(Guest612 guest) : DeadGuestTests(guest);
