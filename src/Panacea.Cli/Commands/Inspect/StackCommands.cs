using System.CommandLine;
using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>bt</c>.</summary>
internal static class StackCommands
{
    /// <summary>The subcommand.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        Argument<int?> pid = InspectTree.Pid("The thread whose stack to show.", required: false);
        var all = new Option<bool>("--all", "-a") { Description = "The stack of every task." };
        PanaceaCommand command = tree.Sub(
            "bt", "Show stacks: what each CPU is executing, or what tasks wait in. '?' marks frames that are not proved.",
            [("bt", "A stack per CPU."), ("bt 1", "The stack of one task."), ("bt --all", "The stack of every task.")],
            (parsed, guest) => parsed.GetValue(pid) is { } one ? [InspectTree.Found(guest.Stacks.Of(one), $"task of pid {one}")]
                : parsed.GetValue(all) ? guest.Stacks.OfAllTasks() : guest.Stacks.OfCpus(),
            () => InspectionJson.Default.IReadOnlyListBacktraceRow, (stacks, _) => Print(tree, stacks), pid, all);
        command.Validators.Add(result =>
        {
            if (result.GetResult(pid) is { Tokens.Count: > 0 } && result.GetResult(all) is { Implicit: false })
                result.AddError("'bt' shows one task or, with --all, every task; give one of them");
        });
        yield return command;
    }

    private static void Print(InspectTree tree, IReadOnlyList<BacktraceRow> stacks)
    {
        for (int n = 0; n < stacks.Count; n++)
        {
            BacktraceRow stack = stacks[n];
            if (n > 0)
                tree.Out.WriteLine();
            string where = stack.Vcpu is not { } vcpu || vcpu == stack.Cpu ? "" : string.Create(CultureInfo.InvariantCulture, $"  VCPU: {vcpu}");
            tree.Out.WriteLine(tree.Console.Paint.Bold(stack.Task is null && stack.Pid is null
                ? string.Create(CultureInfo.InvariantCulture, $"VCPU: {stack.Vcpu}  CPU: {(stack.Cpu is { } cpu ? InspectTree.N(cpu) : "-")}  task unreadable")
                : TaskCommands.Heading(stack.Pid, stack.Task, stack.Cpu, stack.Comm) + where));
            if (stack.UserMode)
                tree.Out.WriteLine("    in user mode");
            string? on = stack.Frames.Count > 0 ? stack.Frames[0].Stack : null;
            for (int i = 0; i < stack.Frames.Count; i++)
            {
                FrameRow frame = stack.Frames[i];
                if (frame.Stack != on)
                    tree.Out.WriteLine($"--- <{Safe.Text(on = frame.Stack)} stack> ---");
                tree.Out.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"{$"#{i}",4} [{InspectTree.Hex(frame.Sp)}] {(frame.Reliable ? "" : "? ")}{Safe.Text(frame.Location)} at {InspectTree.Hex(frame.Address)}"));
            }

            if (stack.Ends is { } ends)
                tree.Out.WriteLine($"    ({Safe.Text(ends)})");
        }
    }
}
