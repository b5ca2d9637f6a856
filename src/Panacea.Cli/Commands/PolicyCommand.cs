using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats.Yaml;
using Panacea.Sessions;
using Panacea.Sessions.Policy;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea policy</c>: checks policy files, and says why a crash was repaired as it was.</summary>
internal static class PolicyCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console)
    {
        var command = new PanaceaCommand("policy", "Check a policy file, or say why a crash was repaired as it was.")
        {
            Examples =
            [
                ("panacea policy check policy.yaml", "Tell every mistake of a policy file."),
                ("panacea policy explain 20261123-140500-4f2a", "Say why each repair was used or not at a crash."),
            ],
            Notes = [Shared.ExitCodeNote],
        };
        command.Add(Check(console));
        command.Add(Explain(console));
        return command;
    }

    private static PanaceaCommand Check(CliConsole console)
    {
        Argument<string> file = new("FILE") { Description = "A policy file, see docs/policy.md." };
        Option<TargetName?> vm = Shared.TargetOption("--vm", "Say what would hold for this VM, and which line of the file says so. The VM need not run.");
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("check", "Check a policy file: every mistake is told at once, as FILE:LINE:COL.")
        {
            Examples =
            [
                ("panacea policy check policy.yaml", "Exit code 0 where the file is good, 2 where it has mistakes."),
                ("panacea policy check policy.yaml --vm qmp:/run/vm1.qmp", "What would hold for a VM."),
                ("panacea policy check --json policy.yaml | jq -r .mistakes[].message", "What is wrong, for a script."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(file);
        command.Add(vm);
        command.Add(json);
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            PolicyReading reading = PolicyFile.Read(path);
            PolicyVm? held = reading.Policy is { } policy && parsed.GetValue(vm) is { } target ? Held(policy, target) : null;
            if (parsed.GetValue(json))
            {
                var answer = new PolicyCheck(
                    path, reading.Policy is not null, [.. reading.Mistakes.Select(m => new FileMistake(m.Line, m.Column, m.Sentence))], reading.Policy?.Entries.Count ?? 0, held);
                console.Out.WriteLine(JsonSerializer.Serialize(answer, CliJson.Default.PolicyCheck));
            }
            else
            {
                Print(console, path, reading, held);
            }

            if (reading.Policy is not null)
                return ExitCodes.Ok;
            console.ErrorLine(Shared.Mistakes(path, reading.Mistakes.Count));
            return ExitCodes.Usage;
        });
        return command;
    }

    private static PanaceaCommand Explain(CliConsole console)
    {
        Argument<string> incident = new("INCIDENT") { Description = "An incident's id, its directory or its incident.json." };
        Option<string?> records = new("--records") { Description = "Directory of incident records [default: ~/.local/state/panacea/incidents]", HelpName = "DIR" };
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("explain", "Say why each repair was used or not at a crash: the ladder as it was gone through, and the policy that held.")
        {
            Examples =
            [
                ("panacea policy explain 20261123-140500-4f2a", "By the id that guard has printed."),
                ("panacea policy explain --records /srv/incidents 20261123-140500-4f2a", "Where guard was given --records."),
                ("panacea policy explain --json ./20261123-140500-4f2a | jq -r '.rungs[] | .repair + \": \" + .verdict'", "For a script."),
            ],
        };
        command.Add(incident);
        command.Add(records);
        command.Add(json);
        command.SetAction(parsed =>
        {
            try
            {
                Incident record = IncidentRecords.Read(IncidentRecords.Find(Path.GetFullPath(parsed.GetValue(records) ?? StatePaths.Incidents), parsed.GetRequiredValue(incident)));
                LadderExplanation explanation = LadderExplanation.Of(record);
                if (parsed.GetValue(json))
                    console.Out.WriteLine(JsonSerializer.Serialize(explanation, LadderExplanationJson.Default.LadderExplanation));
                else
                    console.Out.Write(explanation.Render(IncidentReport.Headline(record)));
                return ExitCodes.Ok;
            }
            catch (IncidentRecordException e)
            {
                throw new CliException(e.IsMissing ? ExitCodes.Usage : ExitCodes.Failure, e.Message, e);
            }
        });
        return command;
    }

    private static PolicyVm Held(GuardPolicy policy, TargetName target) => new(
        target.Text, policy.EntryFor(target.Text) is { } entry ? new PolicyMatch(entry.Match.Text, entry.Line) : null,
        PolicyText.Lines(policy.For(target.Text), new GuardOptions { ImageCache = "" }));

    private static void Print(CliConsole console, string path, PolicyReading reading, PolicyVm? held)
    {
        foreach (YamlMistake mistake in reading.Mistakes)
            console.Out.WriteLine(Safe.Text(YamlFile.Line(path, mistake)));
        if (reading.Policy is not { } policy)
            return;
        console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Safe.Text(path)} is good: {policy.Entries.Count} {(policy.Entries.Count == 1 ? "entry" : "entries")} for VMs, and what is said for all the others."));
        if (held is null)
            return;
        console.Out.WriteLine();
        console.Out.WriteLine(held.Entry is { } entry
            ? string.Create(CultureInfo.InvariantCulture, $"{Safe.Text(held.Target)}: the entry '{Safe.Text(entry.Match)}' at line {entry.Line}")
            : $"{Safe.Text(held.Target)}: no entry matches; the defaults");
        var columns = new Columns(("SETTING", false), ("VALUE", false), ("SAID BY", false));
        foreach (PolicyLine line in held.Settings)
            columns.Add(line.Name, line.Value, line.Place);
        columns.WriteTo(console.Out, console.Paint);
    }
}
