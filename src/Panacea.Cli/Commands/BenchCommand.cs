using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Setup;
using Panacea.Lab.Workloads;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea bench</c>: measurements on guests of our own.</summary>
internal static class BenchCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        var command = new PanaceaCommand("bench", "Measure Panacea on this machine.")
        {
            Examples =
            [
                ("panacea bench recovery", "How long a guest stands still per recovered crash."),
                ("panacea bench rehearsal", "How long it stands still while repairs are tried on copies of it."),
                ("panacea bench service", "How long its clients wait at a crash: with Panacea, with a reboot, with a snapshot."),
                ("panacea bench overhead", "What an armed guard takes from the work of a healthy guest."),
                ("panacea bench scale", "What becomes of all that with more memory, tasks, modules, vCPUs and VMs."),
                ("panacea bench diagnosis", "How long the report of a dump takes."),
            ],
        };
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Recovery, "Measure how long a guest stands still per recovered crash, beside the reboot of the same guest.", Count("--crashes", "Crashes per kernel.", 30),
            [
                ("panacea bench recovery", "30 crashes on each kernel, and the reboot for comparison."),
                ("panacea bench recovery --kernels 6.1 --crashes 100 --json", "One kernel, more crashes, figures as JSON."),
            ])));
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Rehearsal, "Measure how long a guest stands still while repairs are tried on copies of it, beside the same crash without.", Count("--crashes", "Crashes of each kind per guest.", 5),
            [
                ("panacea bench rehearsal", "Guests of 512 MiB and 16 GiB of both kernels, with one, two and three plans."),
                ("panacea bench rehearsal --kernels 6.1 --crashes 20 --json", "One kernel, more crashes, figures as JSON."),
            ])));
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Service, "Measure how long clients wait at a crash, beside the reboot of the same guest and its return to a snapshot.", Count("--rounds", "How often each crash is made for each workload.", 5),
            [
                ("panacea bench service", "Five crashes of five kinds for each of four workloads on each kernel."),
                ("panacea bench service --workloads redis --kernels 6.1 --rounds 20", "One workload on one kernel, more rounds."),
            ])
        {
            Workloads = MeasuredService.All,
        }));
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Overhead, "Measure what an armed guard takes from the work of a healthy guest.", Count("--rounds", "Rounds for each workload: without a guard, twice with one, without.", 20),
            [
                ("panacea bench overhead", "20 rounds of some 6 s for each of five workloads on each kernel."),
                ("panacea bench overhead --workloads arithmetic --kernels 6.12 --rounds 100", "One workload on one kernel, more rounds."),
            ])
        {
            Workloads = OverheadBench.All,
        }));
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Scale, "Measure the stop at a crash, the repair image and the guard itself with larger guests, and with many.", Count("--crashes", "Crashes of each guest.", 5),
            [
                ("panacea bench scale", "Guests of up to 64 GiB, 20,000 tasks, 200 modules, 16 vCPUs; 20 VMs in one guard. Takes some 20 minutes."),
                ("panacea bench scale --only vms --kernels 6.12", "Many VMs only, on one kernel."),
            ])
        {
            HasSizes = true,
        }));
        command.Add(Create(console, services, new BenchPage(
            BenchKind.Diagnosis, "Measure how long the report of a dump takes, beside crash and drgn on the same dump.", Count("--rounds", "How often each program reads each dump.", 5),
            [
                ("panacea bench diagnosis", "Dumps of 1 GiB and 16 GiB of both kernels; downloads debug packages and the other programs once."),
                ("panacea bench diagnosis --kernels 6.1 --rounds 3 --json", "One kernel, fewer rounds, figures as JSON."),
            ])));
        return command;
    }

    private static PanaceaCommand Create(CliConsole console, CliServices services, BenchPage page)
    {
        string name = page.Kind.ToString().ToLowerInvariant(), document = BenchRequest.DocumentOf(page.Kind);
        Option<bool> json = Shared.Json("Print the figures as JSON.");
        Option<bool> yes = new("--yes", "-y") { Description = "Install the packages that are missing without asking." };
        Option<string> kernels = Names("--kernels", "LINES", "Kernel lines", KernelPackages.Lines, "is no kernel line of the lab");
        Option<string> workloads = Names("--workloads", "NAMES", "What the guests do", [.. page.Workloads.Select(w => w.Name)], "is no workload of this benchmark");
        Option<string> only = Names("--only", "NAMES", "What is made larger", ScaleSizes.Names, "can't be made larger");
        Option<bool> updateDocs = new("--update-docs") { Description = $"Write the figures into docs/{document} of the source tree." };
        var command = new PanaceaCommand(name, page.Summary)
        {
            Examples = [.. page.Examples, ($"panacea bench {name} --update-docs", $"And write docs/{document} of the source tree.")],
            Notes = page.Workloads.Count == 0 ? [] : [("Workloads", [.. page.Workloads.Select(w => $"{w.Name,-12}{w.Summary}")])],
        };
        command.Add(json);
        command.Add(yes);
        command.Add(page.Count);
        command.Add(kernels);
        if (page.Workloads.Count > 0)
            command.Add(workloads);
        if (page.HasSizes)
            command.Add(only);
        command.Add(updateDocs);
        command.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(console, "still ending the guests; once more ends panacea at once");
            string[] Chosen(Option<string> option) => [.. parsed.GetValue(option)!.Split(',').Distinct()];
            var request = new BenchRequest(page.Kind, parsed.GetValue(json), parsed.GetValue(yes), parsed.GetValue(page.Count), Chosen(kernels), parsed.GetValue(updateDocs))
            {
                Workloads = page.Workloads.Count > 0 ? Chosen(workloads) : [], Only = page.HasSizes ? Chosen(only) : [],
            };
            return services.Lab.Bench(request, console, interrupts.Token);
        });
        return command;
    }

    private static Option<string> Names(string name, string helpName, string description, IReadOnlyList<string> known, string wrong)
    {
        Option<string> option = new(name) { Description = $"{description}, with commas between them.", HelpName = helpName, DefaultValueFactory = _ => string.Join(',', known) };
        option.Validators.Add(result =>
        {
            foreach (string word in result.Tokens.SelectMany(t => t.Value.Split(',')).Where(word => !known.Contains(word)))
                result.AddError($"{name}: '{word}' {wrong}; there are {string.Join(", ", known)}");
        });
        return option;
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

    /// <summary>What differs from one benchmark to the other.</summary>
    /// <param name="Kind">Which.</param>
    /// <param name="Summary">In a sentence.</param>
    /// <param name="Count">How much is measured.</param>
    /// <param name="Examples">Examples.</param>
    private sealed record BenchPage(BenchKind Kind, string Summary, Option<int> Count, IReadOnlyList<(string Command, string What)> Examples)
    {
        /// <summary>Workloads to choose from; empty where there is no choice.</summary>
        public IReadOnlyList<MeasuredService> Workloads { get; init; } = [];

        /// <summary>It can be told what to make larger.</summary>
        public bool HasSizes { get; init; }
    }
}
