using System.CommandLine;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions.Control;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea fuse</c>: functions of a guest that are made to return at once.</summary>
internal static class FuseCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        var command = new PanaceaCommand("fuse", "List, set and clear fuses: functions of a guest's kernel that return an error at once instead of running.")
        {
            Examples =
            [
                ("panacea fuse list pid:4242", "Which functions have a fuse, whoever set it."),
                ("panacea fuse set pid:4242 mydrv:mydrv_ioctl", "mydrv_ioctl of the module mydrv returns -EIO from now on."),
                ("panacea fuse clear pid:4242 mydrv_ioctl", "It runs again."),
            ],
            Notes = [Shared.TargetNote, Shared.ExitCodeNote],
        };
        command.Add(List(console, services));
        command.Add(Set(console, services));
        command.Add(Clear(console, services));
        return command;
    }

    private static PanaceaCommand List(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("list", "Say which functions have a fuse. The guest is not stopped.")
        {
            Examples =
            [
                ("panacea fuse list qmp:/run/vm1.qmp", "Of a VM, guarded or not."),
                ("panacea fuse list --json pid:4242 | jq -r .fuses[].function", "For a script."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(json);
        command.SetAction(parsed => Ask(console, services, parsed.GetRequiredValue(target), new FuseListRequest(), parsed.GetValue(json)));
        return command;
    }

    private static PanaceaCommand Set(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Argument<string> function = new("FUNCTION") { Description = "A function of the guest's kernel: its name, or module:name." };
        Option<string?> value = new("--return")
        {
            HelpName = "VALUE",
            Description = "What it returns: -EIO or another errno, a number, NULL, true, false; nothing, for a void function. [default: -EIO, or false]",
        };
        Option<bool> force = new("--force") { Description = "Also for a function of the kernel itself, which anything may call." };
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("set", "Make a function return at once, for all its callers, until the fuse is cleared or its module is unloaded.")
        {
            Examples =
            [
                ("panacea fuse set pid:4242 mydrv:mydrv_ioctl", "An int function: it returns -EIO."),
                ("panacea fuse set pid:4242 mydrv_alloc --return NULL", "A pointer: what its callers take for an error has to be said."),
                ("panacea fuse set pid:4242 mydrv_poll_timer --return nothing", "A void function: nobody will learn that its work is not done."),
            ],
            Notes = [Shared.TargetNote],
        };
        value.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string?>() is { } text && !FuseValue.TryParse(text, out _))
                result.AddError($"--return: '{text}' is nothing that a function returns; write an errno as -EIO, a number, NULL, true, false or nothing");
        });
        command.Add(target);
        command.Add(function);
        command.Add(value);
        command.Add(force);
        command.Add(json);
        command.SetAction(parsed => Ask(console, services, parsed.GetRequiredValue(target), new FuseSetRequest(parsed.GetRequiredValue(function), parsed.GetValue(value), parsed.GetValue(force)), parsed.GetValue(json)));
        return command;
    }

    private static PanaceaCommand Clear(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Argument<string?> function = new("FUNCTION") { Description = "The function, as list prints it.", Arity = ArgumentArity.ZeroOrOne };
        Option<bool> all = new("--all") { Description = "Clear every fuse." };
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("clear", "Let a function run again.")
        {
            Examples =
            [
                ("panacea fuse clear pid:4242 mydrv_ioctl", "One fuse."),
                ("panacea fuse clear pid:4242 --all", "All of them."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(function);
        command.Add(all);
        command.Add(json);
        command.Validators.Add(result =>
        {
            if (result.GetValue(all) == result.GetValue(function) is not null)
                result.AddError("clear takes one function, or --all for every fuse");
        });
        command.SetAction(parsed => Ask(console, services, parsed.GetRequiredValue(target), new FuseClearRequest(parsed.GetValue(function)), parsed.GetValue(json)));
        return command;
    }

    private static int Ask(CliConsole console, CliServices services, TargetName target, GuestRequest request, bool json)
    {
        GuestAnswer answer = RequestAnswers.Get(console, services, target, request);
        if (json)
        {
            console.Out.WriteLine(JsonSerializer.Serialize(new FuseAnswer(answer.Fuses, answer.Missing, answer.StoppedUs), CliJson.Default.FuseAnswer));
            return ExitCodes.Ok;
        }

        if (answer.StoppedUs > 0)
            console.Out.WriteLine($"done; the guest was stopped for {IncidentReport.Duration(answer.StoppedUs)}");
        if (answer.Fuses.Count == 0)
            console.Out.WriteLine("no function has a fuse");
        else
            Print(console, answer.Fuses);
        foreach (string missing in answer.Missing)
            console.Note(Safe.Text(missing));
        return ExitCodes.Ok;
    }

    private static void Print(CliConsole console, IReadOnlyList<FuseLine> fuses)
    {
        var columns = new Columns(("FUNCTION", false), ("MODULE", false), ("ADDRESS", false), ("RETURNS", false));
        foreach (FuseLine fuse in fuses)
            columns.Add(fuse.Function, fuse.Module, fuse.Address, fuse.Returns);
        columns.WriteTo(console.Out, console.Paint);
    }
}
