using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea demo</c>: the tour.</summary>
internal static class DemoCommand
{
    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Option<bool> json = Shared.Json("Write one JSON object a line to standard output instead of the shown tour.");
        Option<bool> yes = new("--yes", "-y") { Description = "Install the packages that are missing without asking." };
        var command = new PanaceaCommand(
            "demo", "Boot a Debian guest under load, crash its kernel four times, and see what is lost with Panacea and without.")
        {
            Examples =
            [
                ("panacea demo", "The tour; asks once before it installs packages."),
                ("panacea demo --yes --json", "For CI: never asks, JSON lines on standard output."),
            ],
            Notes = [("Files", ["${XDG_CACHE_HOME:-~/.cache}/panacea  kernels and guests, so that the second run starts quickly; may be deleted"])],
        };
        command.Add(json);
        command.Add(yes);
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.Demo(new DemoRequest(parsed.GetValue(json), parsed.GetValue(yes)), console, interrupts.Token);
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
        Option<int> crashes = new("--crashes") { Description = "Crashes per kernel.", HelpName = "N", DefaultValueFactory = _ => 30 };
        crashes.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !(int.TryParse(result.Tokens[0].Value, out int n) && n is >= 1 and <= 100_000))
                result.AddError($"--crashes: '{result.Tokens[0].Value}' is not a number from 1 to 100000");
        });
        var recovery = new PanaceaCommand("recovery", "Measure how long a guest stands still per recovered crash, beside the reboot of the same guest.")
        {
            Examples =
            [
                ("panacea bench recovery", "30 crashes on each kernel, and the reboot for comparison."),
                ("panacea bench recovery --crashes 100 --json", "More crashes, figures as JSON."),
            ],
        };
        recovery.Add(json);
        recovery.Add(yes);
        recovery.Add(crashes);
        recovery.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guest; once more ends panacea at once");
            return services.Lab.BenchRecovery(
                new BenchRequest(parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(crashes)), console, interrupts.Token);
        });
        var command = new PanaceaCommand("bench", "Measure Panacea on this machine.")
        {
            Examples = [("panacea bench recovery", "How long a guest stands still per recovered crash.")],
        };
        command.Add(recovery);
        return command;
    }
}
