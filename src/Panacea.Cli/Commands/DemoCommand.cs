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
