using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Prompt;
using Panacea.Cli.Services;
using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>panacea inspect</c>: looks into a running guest from outside, or into a dump.</summary>
internal static class InspectCommand
{
    private const string Description =
        "Look into a kernel, a running guest's or one in a dump: tasks, stacks, memory, code, locks, devices. Changes nothing. Without a subcommand it opens a prompt.";

    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<SourceName> source = Shared.Source();
        var tree = new InspectTree(console, services, source);
        var command = new PanaceaCommand("inspect", Description)
        {
            Examples =
            [
                ("panacea inspect vmcore", "A prompt over a dump: history, and completion of commands, symbols and types with Tab."),
                ("panacea inspect pid:4242 ps", "Every thread of a running guest."),
                ("panacea inspect vmcore bt --all", "The stack of every task, in a dump."),
                ("panacea inspect pid:4242 read init_task --as task_struct", "A structure, member by member."),
                ("panacea inspect pid:4242 modules --json | jq -r '.[].name'", "Module names for a script."),
            ],
            Notes = [("Prompt", ["With standard input from a file or a pipe, one command a line: printf 'ps\\nbt\\n' | panacea inspect vmcore"]), Shared.SourceNote, Shared.ExitCodeNote],
        };
        command.Add(source);
        command.Add(tree.Json);
        AddSubcommands(command, tree);
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(tree.Json))
                throw new CliException(ExitCodes.Usage, "--json belongs to a subcommand; see 'panacea inspect --help'");
            IInspectionSession session;
            using (var interrupts = new Interrupts(console, InspectTree.LetGo))
                session = console.Progress("reading the kernel", () => services.Inspection.Open(parsed.GetRequiredValue(source), interrupts.Token));
            using (session)
                return new InspectPrompt(console, services, session).Run();
        });
        return command;
    }

    /// <summary>The subcommands as commands of their own, for the lines of the prompt.</summary>
    public static PanaceaCommand CreatePrompt(CliConsole console, CliServices services, IInspectionSession session, InspectNames names)
    {
        var tree = new InspectTree(console, services, session, names);
        var command = new PanaceaCommand("inspect", "Commands of the prompt. 'help COMMAND' says more about one; 'quit' or Ctrl-D ends the prompt.")
        {
            Examples = [("bt --all", "The stack of every task."), ("help read", "What 'read' can do.")],
            Notes = [],
        };
        command.Add(tree.Json);
        AddSubcommands(command, tree);
        return command;
    }

    private static void AddSubcommands(PanaceaCommand command, InspectTree tree)
    {
        PanaceaCommand[] subcommands =
        [
            .. TaskCommands.Create(tree), .. StackCommands.Create(tree), .. KernelCommands.Create(tree), .. SymbolCommands.Create(tree), .. MemoryCommands.Create(tree),
            .. SchedulingCommands.Create(tree), .. ResourceCommands.Create(tree),
        ];
        foreach (PanaceaCommand sub in subcommands)
            command.Add(sub);
    }
}
