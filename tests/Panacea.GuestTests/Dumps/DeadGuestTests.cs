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
            bucket = bucket.Length == 0 ? found.GetProperty("bucket").GetString()! : bucket;
            Assert.Equal(bucket, found.GetProperty("bucket").GetString());
        }

        using JsonDocument log = await DiagnoseAsync(directory.File("console.log"));
        JsonElement first = log.RootElement.GetProperty("reports")[log.RootElement.GetProperty("first").GetInt32()];
        Assert.Equal((title, bucket), (first.GetProperty("title").GetString(), first.GetProperty("bucket").GetString()));
    }

    private static async Task<JsonDocument> DiagnoseAsync(string source) => JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", source, "--json"));
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class DeadGuestTests61(Guest61 guest) : DeadGuestTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class DeadGuestTests612(Guest612 guest) : DeadGuestTests(guest);
