using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Sessions;
using Panacea.Sessions.Policy;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea guard</c>: protects running VMs until interrupted.</summary>
internal static class GuardCommand
{
    /// <summary>How long the last events may take to be written after all VMs were let go.</summary>
    private static readonly TimeSpan WritersPatience = TimeSpan.FromSeconds(2);

    /// <summary>What holds where nobody says otherwise.</summary>
    private static readonly GuardOptions Usual = new() { ImageCache = "" };

    private const string Here = "the command line";

    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<TargetName[]> targets = Shared.Targets();
        Option<bool> json = Shared.Json("Write one JSON object a line to standard output, as docs/incident.md describes; logs go to standard error.");
        Option<GuardMode?> mode = Mode();
        Option<TimeSpan?> healthWindow = Shared.Duration(
            "--health-window", "How long a repaired guest is watched before the repair counts as good.",
            Usual.HealthWindow, PolicyLimits.HealthWindow.Least, PolicyLimits.HealthWindow.Most);
        Option<TimeSpan?> stopBudget = Shared.Duration(
            "--stop-budget", "How long any one answer of QEMU is waited for while the guest stands still.",
            Usual.StopBudget, PolicyLimits.StopBudget.Least, PolicyLimits.StopBudget.Most);
        Option<int?> repairLimit = new("--repair-limit")
        {
            Description = "Repairs of one VM within 10 minutes after which it is left to what it would do alone; 0 for no limit. [default: 100]", HelpName = "N",
        };
        repairLimit.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() is < 0 or > PolicyLimits.MaxRepairLimit)
                result.AddError("--repair-limit takes a number from 0 to 1000000");
        });
        Option<QuarantineKind?> quarantine = Quarantine();
        Option<TimeSpan?> hangs = Hangs();
        Option<int?> fuse = Fuse();
        Option<RehearsalMode?> rehearse = Rehearse();
        Option<string?> records = new("--records") { Description = "Directory for incident records [default: ~/.local/state/panacea/incidents]", HelpName = "DIR" };
        Option<string?> images = new("--image-cache") { Description = "Directory for repair images [default: ~/.cache/panacea/images]", HelpName = "DIR" };

        Option<string[]> rules = RulesOption.Create();
        Option<string?> policy = PolicyOption.Create();
        Option<bool> checkUp = new("--check-up") { Description = "After a repair, check the kernel's structures while the guest runs (seconds of CPU; a crash meanwhile stands some ms longer)." };
        Option<FallbackAction?> fallback = FallbackOptions.Then();
        Option<string?> fallbackDump = new("--fallback-dump") { Description = "Directory for a dump of a guest that is not repaired, written before --fallback. [default: no dump]", HelpName = "DIR" };
        var command = new PanaceaCommand("guard", "Protect running VMs: when a guest kernel crashes, diagnose it, repair it, let it go on. Runs until interrupted.")
        {
            Examples =
            [
                ("panacea guard qmp:/run/vm1.qmp", "Protect one VM until Ctrl-C, which lets go of it cleanly."),
                ("panacea guard --mode observe pid:4242", "Diagnose and record crashes, change nothing: the way to begin on a VM that matters."),
                ("panacea guard --json pid:4242 pid:4243 | jq 'select(.event == \"incident\")'", "Protect two VMs and pick the incidents out of the events."),
                ("panacea guard --policy /etc/panacea/policy.yaml qmp:/run/vm1.qmp qmp:/run/vm2.qmp", "Guard each VM as a policy file says."),
                ("panacea guard --fallback reset --fallback-dump /srv/dumps pid:4242", "A crash that can't be repaired: dump, then reset."),
                ("panacea guard --rehearse=auto pid:4242", "Try doubtful repairs on copies of the crashed VM first (its memory has to be shared)."),
                ("panacea guard --health-window 10s --records /srv/incidents qmp:/run/vm1.qmp", "Watch longer after a repair, keep the records elsewhere."),
            ],
            Notes =
            [
                Shared.TargetNote,
                ("Modes", [
                    "observe     diagnose and record; the guest then does what it would have done alone (panic, kdump, reboot)",
                    "quarantine  the only repair is to take the offending process out",
                    "full        every repair, the one that loses least first",
                ]),
                FallbackOptions.Note,
                ("Signals", [
                    "SIGINT, SIGTERM and SIGHUP let go of every VM and end guard with exit code 0. If guard is killed, run it again:",
                    "it finds a VM that was left stopped at a crash and carries on.",
                ]),
                Shared.ExitCodeNote,
            ],
        };
        command.Add(targets);
        foreach (Option option in (Option[])[json, mode, healthWindow, stopBudget, repairLimit, quarantine, hangs, fuse, rehearse, policy, records, images, rules, checkUp, fallback, fallbackDump])
            command.Add(option);
        command.SetAction(parsed =>
        {
            var said = new PolicySettings
            {
                Mode = Said(parsed.GetValue(mode)), HealthWindow = Said(parsed.GetValue(healthWindow)), StopBudget = Said(parsed.GetValue(stopBudget)),
                RepairLimit = Said(parsed.GetValue(repairLimit)), Quarantine = Said(parsed.GetValue(quarantine)),
                DetectHangs = parsed.GetValue(hangs) is { } told ? new Setting<bool>(told != TimeSpan.Zero, Here) : null,
                HangsAfter = parsed.GetValue(hangs) is { } after && after != TimeSpan.Zero ? new Setting<TimeSpan>(after, Here) : null,
                FuseAfter = Said(parsed.GetValue(fuse)), Rehearse = Said(parsed.GetValue(rehearse)),
                FallbackThen = Said(parsed.GetValue(fallback)), FallbackDump = parsed.GetValue(fallbackDump) is { } dumps ? new Setting<string?>(dumps, Here) : null,
                CheckUp = parsed.GetResult(checkUp) is { Implicit: false } ? new Setting<bool>(parsed.GetValue(checkUp), Here) : null,
            };
            GuardOptions basis = Usual with { ImageCache = Path.GetFullPath(parsed.GetValue(images) ?? StatePaths.Images), KnownIssues = RulesOption.Read(parsed.GetValue(rules)) };
            GuardPolicy? file = PolicyOption.Read(parsed.GetValue(policy), console);
            return Run(
                console, services, [.. parsed.GetRequiredValue(targets).Select(t => (t, FallbackOptions.Prepare(PolicyOption.OptionsFor(t, file, said, basis))))], parsed.GetValue(json), parsed.GetValue(records));
        });
        return command;
    }

    private static int Run(CliConsole console, CliServices services, (TargetName Name, GuardOptions Options)[] targets, bool json, string? records)
    {
        using var interrupts = new Interrupts(console, "still letting go of the VMs; once more ends panacea at once and leaves that to the next guard");
        GuardedVm[] vms = [.. targets.Select(target => services.Guards.Create(target.Name, target.Options))];
        IEventWriter writer = json
            ? new JsonEventWriter(console.Out)
            : new HumanEventWriter(console.Out, console.Paint, services.Time, Math.Min(40, targets.Max(t => t.Name.Text.Length)));
        var store = new IncidentStore(Path.GetFullPath(records ?? StatePaths.Incidents), console.Note);
        using var queue = new EventQueue([writer, new ErrorEventWriter(console, warnings: json)], console.Note);
        queue.Start();
        var host = new GuardHost(queue, store, (_, failure) => OnBug(console, failure));
        IReadOnlyList<GuardEnd> ends = host.Run(vms, interrupts.Token);
        if (!queue.Close(WritersPatience))
            console.Note("the last events could not be written: the reader of standard output does not read");
        return ends.Max() switch
        {
            GuardEnd.Clean => ExitCodes.Ok,
            GuardEnd.TargetProblem => ExitCodes.Target,
            GuardEnd.ImageProblem => ExitCodes.Image,
            _ => ExitCodes.Bug,
        };
    }

    private static Setting<T>? Said<T>(T? value)
        where T : struct => value is { } given ? new Setting<T>(given, Here) : null;

    private static void OnBug(CliConsole console, Exception failure)
    {
        console.Note("Please report what comes next; PANACEA_DEBUG=1 shows where it happened.");
        if (Environment.GetEnvironmentVariable("PANACEA_DEBUG") == "1")
            console.Trace(failure);
    }

    /// <summary>A duration, or "off", which is zero.</summary>
    private static Option<TimeSpan?> Hangs() => new("--hangs")
    {
        Description = $"How long after its onset a hang is seen and broken, in processor time of the vCPU; off: nobody looks for hangs. [default: {Durations.Format(Usual.Hangs.After)}]",
        HelpName = "DURATION|off",
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (text == "off")
                return TimeSpan.Zero;
            if (Durations.TryParse(text, out TimeSpan after) && after >= PolicyLimits.HangsAfter.Least && after <= PolicyLimits.HangsAfter.Most)
                return after;
            result.AddError($"--hangs: '{text}' is neither a duration from {Durations.Format(PolicyLimits.HangsAfter.Least)} to {Durations.Format(PolicyLimits.HangsAfter.Most)} nor off; write it as 2s");
            return null;
        },
    };

    /// <summary>A number, or "off", which is zero.</summary>
    private static Option<int?> Fuse() => new("--fuse")
    {
        Description = $"After how many crashes within 10 minutes that were repaired by making the same function of a module return it gets a fuse: it returns at once; off: never. [default: {Usual.Fuse.After}]",
        HelpName = "N|off",
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (text == "off")
                return 0;
            if (int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int after) && after is > 0 and <= PolicyLimits.MaxFuseAfter)
                return after;
            result.AddError($"--fuse: '{text}' is neither a number from 1 to {PolicyLimits.MaxFuseAfter} nor off");
            return null;
        },
    };

    /// <summary>A mode, or nothing, which is auto.</summary>
    private static Option<RehearsalMode?> Rehearse()
    {
        var option = new Option<RehearsalMode?>("--rehearse")
        {
            Description = "Try repairs on copies of the crashed VM first: =auto (where the first is doubtful, or did not last before; the same without a mode), =always, =never. [default: never]",
            HelpName = "MODE",
            Arity = ArgumentArity.ZeroOrOne,
            CustomParser = result =>
            {
                switch (result.Tokens is [var token] ? token.Value : "auto")
                {
                    case "auto":
                        return RehearsalMode.Auto;
                    case "always":
                        return RehearsalMode.Always;
                    case "never":
                        return RehearsalMode.Never;
                    default:
                        result.AddError($"--rehearse: '{result.Tokens[0].Value}' is no mode of rehearsal; write --rehearse=auto, --rehearse=always or --rehearse=never");
                        return null;
                }
            },
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add("auto", "always", "never");
        return option;
    }

    private static Option<QuarantineKind?> Quarantine()
    {
        var option = new Option<QuarantineKind?>("--quarantine")
        {
            Description = "What is done with a process that has to be taken out: kill, or freeze (it sleeps for ever, for inspection). [default: kill]",
            HelpName = "KIND",
            CustomParser = result =>
            {
                switch (result.Tokens[0].Value)
                {
                    case "kill":
                        return QuarantineKind.Kill;
                    case "freeze":
                        return QuarantineKind.Freeze;
                    default:
                        result.AddError($"--quarantine: '{result.Tokens[0].Value}' is no kind of quarantine; write kill or freeze");
                        return null;
                }
            },
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add("kill", "freeze");
        return option;
    }

    private static Option<GuardMode?> Mode()
    {
        var option = new Option<GuardMode?>("--mode")
        {
            Description = "How much Panacea may do: observe, quarantine or full. [default: full]",
            HelpName = "MODE",
            CustomParser = result =>
            {
                switch (result.Tokens[0].Value)
                {
                    case "observe":
                        return GuardMode.Observe;
                    case "quarantine":
                        return GuardMode.Quarantine;
                    case "full":
                        return GuardMode.Full;
                    default:
                        result.AddError($"--mode: '{result.Tokens[0].Value}' is no mode; write observe, quarantine or full");
                        return GuardMode.Full;
                }
            },
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add("observe", "quarantine", "full");
        return option;
    }
}
