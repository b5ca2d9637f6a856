using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea demo</c>: the tour.</summary>
internal static class DemoCommand
{
    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Option<bool> json = Shared.Json("Write one JSON object a line to standard output instead of the shown tour.");
        Option<bool> yes = new("--yes", "-y") { Description = "Install the packages that are missing without asking." };
        Option<string> kernel = new("--kernel")
        {
            Description = "Kernel line of the guest; 6.1 boots fastest where there is no KVM.", HelpName = "LINE", DefaultValueFactory = _ => TourOptions.FastestLine,
        };
        kernel.AcceptOnlyFromAmong([.. KernelPackages.Lines]);
        var command = new PanaceaCommand(
            "demo", "Boot a Debian guest under load, crash its kernel four times, and see what is lost with Panacea and without.")
        {
            Examples =
            [
                ("panacea demo", "The tour; asks once before it installs packages."),
                ("panacea demo --kernel 6.12", "The same on the newer kernel."),
                ("panacea demo --yes --json", "For CI: never asks, JSON lines on standard output."),
            ],
            Notes = [("Files", ["${XDG_CACHE_HOME:-~/.cache}/panacea  kernels and guests, so that the second run starts quickly; may be deleted"])],
        };
        command.Add(json);
        command.Add(yes);
        command.Add(kernel);
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.Demo(new DemoRequest(parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(kernel)!), console, interrupts.Token);
        });
        return command;
    }
}

/// <summary><c>panacea bench</c>: measurements on guests of our own.</summary>
internal static class BenchCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Option<bool> json = Shared.Json("Print the figures as JSON.");
        Option<bool> yes = new("--yes", "-y") { Description = "Install the packages that are missing without asking." };
        Option<int> crashes = Count("--crashes", "Crashes per kernel.", 30), rehearsed = Count("--crashes", "Crashes of each kind per guest.", 5), rounds = Count("--rounds", "How often each program reads each dump.", 5);
        Option<string> kernels = new("--kernels") { Description = "Kernel lines, with commas between them.", HelpName = "LINES", DefaultValueFactory = _ => string.Join(',', KernelPackages.Lines) };
        kernels.Validators.Add(result =>
        {
            foreach (string line in result.Tokens.SelectMany(t => t.Value.Split(',')).Where(line => !KernelPackages.Lines.Contains(line)))
                result.AddError($"--kernels: '{line}' is no kernel line of the lab; there are {string.Join(", ", KernelPackages.Lines)}");
        });
        Option<bool> updateDocs = new("--update-docs") { Description = "Write the figures into docs/performance.md of the source tree." };
        var recovery = new PanaceaCommand("recovery", "Measure how long a guest stands still per recovered crash, beside the reboot of the same guest.")
        {
            Examples =
            [
                ("panacea bench recovery", "30 crashes on each kernel, and the reboot for comparison."),
                ("panacea bench recovery --kernels 6.1 --crashes 100 --json", "One kernel, more crashes, figures as JSON."),
                ("panacea bench recovery --update-docs", "And write docs/performance.md of the source tree."),
            ],
        };
        recovery.Add(json);
        recovery.Add(yes);
        recovery.Add(crashes);
        recovery.Add(kernels);
        recovery.Add(updateDocs);
        recovery.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.BenchRecovery(
                new BenchRequest(
                    parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(crashes), [.. parsed.GetValue(kernels)!.Split(',').Distinct()], parsed.GetValue(updateDocs)), console, interrupts.Token);
        });
        var rehearsal = new PanaceaCommand("rehearsal", "Measure how long a guest stands still while repairs are tried on copies of it, beside the same crash without.")
        {
            Examples =
            [
                ("panacea bench rehearsal", "Guests of 512 MiB and 16 GiB of both kernels, with one, two and three plans."),
                ("panacea bench rehearsal --kernels 6.1 --crashes 20 --json", "One kernel, more crashes, figures as JSON."),
                ("panacea bench rehearsal --update-docs", "And write docs/performance.md of the source tree."),
            ],
        };
        rehearsal.Add(json);
        rehearsal.Add(yes);
        rehearsal.Add(rehearsed);
        rehearsal.Add(kernels);
        rehearsal.Add(updateDocs);
        rehearsal.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.BenchRehearsal(
                new BenchRequest(
                    parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(rehearsed), [.. parsed.GetValue(kernels)!.Split(',').Distinct()], parsed.GetValue(updateDocs)), console, interrupts.Token);
        });
        var diagnosis = new PanaceaCommand("diagnosis", "Measure how long the report of a dump takes, beside crash and drgn on the same dump.")
        {
            Examples =
            [
                ("panacea bench diagnosis", "Dumps of 1 GiB and 16 GiB of both kernels; downloads debug packages and the other programs once."),
                ("panacea bench diagnosis --kernels 6.1 --rounds 3 --json", "One kernel, fewer rounds, figures as JSON."),
                ("panacea bench diagnosis --update-docs", "And write docs/performance.md of the source tree."),
            ],
        };
        diagnosis.Add(json);
        diagnosis.Add(yes);
        diagnosis.Add(rounds);
        diagnosis.Add(kernels);
        diagnosis.Add(updateDocs);
        diagnosis.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.BenchDiagnosis(
                new BenchRequest(
                    parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(rounds), [.. parsed.GetValue(kernels)!.Split(',').Distinct()], parsed.GetValue(updateDocs)), console, interrupts.Token);
        });
        var command = new PanaceaCommand("bench", "Measure Panacea on this machine.")
        {
            Examples =
            [
                ("panacea bench recovery", "How long a guest stands still per recovered crash."),
                ("panacea bench rehearsal", "How long it stands still while repairs are tried on copies of it."),
                ("panacea bench diagnosis", "How long the report of a dump takes."),
            ],
        };
        command.Add(recovery);
        command.Add(rehearsal);
        command.Add(diagnosis);
        return command;
    }

    private static Option<int> Count(string name, string description, int usual)
    {
        Option<int> option = new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => usual };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !(int.TryParse(result.Tokens[0].Value, out int n) && n is >= 1 and <= 100_000))
                result.AddError($"{name}: '{result.Tokens[0].Value}' is not a number from 1 to 100000");
        });
        return option;
    }
}
