using System.Text;
using System.Text.Json;
using Panacea.Diagnosis;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Formats;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>What the guard says of a crash from memory, and what the console of the same crash says, are the same.</summary>
public abstract class ConsoleAgreementTests(GuardedGuest guarded)
{
    /// <summary>Crashes of the crash-test driver that the kernel writes an oops about.</summary>
    public static TheoryData<string> Oopses { get; } = ["null-read", "null-write", "wild-read", "epilogue-read", "null-call", "bug", "divide-by-zero", "pointer-null-read", "void-null-write"];

    /// <summary>Crashes of the module that provokes reports.</summary>
    public static TheoryData<string> Reports { get; } =
        ["list-add", "list-del", "list-poison", "null-member", "wild-write", "wild-call", "readonly-write", "user-read", "noncanonical-read", "stack-segment", "memcpy", "strlen", "usercopy"];

    [Theory]
    [MemberData(nameof(Oopses))]
    public async Task The_log_of_an_oops_says_what_memory_says(string name) => await CompareAsync(guest => guest.CrashAsync(name));

    [Theory]
    [MemberData(nameof(Reports))]
    public async Task The_log_of_a_report_says_what_memory_says(string name) => await CompareAsync(
        guest => guest.RunAsync($"insmod /modules/crashtest_reports.ko 2> /dev/null; echo {name} > /dev/crashtest-reports", Limits.Guest));

    private async Task CompareAsync(Func<Guest, Task<GuestCommandResult>> crash)
    {
        (Guest guest, GuardProcess guard) = await guarded.ReadyAsync();
        long console = guest.Console.Mark();
        int mark = guard.Mark();
        await crash(guest);
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        await guest.Console.WaitForAsync("---[ end trace", Limits.Guest, console);

        using var record = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(incident.Text("record"), "incident.json")));
        JsonElement report = record.RootElement.GetProperty("report");
        string tail = guest.Console.TextFrom(console);
        LogDiagnosis log = ConsoleLogDiagnosis.Diagnose(new MemoryStream(Encoding.UTF8.GetBytes(tail)), FormatLimits.Default);
        LogCrash crashed = log.Reports[Assert.NotNull(log.First)];
        string? Of(string member) => report.GetProperty(member).GetString();
        JsonElement location = report.GetProperty("location");
        Assert.Equal(
            (Of("title"), Of("kind"), Of("context"), Of("bucket"), location.GetProperty("function").GetString(), location.GetProperty("module").GetString()),
            (crashed.Title, JsonNamingPolicy.KebabCaseLower.ConvertName(crashed.Kind.ToString()), JsonNamingPolicy.KebabCaseLower.ConvertName(crashed.Context.ToString()), crashed.Bucket,
                crashed.Location?.Function, crashed.Location?.Module));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class ConsoleAgreementTests61(Guarded61 guarded) : ConsoleAgreementTests(guarded), IClassFixture<Guarded61>;

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class ConsoleAgreementTests612(Guarded612 guarded) : ConsoleAgreementTests(guarded), IClassFixture<Guarded612>;
