using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Panacea.Injection;
using Panacea.Sessions.Control;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea inject</c>: faults in the kernel of a VM, from outside.</summary>
internal static class InjectCommand
{
    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<TargetName?> target = Shared.OptionalTarget();
        Option<FaultKind?> fault = new("--fault")
        {
            HelpName = "TYPE",
            Description = "The kind of fault; --list alone prints them.",
            CustomParser = result =>
            {
                if (FaultKinds.Find(result.Tokens[0].Value) is { } kind)
                    return kind;
                result.AddError($"--fault: '{result.Tokens[0].Value}' is no kind of fault; one of {string.Join(", ", FaultKinds.All.Select(k => k.Name))}");
                return null;
            },
        };
        fault.CompletionSources.Add(_ => FaultKinds.All.Select(k => new System.CommandLine.Completions.CompletionItem(k.Name)));
        Option<string?> at = new("--at")
        {
            HelpName = "WHERE",
            Description = "A function (name or module:name), 'name*' for one whose name begins so, a module, or 'hot' for a function that is being used. [default: any function of the kernel]",
        };
        Option<ulong?> seed = new("--seed") { HelpName = "N", Description = "What is chosen; the same seed at the same function gives the same fault. [default: a random one, which is printed]" };
        Option<bool> list = new("--list") { Description = "Print the kinds of faults; with --fault and --at FUNCTION, what that fault could be there. Nothing is injected." };
        Option<bool> untilCrash = new("--until-crash") { Description = "The VM's guard takes the fault out at the first crash or hang: a mistake that shows once. Of faults of code." };
        Option<bool> yes = new("--yes-crash-it") { Description = "Needed to inject: the VM is likely to crash, and its data may be damaged." };
        Option<string?> log = new("--log") { HelpName = "FILE", Description = "Keep the record of the fault in this file, which must not exist. [default: a file of its own under the state directory]" };
        Option<string?> revert = new("--revert") { HelpName = "FILE", Description = "Take a fault back whose record this is, where what it wrote is still there. What came of it stays." };
        Option<bool> json = Shared.Json("Print the record as JSON.");
        var command = new PanaceaCommand("inject", "Inject a fault into the kernel of a running VM, from outside: a mistake in its code, a flipped bit, a crash or a hang at a function.")
        {
            Examples =
            [
                ("panacea inject --list", "The kinds of faults."),
                ("panacea inject pid:4242 --fault branch --at virtio_blk --seed 7 --yes-crash-it", "A branch of some function of the module virtio_blk is missing from now on."),
                ("panacea inject pid:4242 --fault null-dereference --at do_sys_openat2 --yes-crash-it", "Whoever opens a file crashes."),
                ("panacea inject pid:4242 --fault heap-bit-flip --yes-crash-it", "One bit of the kernel's heap."),
                ("panacea inject pid:4242 --revert fault.json", "The code is as it was; who has crashed has crashed."),
            ],
            Notes =
            [
                ("What it does", [
                    "The VM is stopped for a moment, some bytes or one register are written, and it goes on. What was written is on record.",
                    "A VM that stands still stays so. One that a guard guards is asked by way of its guard, which still knows the code as it was",
                    "before, and heals it; to see it meet a mistake of the kernel's own, begin guarding after the fault.",
                ]),
                Shared.TargetNote,
                Shared.ExitCodeNote,
            ],
        };
        command.Add(target);
        command.Add(fault);
        command.Add(at);
        command.Add(seed);
        command.Add(list);
        command.Add(untilCrash);
        command.Add(yes);
        command.Add(log);
        command.Add(revert);
        command.Add(json);
        command.Validators.Add(result =>
        {
            // What is there, not what it means: one that makes no sense is told of by itself.
            bool hasTarget = result.GetResult(target)?.Tokens.Count > 0, hasFault = result.GetResult(fault) is not null, isList = result.GetValue(list), isRevert = result.GetResult(revert) is not null;
            if (isRevert && (hasFault || isList))
                result.AddError("--revert takes back a fault that is on record: leave --fault and --list out");
            else if (!hasTarget && (!isList || hasFault))
                result.AddError("say which VM: qmp:/path/to/socket or pid:N ('panacea inject --list' alone prints the kinds of faults)");
            else if (hasTarget && !isRevert && !hasFault)
                result.AddError("say with --fault what is to be injected; 'panacea inject --list' prints the kinds");
            else if (hasTarget && isList && (result.GetValue(at) is null or FaultPlanner.Hot || result.GetValue(at)!.EndsWith('*')))
                result.AddError("say with --at FUNCTION of which function the faults are to be listed");
            else if (hasTarget && hasFault && !isList && !result.GetValue(yes))
                result.AddError("this may crash the VM and damage its data: say --yes-crash-it where that is meant");
        });
        command.SetAction(parsed =>
        {
            bool asJson = parsed.GetValue(json);
            if (parsed.GetValue(target) is not { } vm)
                return ListKinds(console, asJson);
            if (parsed.GetValue(revert) is { } file)
                return Revert(console, services, vm, file, asJson);
            FaultKind kind = parsed.GetValue(fault)!;
            ulong chosen = parsed.GetValue(seed) ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue);
            return parsed.GetValue(list) ? List(console, services, vm, new FaultListRequest(kind.Type, parsed.GetValue(at)!, chosen), asJson)
                : Inject(console, services, vm, new FaultInjectRequest(kind.Type, parsed.GetValue(at), chosen) { UntilCrash = parsed.GetValue(untilCrash) }, parsed.GetValue(log), asJson);
        });
        return command;
    }

    private static int ListKinds(CliConsole console, bool json)
    {
        if (json)
        {
            console.Out.WriteLine(JsonSerializer.Serialize(new FaultKindList(FaultKinds.All), CliJson.Default.FaultKindList));
            return ExitCodes.Ok;
        }

        var columns = new Columns(("FAULT", false), ("OF", false), ("WHAT IT DOES", false));
        foreach (FaultKind kind in FaultKinds.All)
            columns.Add(kind.Name, kind.Class.ToString().ToLowerInvariant(), kind.Summary);
        columns.WriteTo(console.Out, console.Paint);
        return ExitCodes.Ok;
    }

    private static int List(CliConsole console, CliServices services, TargetName target, FaultListRequest request, bool json)
    {
        GuestAnswer answer = RequestAnswers.Get(console, services, target, request);
        if (json)
        {
            console.Out.WriteLine(JsonSerializer.Serialize(new FaultListAnswer(answer.Faults), CliJson.Default.FaultListAnswer));
            return ExitCodes.Ok;
        }

        var columns = new Columns(("PLACE", false), ("CODE", false), ("BECOMES", false));
        foreach (Fault fault in answer.Faults)
            columns.Add(Safe.Text(fault.Place?.ToString() ?? ""), Safe.Text(fault.CodeBefore ?? ""), Safe.Text(fault.CodeAfter ?? ""));
        columns.WriteTo(console.Out, console.Paint);
        console.Note(string.Create(CultureInfo.InvariantCulture, $"{answer.Faults.Count} places; with seed {request.Seed} each would be changed so"));
        return ExitCodes.Ok;
    }

    private static int Inject(CliConsole console, CliServices services, TargetName target, FaultInjectRequest request, string? log, bool json)
    {
        if (log is not null && File.Exists(log))
            throw new CliException(ExitCodes.Failure, $"{log} exists already: nothing was injected");
        GuestAnswer answer = RequestAnswers.Get(console, services, target, request);
        var record = new FaultRecord(services.Time.GetUtcNow(), target.Text, answer.Faults[0], answer.StoppedUs);

        // It has been done: what is known of it is said, whatever becomes of the file.
        if (json)
            console.Out.WriteLine(JsonSerializer.Serialize(record, CliJson.Default.FaultRecord));
        else
            Print(console, record);
        string file = FaultRecords.Write(record, log);
        console.Note(FaultKinds.Of(record.Fault.Type).IsReversible ? $"on record in {file}; 'panacea inject {Safe.Text(target.Text)} --revert {file}' takes it back" : $"on record in {file}");
        return ExitCodes.Ok;
    }

    private static int Revert(CliConsole console, CliServices services, TargetName target, string file, bool json)
    {
        FaultRecord record = FaultRecords.Read(file);
        if (!FaultKinds.Of(record.Fault.Type).IsReversible)
            throw new CliException(ExitCodes.Failure, $"{FaultKinds.Of(record.Fault.Type).Name} can't be taken back: the kernel has gone on with what it changed");
        GuestAnswer answer = RequestAnswers.Get(console, services, target, new FaultRevertRequest(record.Fault.Changes));
        if (json)
            console.Out.WriteLine(JsonSerializer.Serialize(new FaultReverted(record.Fault, answer.StoppedUs), CliJson.Default.FaultReverted));
        else
            console.Out.WriteLine($"taken back: {Safe.Text(record.Fault.Explanation)}; the guest was stopped for {IncidentReport.Duration(answer.StoppedUs)}");
        return ExitCodes.Ok;
    }

    private static void Print(CliConsole console, FaultRecord record)
    {
        Fault fault = record.Fault;
        console.Out.WriteLine($"injected  {FaultKinds.Of(fault.Type).Name}, seed {fault.Seed}: {Safe.Text(fault.Explanation)}");
        if (fault.CodeBefore is { } before)
            console.Out.WriteLine($"code      {Safe.Text(before)}  →  {Safe.Text(fault.CodeAfter ?? "")}");
        foreach (FaultChange change in fault.Changes)
            console.Out.WriteLine($"wrote     {Safe.Text(change.Address)}: {Safe.Text(change.Before)} → {Safe.Text(change.After)}  ({Safe.Text(change.What)})");
        console.Out.WriteLine(record.StoppedUs > 0 ? $"stopped   {IncidentReport.Duration(record.StoppedUs)}" : "stopped   not for this: the guest stood still already, and still does");
    }
}
