using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats.Yaml;
using Panacea.Injection;
using Panacea.Lab.Campaign;
using Panacea.Lab.Setup;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea campaign</c>: many faults, each with and without protection; and checks of the files that say which.</summary>
internal static class CampaignCommand
{
    private static readonly string[] Workloads = [.. CampaignWorkload.All.Select(w => w.Name)], Arms = [.. Enum.GetValues<CampaignArm>().Select(CampaignFile.NameOf)];

    /// <summary>The command and its subcommand.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<string?> file = new("FILE") { Description = "A campaign file, see docs/campaign.md; options given here win over it.", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> output = new("--output") { HelpName = "DIR", Description = "Directory of the results; what is there already is not run again." };
        Option<int?> trials = new("--trials") { HelpName = "N", Description = $"Faults for each kernel and workload. [default: {CampaignSettings.UsualTrials}]" };
        trials.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !(int.TryParse(result.Tokens[0].Value, out int n) && n is >= 1 and <= CampaignSettings.MaxTrials))
                result.AddError($"--trials: '{result.Tokens[0].Value}' is not a number from 1 to {CampaignSettings.MaxTrials}");
        });
        Option<ulong?> seed = new("--seed") { HelpName = "N", Description = $"What is chosen: kinds take turns, places and changes follow from it. [default: {CampaignSettings.UsualSeed}]" };
        Option<string?> kernels = List("--kernels", "Kernel lines", KernelPackages.Lines);
        Option<string?> workloads = List("--workloads", "What the guests do", Workloads);
        Option<string?> faults = List("--faults", "Kinds of faults, which take turns; all of the literature's model where none is named", [.. FaultKinds.All.Select(k => k.Name)]);
        Option<string?> arms = List("--arms", "What protects the guests", Arms);
        Option<string?> whereManifested = List("--where-manifested", "Arms that are run only for faults that did something in one of the others", Arms, "none");
        Option<string?> at = new("--at") { HelpName = "WHERE", Description = "Where faults of code are: a module, or 'hot'. [default: by seed]" };
        Option<bool?> persistent = new("--persistent") { Description = "Faults of code stay for ever. [default: a fault is taken out when its first crash or hang is seen, as a mistake that shows once]" };
        Option<bool> yes = new("--yes", "-y") { Description = "Install what is missing without asking." };
        var command = new PanaceaCommand("campaign", "Inject faults into copies of a guest at work, each with and without protection, and say how many it survives.")
        {
            Examples =
            [
                ("panacea campaign --output /tmp/campaign", $"{CampaignSettings.UsualTrials} faults for each kernel and workload, in every arm. Interrupted, the same command goes on."),
                ("panacea campaign --output /tmp/c --kernels 6.12 --workloads redis --faults branch,pointer --trials 20", "A part of it."),
                ("panacea campaign drivers.yaml --trials 5", "What a file says, but for the number of faults."),
                ("panacea campaign check drivers.yaml", "Tell every mistake of a file, and run nothing."),
                ("panacea campaign report /tmp/campaign", "Run nothing: the report of what there is so far."),
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
        command.Add(file);
        foreach (Option option in (Option[])[output, trials, seed, kernels, workloads, faults, arms, whereManifested, at, persistent, yes])
            command.Add(option);
        command.Add(Check(console));
        command.Add(Replay(console, services));
        command.Add(Report(console, services));
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "ending the copies that run; once more ends panacea at once");
            string[]? Named(Option<string?> option) => parsed.GetValue(option) is { } text ? [.. text.Split(',', StringSplitOptions.RemoveEmptyEntries).Distinct()] : null;
            CampaignSettings settings = new CampaignSettings
            {
                Output = parsed.GetValue(output) is { } directory ? Path.GetFullPath(directory) : null,
                Kernels = Named(kernels),
                Workloads = Named(workloads),
                Trials = parsed.GetValue(trials),
                Seed = parsed.GetValue(seed),
                Faults = Named(faults),
                At = parsed.GetValue(at),
                Arms = Named(arms),
                WhereManifested = Named(whereManifested),
                IsPersistent = parsed.GetValue(persistent),
            }.Over(ReadFile(parsed.GetValue(file), console));
            return services.Lab.Campaign(RequestOf(settings, parsed.GetValue(yes)), console, interrupts.Token);
        });
        return command;
    }

    private static PanaceaCommand Check(CliConsole console)
    {
        Argument<string> file = new("FILE") { Description = "A campaign file, see docs/campaign.md." };
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("check", "Check a campaign file: every mistake is told at once, as FILE:LINE:COL. Nothing is run.")
        {
            Examples =
            [
                ("panacea campaign check drivers.yaml", "Exit code 0 where the file is good, 2 where it has mistakes."),
                ("panacea campaign check --json drivers.yaml | jq -r .mistakes[].message", "What is wrong, for a script."),
            ],
        };
        command.Add(file);
        command.Add(json);
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            CampaignReading reading = CampaignFile.Read(path);
            if (parsed.GetValue(json))
            {
                var answer = new CampaignCheck(path, reading.Settings is not null, [.. reading.Mistakes.Select(m => new FileMistake(m.Line, m.Column, m.Sentence))]);
                console.Out.WriteLine(JsonSerializer.Serialize(answer, CliJson.Default.CampaignCheck));
            }
            else
            {
                foreach (YamlMistake mistake in reading.Mistakes)
                    console.Out.WriteLine(Safe.Text(YamlFile.Line(path, mistake)));
                if (reading.Settings is { } settings)
                    console.Out.WriteLine(Summary(path, settings));
            }

            if (reading.Settings is not null)
                return ExitCodes.Ok;
            console.ErrorLine(Shared.Mistakes(path, reading.Mistakes.Count));
            return ExitCodes.Usage;
        });
        return command;
    }

    private static PanaceaCommand Replay(CliConsole console, CliServices services)
    {
        Argument<string> campaign = new("DIR") { Description = "Directory of a campaign." };
        Option<string?> output = new("--output") { HelpName = "DIR", Description = "Directory of the new results; what is there already is not run again." };
        Option<string?> only = new("--only") { HelpName = "FAULTS", Description = "Faults, by workload and number, as redis:3,bank:12. [default: those whose guests were not saved in one of the arms]" };
        Option<string?> kernels = List("--kernels", "Kernel lines", KernelPackages.Lines);
        Option<string?> arms = List("--arms", "What protects the guests", Arms, "ladder");
        Option<bool> yes = new("--yes", "-y") { Description = "Install what is missing without asking." };
        var command = new PanaceaCommand("replay", "Try faults of a campaign again, in guests that are booted anew: those that guests were not saved from, or some.")
        {
            Examples =
            [
                ("panacea campaign replay /tmp/campaign --output /tmp/again", "What the ladder failed at."),
                ("panacea campaign replay /tmp/campaign --only redis:3 --arms ladder,rehearsal --output /tmp/again", "One fault, in two arms."),
            ],
            Notes =
            [
                ("The same faults", [
                    "A fault of code is the same change of the same instruction, where the kernel is the same build. Who comes by it first, and when, may differ.",
                    "Faults of data and of registers are chosen by the same seed in what the new guest has there.",
                ]),
                Shared.ExitCodeNote,
            ],
        };
        command.Add(campaign);
        foreach (Option option in (Option[])[output, only, kernels, arms, yes])
            command.Add(option);
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "ending the copies that run; once more ends panacea at once");
            string[] Named(Option<string?> option, IReadOnlyList<string> standard) => [.. parsed.GetValue(option)?.Split(',', StringSplitOptions.RemoveEmptyEntries).Distinct() ?? standard];
            string from = DirectoryOf(parsed.GetRequiredValue(campaign));
            string to = DirectoryOf(parsed.GetValue(output) ?? throw new CliException(ExitCodes.Usage, "where do the results go? say --output DIR"));
            if (to == from)
                throw new CliException(ExitCodes.Usage, "the new results need a directory of their own; give another --output");
            return services.Lab.CampaignReplay(new CampaignReplayRequest(from, to, [.. Named(only, []).Select(FaultOf)], Named(kernels, KernelPackages.Lines), Named(arms, ["ladder"]), parsed.GetValue(yes)), console, interrupts.Token);
        });
        return command;
    }

    private static string DirectoryOf(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    /// <summary>A fault as it is written: workload:number.</summary>
    private static (string Workload, int Trial) FaultOf(string word)
    {
        string[] parts = word.Split(':');
        return parts.Length == 2 && Workloads.Contains(parts[0]) && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int trial)
            ? (parts[0], trial) : throw new CliException(ExitCodes.Usage, $"--only: '{word}' is no fault of a campaign; write workload and number, as redis:3");
    }

    private static PanaceaCommand Report(CliConsole console, CliServices services)
    {
        Argument<string[]> campaigns = new("DIR") { Description = "Directories of campaigns with seeds of their own; results.jsonl in them may be compressed (results.jsonl.gz).", Arity = ArgumentArity.OneOrMore };
        Option<string?> output = new("--output") { HelpName = "DIR", Description = "Where report.md and report.html go. [default: the directory of the campaign, where there is one]" };
        var command = new PanaceaCommand("report", "Write the report of campaigns as far as they were run, of several together. Nothing is run.")
        {
            Examples =
            [
                ("panacea campaign report /tmp/campaign", "Of what there is so far."),
                ("panacea campaign report docs/evaluation/* --output /tmp/report", "Of several campaigns together."),
            ],
            Notes =
            [
                ("Causes", [
                    "What is known of a guest that was not saved can be written beside its results, a line of JSON each in causes.jsonl, and is in the report:",
                    """{"kernel":"6.1","workload":"redis","trial":3,"arm":"ladder","class":"lost wakeup","cause":"..."}   without 'arm': in all of them""",
                ]),
                Shared.ExitCodeNote,
            ],
        };
        command.Add(campaigns);
        command.Add(output);
        command.SetAction(parsed =>
        {
            string[] all = [.. parsed.GetRequiredValue(campaigns).Select(DirectoryOf).Distinct()];
            string? directory = parsed.GetValue(output) is { } given ? DirectoryOf(given) : all.Length == 1 ? all[0] : null;
            return services.Lab.CampaignReport(
                new CampaignReportRequest(all, directory ?? throw new CliException(ExitCodes.Usage, "where does the report of several campaigns go? say --output DIR")), console);
        });
        return command;
    }

    private static string Summary(string path, CampaignSettings settings)
    {
        CampaignRequest all = RequestOf(settings with { Output = settings.Output ?? "" }, false);
        string faults = string.Create(CultureInfo.InvariantCulture, $"{all.Kernels.Count} × {all.Workloads.Count} × {all.Trials} faults (kernels, workloads, trials), each in {all.Arms.Count} {(all.Arms.Count == 1 ? "arm" : "arms")}{(all.WhereManifested.Count > 0 ? $", {all.WhereManifested.Count} of them only where it has done something in one of the others" : "")}");
        return $"{Safe.Text(path)} is good: {faults}; {(settings.Output is { } output ? $"results go to {Safe.Text(output)}" : "--output has to say where results go")}.";
    }

    private static CampaignSettings ReadFile(string? file, CliConsole console)
    {
        if (file is null)
            return CampaignSettings.None;
        CampaignReading reading = CampaignFile.Read(file);
        if (reading.Settings is { } settings)
            return settings;
        foreach (YamlMistake mistake in reading.Mistakes)
            console.Note(YamlFile.Line(file, mistake));
        throw new CliException(ExitCodes.Usage, Shared.Mistakes(file, reading.Mistakes.Count));
    }

    private static CampaignRequest RequestOf(CampaignSettings settings, bool yes)
    {
        IReadOnlyList<string> arms = settings.Arms ?? Arms, where = [.. (settings.WhereManifested ?? []).Where(arms.Contains)];
        if (where.Count == arms.Count)
            throw new CliException(ExitCodes.Usage, $"no arm is left that would say which faults do something; leave one of {string.Join(", ", arms)} out of where-manifested");
        return new CampaignRequest(
            yes, settings.Output ?? throw new CliException(ExitCodes.Usage, "where do the results go? say --output DIR, or 'output:' in a campaign file"), settings.Trials ?? CampaignSettings.UsualTrials,
            settings.Seed ?? CampaignSettings.UsualSeed, settings.Kernels ?? KernelPackages.Lines, settings.Workloads ?? Workloads, settings.Faults ?? [], arms, where, settings.At, settings.IsPersistent ?? false);
    }

    private static Option<string?> List(string name, string description, IReadOnlyList<string> known, string standard = "all")
    {
        Option<string?> option = new(name) { HelpName = "NAMES", Description = $"{description}, with commas between them: {string.Join(", ", known)}. [default: {standard}]" };
        option.Validators.Add(result =>
        {
            string[] words = (result.GetValueOrDefault<string?>() ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries);
            if (result.Tokens.Count == 1 && words.Length == 0)
                result.AddError($"{name}: nothing is named; one of {string.Join(", ", known)}");
            foreach (string word in words)
            {
                if (!known.Contains(word))
                    result.AddError($"{name}: there is no '{word}'; one of {string.Join(", ", known)}");
            }
        });
        return option;
    }
}
