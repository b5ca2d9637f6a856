using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Injection;
using Panacea.Lab.Campaign;
using Panacea.Lab.Setup;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea campaign</c>: many faults, each with and without protection.</summary>
internal static class CampaignCommand
{
    private const int UsualTrials = 100, MaxTrials = 100_000;

    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Option<string> output = new("--output") { HelpName = "DIR", Description = "Directory of the results; what is there already is not run again.", Required = true };
        Option<int> trials = new("--trials") { HelpName = "N", Description = "Faults for each kernel and workload.", DefaultValueFactory = _ => UsualTrials };
        trials.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !(int.TryParse(result.Tokens[0].Value, out int n) && n is >= 1 and <= MaxTrials))
                result.AddError($"--trials: '{result.Tokens[0].Value}' is not a number from 1 to {MaxTrials}");
        });
        Option<ulong> seed = new("--seed") { HelpName = "N", Description = "What is chosen: kinds take turns, places and changes follow from it.", DefaultValueFactory = _ => 1 };
        Option<string?> kernels = List("--kernels", "Kernel lines", KernelPackages.Lines);
        Option<string?> workloads = List("--workloads", "What the guests do", [.. CampaignWorkload.All.Select(w => w.Name)]);
        Option<string?> faults = List("--faults", "Kinds of faults, which take turns; all of the literature's model where none is named", [.. FaultKinds.All.Select(k => k.Name)]);
        Option<string?> arms = List("--arms", "What protects the guests", [.. Enum.GetValues<CampaignArm>().Select(NameOf)]);
        Option<string?> at = new("--at") { HelpName = "WHERE", Description = "Where faults of code are: a module, or 'hot'. [default: by seed]" };
        Option<bool> persistent = new("--persistent") { Description = "Faults of code stay for ever. [default: a fault is taken out when its first crash or hang is seen, as a mistake that shows once]" };
        Option<bool> report = new("--report") { Description = "Run nothing: write the report of what is there." };
        Option<bool> yes = new("--yes", "-y") { Description = "Install what is missing without asking." };
        var command = new PanaceaCommand("campaign", "Inject faults into copies of a guest at work, each with and without protection, and say how many it survives.")
        {
            Examples =
            [
                ("panacea campaign --output /tmp/campaign", $"{UsualTrials} faults for each kernel and workload, in every arm. Interrupted, the same command goes on."),
                ("panacea campaign --output /tmp/c --kernels 6.12 --workloads redis --faults branch,pointer --trials 20", "A part of it."),
                ("panacea campaign --output /tmp/campaign --report", "The report of what there is so far."),
            ],
            Notes =
            [
                ("Arms", [
                    "stock-panic  nobody protects the guest; it panics on an oops     stock-oops  it kills the task that oopses and goes on",
                    "quarantine   panacea takes the offending process out, no more     ladder      every repair",
                    "rehearsal    every repair, tried on copies first",
                ]),
                ("Workloads", [.. CampaignWorkload.All.Select(w => $"{w.Name,-9}{w.Summary}")]),
                Shared.ExitCodeNote,
            ],
        };
        foreach (Option option in (Option[])[output, trials, seed, kernels, workloads, faults, arms, at, persistent, report, yes])
            command.Add(option);
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "ending the copies that run; once more ends panacea at once");
            string[] Named(Option<string?> option, IReadOnlyList<string> usual) => parsed.GetValue(option) is { } text ? [.. text.Split(',').Distinct()] : [.. usual];
            return services.Lab.Campaign(
                new CampaignRequest(
                    parsed.GetValue(yes), parsed.GetValue(report), Path.GetFullPath(parsed.GetRequiredValue(output)), parsed.GetValue(trials), parsed.GetValue(seed), Named(kernels, KernelPackages.Lines),
                    Named(workloads, [.. CampaignWorkload.All.Select(w => w.Name)]), Named(faults, []), Named(arms, [.. Enum.GetValues<CampaignArm>().Select(NameOf)]), parsed.GetValue(at), parsed.GetValue(persistent)), console, interrupts.Token);
        });
        return command;
    }

    private static string NameOf(CampaignArm arm) => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(arm.ToString());

    private static Option<string?> List(string name, string description, IReadOnlyList<string> known)
    {
        Option<string?> option = new(name) { HelpName = "NAMES", Description = $"{description}, with commas between them: {string.Join(", ", known)}. [default: all]" };
        option.Validators.Add(result =>
        {
            foreach (string word in (result.GetValueOrDefault<string?>() ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))
            {
                if (!known.Contains(word))
                    result.AddError($"{name}: there is no '{word}'; one of {string.Join(", ", known)}");
            }
        });
        return option;
    }
}
