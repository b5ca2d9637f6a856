using System.CommandLine;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea diagnose</c>: says what happened to a kernel, from a running guest, a dump or a console log.</summary>
internal static class DiagnoseCommand
{
    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<SourceName> source = Shared.Source();
        Option<bool> json = Shared.Json("Print everything as JSON, as docs/diagnosis.schema.json describes it.");
        Option<string?> html = new("--html") { Description = "Write one self-contained HTML file to read in a browser or to mail.", HelpName = "FILE" };
        Option<bool> markdown = new("--markdown") { Description = "Print the report as Markdown: what is printed without an option, too." };
        Option<string[]> rules = RulesOption.Create();
        Option<string[]> debugInfo = new("--debuginfo")
        {
            Description = "Add source lines and inlined functions from debug information of the same build: an unpacked debug package, a directory with vmlinux and modules, vmlinux itself, or debuginfod's cache. May be given several times.",
            HelpName = "DIR",
            AllowMultipleArgumentsPerToken = false,
        };
        var command = new PanaceaCommand("diagnose", "Say what happened to a kernel: the crash, its cause, the state of the machine, and whether it could have gone on. Needs no debug symbols.")
        {
            Examples =
            [
                ("panacea diagnose vmcore", "Read a dump: QEMU's, virsh's, kdump's, makedumpfile's."),
                ("panacea diagnose pid:4242", "Look at a running guest, which is held for milliseconds; also one that stands in panic()."),
                ("panacea diagnose console.log", "Read what a kernel wrote to its console; '-' reads standard input."),
                ("panacea diagnose vmcore --html report.html", "A page to read and to mail."),
                ("panacea diagnose --json vmcore | jq -r .crash.title", "The headline for a script."),
                ("panacea diagnose vmcore --rules issues.yaml --debuginfo /usr/lib/debug", "Say which known issues it looks like, and which lines of source the stacks lead through."),
            ],
            Notes = [Shared.SourceNote, ("Logs", ["A SOURCE that is text is taken for a console log: serial console, dmesg, journalctl -k, pstore; '-' is standard input."]), Shared.ExitCodeNote],
        };
        command.Add(source);
        command.Add(json);
        command.Add(markdown);
        command.Add(html);
        command.Add(rules);
        command.Add(debugInfo);
        command.Validators.Add(result =>
        {
            if (result.GetValue(json) && result.GetValue(markdown))
                result.AddError("--json and --markdown are two forms of the same answer; give one of them");
        });
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still letting go of the VM; once more ends panacea at once");
            SourceName name = parsed.GetRequiredValue(source);
            var options = new DiagnosisOptions(RulesOption.Read(parsed.GetValue(rules)), parsed.GetValue(debugInfo) ?? []);
            DiagnosisAnswer answer = console.Progress("reading the kernel", () => services.Diagnosis.Diagnose(name, options, interrupts.Token));
            if (parsed.GetValue(html) is { } file)
                File.WriteAllText(file, answer.Machine is { } machine ? MachineHtml.Render(machine) : LogHtml.Render(answer.Log!, name.Text));
            if (parsed.GetValue(json))
            {
                console.Out.WriteLine(answer.Machine is { } report
                    ? JsonSerializer.Serialize(report, MachineReportJson.Default.MachineReport)
                    : JsonSerializer.Serialize(answer.Log!, LogDiagnosisJson.Default.LogDiagnosis));
            }
            else if (parsed.GetValue(html) is null || parsed.GetValue(markdown))
            {
                console.Out.Write(answer.Machine is { } report ? MachineMarkdown.Render(report) : LogMarkdown.Render(answer.Log!));
            }

            return ExitCodes.Ok;
        });
        return command;
    }
}
