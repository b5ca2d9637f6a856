using System.CommandLine;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Validators;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea check</c>: checks the structures of a kernel, running or in a dump.</summary>
internal static class CheckCommand
{
    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<SourceName> source = Shared.Source();
        Option<bool> json = Shared.Json("Print everything as JSON.");
        Option<string[]> only = new("--only") { Description = "Run this validator alone; may be given several times.", HelpName = "NAME", AllowMultipleArgumentsPerToken = false };
        only.CompletionSources.Add(_ => Validators.All.Select(v => new System.CommandLine.Completions.CompletionItem(v.Name)));
        Option<string?> image = new("--image") { Description = "An image of this boot made earlier (panacea image build), to compare text and trap gates with.", HelpName = "FILE" };
        var command = new PanaceaCommand("check", "Check the structures of a kernel: lists, tables, counts and pointers that have to agree. A running guest is not stopped.")
        {
            Examples =
            [
                ("panacea check pid:4242", "A check-up of a running guest."),
                ("panacea check vmcore", "What was broken when the dump was taken."),
                ("panacea check vmcore --only tasks --only stacks", "Two of the validators."),
                ("panacea check pid:4242 --image vm1.rimg --only text", "Has the kernel's code changed since the image was built?"),
                ("panacea check --json vmcore | jq -r .validators[].result.findings[].text", "What is broken, for a script."),
            ],
            Notes = [("NAME", [.. Validators.All.Select(v => $"{v.Name,-11} {v.Description}")]), Shared.SourceNote, Shared.ExitCodeNote],
        };
        command.Add(source);
        command.Add(json);
        command.Add(only);
        command.Add(image);
        command.Validators.Add(result =>
        {
            foreach (string name in result.GetValue(only) ?? [])
            {
                if (!Validators.All.Any(v => v.Name == name))
                    result.AddError($"there is no validator '{Safe.Text(name, 64)}'; there are {string.Join(", ", Validators.All.Select(v => v.Name))}");
            }
        });
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still letting go of the VM; once more ends panacea at once");
            CheckUpReport report = console.Progress(
                "checking the kernel", () => services.CheckUps.Check(parsed.GetRequiredValue(source), parsed.GetValue(only) ?? [], parsed.GetValue(image), interrupts.Token));
            if (parsed.GetValue(json))
                console.Out.WriteLine(JsonSerializer.Serialize(report, CheckUpJson.Default.CheckUpReport));
            else
                Print(console, report);
            return report.IsBroken ? ExitCodes.Broken : ExitCodes.Ok;
        });
        return command;
    }

    private static void Print(CliConsole console, CheckUpReport report)
    {
        foreach (ValidatorReport validator in report.Validators)
        {
            string checkedWhat = validator.Result.Checked.Count == 0 ? "nothing" : string.Join(", ", validator.Result.Checked.Select(c => $"{c.Count} {c.What}"));
            (string outcome, Func<string, string> paint) = validator.Outcome switch
            {
                CheckOutcome.Ok => ("ok", (Func<string, string>)console.Paint.Green),
                CheckOutcome.Broken => ($"{validator.Result.Findings.Count} broken", console.Paint.Red),
                _ => ("could not", console.Paint.Yellow),
            };
            console.Out.WriteLine($"{validator.Name,-11} {paint(outcome)}: {checkedWhat}");
            foreach (string missing in validator.Result.Unavailable)
                console.Out.WriteLine($"{"",-11} not checked: {Safe.Text(missing, 512)}");
            foreach (string skipped in validator.Result.Skipped)
                console.Out.WriteLine($"{"",-11} left out: {Safe.Text(skipped, 512)}");
        }

        foreach (Finding finding in report.Findings)
        {
            console.Out.WriteLine();
            console.Out.WriteLine($"{console.Paint.Red(finding.Id)} ({MarkdownReport.Kebab(finding.Confidence)} confidence): {Safe.Text(finding.Text, 1024)}");
            foreach (string evidence in finding.Evidence)
                console.Out.WriteLine($"  {Safe.Text(evidence, 512)}");
        }
    }
}
