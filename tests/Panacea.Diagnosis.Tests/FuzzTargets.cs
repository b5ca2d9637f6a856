using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Tests.Validators;
using Panacea.Diagnosis.Validators;
using Panacea.Formats;
using Panacea.Target;
using Panacea.TestKit.Fuzzing;

namespace Panacea.Diagnosis.Tests;

/// <summary>What is fuzzed of the diagnosis: logs, validators, crashes, and whatever is shown to a person.</summary>
public static class FuzzTargets
{
    private static readonly TargetLimits Small = TargetLimits.Default with { MaxTasks = 2000, MaxModules = 200, MaxModuleBytes = 1 << 20, MaxPrintkBytes = 1 << 20, MaxChain = 2000 };

    /// <summary>Reads, diagnoses and shows a log. Any bytes are a log.</summary>
    public static void ConsoleLog(ReadOnlySpan<byte> data)
    {
        LogDiagnosis diagnosis = ConsoleLogDiagnosis.Diagnose(new MemoryStream(data.ToArray()), FormatLimits.Default);
        Assert.True(diagnosis.First is null == (diagnosis.Reports.Count == 0));
        for (int i = 0; i < diagnosis.Reports.Count; i++)
        {
            LogCrash crash = diagnosis.Reports[i];
            Assert.True(crash.Title.Length is > 0 and < 2000 && crash.Cause.Length > 0 && crash.Bucket.Length == 16);
            Assert.True(crash.FollowsFrom is not { } from || (from != i && from >= 0 && from < diagnosis.Reports.Count));
        }

        Assert.Null(HostileText.WrongInMarkdown(LogMarkdown.Render(diagnosis)));
        Assert.Null(HostileText.WrongInHtml(LogHtml.Render(diagnosis, "console.log")));
    }

    /// <summary>Validators, half of them, over a guest in which something is broken; none may break itself.</summary>
    internal static void Validators(CheckedGuest guest, Random random)
    {
        int draw = random.Next(2);
        string[] names = [.. Diagnosis.Validators.Validators.All.Select(v => v.Name).Where((_, i) => i % 2 == draw)];
        CheckUpReport report = CheckUp.Run(guest.Context(most: 400), names);
        Assert.Equal(names.Length, report.Validators.Count);
        Assert.All(report.Validators, v => Assert.DoesNotContain(v.Result.Unavailable, u => u.StartsWith("the check itself failed", StringComparison.Ordinal)));
    }

    /// <summary>Everything that is said of a machine: found, diagnosed, shown. Nothing that stands in memory or registers keeps it from being written.</summary>
    internal static MachineReport Machine(CrashedGuest guest, VcpuRegisters vcpu)
    {
        (MachineReport report, _) = Tests.Machine.StandingReports.Of(guest.Image, guest.Guest.Memory, [vcpu], Small);
        Show(report);
        return report;
    }

    /// <summary>The evidence and the report of a crash, at its death point.</summary>
    internal static void Crash(CrashedGuest guest, VcpuRegisters vcpu)
    {
        try
        {
            var capture = new CrashCapture(guest.Image, Small);
            CrashEvidence evidence = capture.Capture(guest.Guest.Memory, vcpu, guest.Image.Meta.DeathPoints[0]);
            capture.TouchForReport(evidence);
            evidence.Memory.Seal();
            (CrashReport report, _) = new CrashReporter(Small).Write(evidence);
            Assert.Null(HostileText.WrongInMarkdown(MarkdownReport.Render(report)));
        }
        catch (CaptureException e)
        {
            Assert.NotEmpty(e.Message);
        }
    }

    /// <summary>A report in which some strings are the guest's worst.</summary>
    public static void Strings(JsonNode report, Random random)
    {
        JsonNode changed = report.DeepClone();
        Replace(changed, random);
        MachineReport read;
        try
        {
            read = changed.Deserialize(MachineReportJson.Default.MachineReport)!;
        }
        catch (JsonException)
        {
            // A string that has to be one of a few.
            return;
        }

        Show(read);
    }

    /// <summary>One string, everywhere where strings are shown.</summary>
    public static void Safety(string text)
    {
        Assert.Null(HostileText.WrongInText(Safe.Text(text)));
        Assert.Null(HostileText.WrongInText(Safe.Text(text, 3)));
        Assert.DoesNotContain('\n', Safe.Text(text));
        Assert.Null(HostileText.WrongInText(Safe.Markup(text)));
        Assert.Null(HostileText.WrongInHtml("<p>" + Safe.Html(text) + "</p>"));
        Assert.Null(HostileText.WrongInMarkdown("a " + Safe.Markdown(text) + " b"));
        Assert.Null(HostileText.WrongInMarkdown(Safe.Markdown(text)));
        Assert.Null(HostileText.WrongInMarkdown("a " + Safe.Code(text) + " b"));
        Assert.Null(HostileText.WrongInMarkdown(Safe.Block([text, "x", text])));

        // A bar would begin another cell.
        string cell = Safe.Code(text, inTable: true).Replace("\\|", "", StringComparison.Ordinal);
        Assert.DoesNotContain('|', cell);
        Assert.DoesNotContain('|', Safe.Markdown(text).Replace("\\\\", "", StringComparison.Ordinal).Replace("\\|", "", StringComparison.Ordinal));
    }

    private static void Show(MachineReport report)
    {
        Assert.Null(HostileText.WrongInMarkdown(MachineMarkdown.Render(report)));
        Assert.Null(HostileText.WrongInHtml(MachineHtml.Render(report)));
        if (report.Crash is { } crash)
            Assert.Null(HostileText.WrongInMarkdown(MarkdownReport.Render(crash)));
    }

    private static void Replace(JsonNode node, Random random)
    {
        if (node is JsonObject o)
        {
            foreach ((string name, JsonNode? value) in o.ToList())
            {
                if (value is JsonValue v && v.GetValueKind() == JsonValueKind.String && random.Next(6) == 0)
                    o[name] = HostileText.Make(random);
                else if (value is not null)
                    Replace(value, random);
            }
        }
        else if (node is JsonArray a)
        {
            for (int i = 0; i < a.Count; i++)
            {
                if (a[i] is JsonValue v && v.GetValueKind() == JsonValueKind.String && random.Next(6) == 0)
                    a[i] = HostileText.Make(random);
                else if (a[i] is { } value)
                    Replace(value, random);
            }
        }
    }
}
