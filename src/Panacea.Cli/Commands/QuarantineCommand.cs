using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Sessions.Control;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea quarantine</c>: tasks of a guest that were put to sleep for ever where they crashed.</summary>
internal static class QuarantineCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        var command = new PanaceaCommand("quarantine", "List, inspect and end frozen tasks: those that guard put to sleep for ever where they crashed (--quarantine freeze).")
        {
            Examples =
            [
                ("panacea quarantine list pid:4242", "Which tasks are frozen, and where."),
                ("panacea quarantine inspect pid:4242 1307", "The stack of one, as it crashed."),
                ("panacea quarantine kill pid:4242 1307", "End it: its memory and files are given back."),
            ],
            Notes = [Shared.TargetNote, Shared.ExitCodeNote],
        };
        command.Add(List(console, services));
        command.Add(Inspect(console, services));
        command.Add(Kill(console, services));
        return command;
    }

    private static PanaceaCommand List(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("list", "Say which tasks are frozen. The guest is not stopped.")
        {
            Examples =
            [
                ("panacea quarantine list qmp:/run/vm1.qmp", "Of a VM, guarded or not."),
                ("panacea quarantine list --json pid:4242 | jq -r .frozen[].pid", "For a script."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(json);
        command.SetAction(parsed => Ask(console, services, parsed.GetRequiredValue(target), new QuarantineListRequest(), parsed.GetValue(json)));
        return command;
    }

    private static PanaceaCommand Inspect(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Argument<int> task = Task();
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("inspect", "Show the stack of a frozen task, as it crashed. The guest is not stopped.")
        {
            Examples =
            [
                ("panacea quarantine inspect pid:4242 1307", "From where it sleeps outwards."),
                ("panacea inspect pid:4242 task 1307", "Everything else about it, where no guard holds the VM."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(task);
        command.Add(json);
        command.SetAction(parsed =>
        {
            GuestAnswer answer = RequestAnswers.Get(console, services, parsed.GetRequiredValue(target), new QuarantineInspectRequest(parsed.GetValue(task)));
            if (parsed.GetValue(json))
            {
                console.Out.WriteLine(JsonSerializer.Serialize(new QuarantineAnswer(answer.Frozen, answer.Stack, answer.StoppedUs), CliJson.Default.QuarantineAnswer));
                return ExitCodes.Ok;
            }

            Print(console, answer.Frozen);
            console.Out.WriteLine();
            foreach (string frame in answer.Stack)
                console.Out.WriteLine($"  {Diagnosis.Rendering.Safe.Text(frame)}");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static PanaceaCommand Kill(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Argument<int> task = Task();
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("kill", "End a frozen task, through the kernel's own exit path.")
        {
            Examples = [("panacea quarantine kill pid:4242 1307", "It is woken, and ends instead of going on.")],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(task);
        command.Add(json);
        command.SetAction(parsed => Ask(console, services, parsed.GetRequiredValue(target), new QuarantineKillRequest(parsed.GetValue(task)), parsed.GetValue(json)));
        return command;
    }

    private static Argument<int> Task()
    {
        var task = new Argument<int>("PID") { Description = "The task's thread id, as list prints it." };
        task.Validators.Add(result =>
        {
            if (!int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) || pid == 0)
                result.AddError($"'{result.Tokens[0].Value}' is no thread id; write a number as 'panacea quarantine list' prints it");
        });
        return task;
    }

    private static int Ask(CliConsole console, CliServices services, TargetName target, GuestRequest request, bool json)
    {
        GuestAnswer answer = RequestAnswers.Get(console, services, target, request);
        if (json)
        {
            console.Out.WriteLine(JsonSerializer.Serialize(new QuarantineAnswer(answer.Frozen, answer.Stack, answer.StoppedUs), CliJson.Default.QuarantineAnswer));
            return ExitCodes.Ok;
        }

        if (answer.StoppedUs > 0)
            console.Out.WriteLine($"done; the guest was stopped for {IncidentReport.Duration(answer.StoppedUs)}");
        Print(console, answer.Frozen);
        return ExitCodes.Ok;
    }

    private static void Print(CliConsole console, IReadOnlyList<FrozenLine> frozen)
    {
        if (frozen.Count == 0)
        {
            console.Out.WriteLine("no task is frozen");
            return;
        }

        var columns = new Columns(("PID", true), ("PROCESS", true), ("COMM", false), ("FROZEN FOR", true), ("WHERE", false));
        foreach (FrozenLine line in frozen)
        {
            columns.Add(
                line.Pid.ToString(CultureInfo.InvariantCulture), line.Process.ToString(CultureInfo.InvariantCulture), line.Comm,
                line.SleptMs is { } ms ? Sessions.Policy.Durations.Format(TimeSpan.FromSeconds(ms / 1000)) : null, line.Where);
        }

        columns.WriteTo(console.Out, console.Paint);
    }
}
