using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Panacea.Cli.Commands;
using Panacea.Cli.Commands.Inspect;
using Panacea.Cli.Output;
using Panacea.Cli.Services;

namespace Panacea.Cli.CommandLine;

/// <summary>The whole command line, put together.</summary>
internal static class PanaceaCommandLine
{
    /// <summary>A path may begin with '@': no response files. Short options are not bundled.</summary>
    public static ParserConfiguration Parser { get; } = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };

    /// <summary>The command tree.</summary>
    public static RootCommand Create(CliConsole console, CliServices services)
    {
        var root = new RootCommand(
            "Panacea brings crashed Linux guests back to life: from the host, without an agent, without a reboot.");
        PanaceaCommand[] commands =
        [
            DemoCommand.Create(console, services),
            GuardCommand.Create(console, services),
            ImageCommand.Create(console, services),
            DiagnoseCommand.Create(console, services),
            CheckCommand.Create(console, services),
            DumpCommand.Create(console, services),
            CloneCommand.Create(console, services),
            PolicyCommand.Create(console),
            FuseCommand.Create(console, services),
            InjectCommand.Create(console, services),
            QuarantineCommand.Create(console, services),
            InspectCommand.Create(console, services),
            CampaignCommand.Create(console, services),
            BenchCommand.Create(console, services),
            CompletionCommand.Create(console),
        ];
        var pages = new Dictionary<Command, PanaceaCommand> { [root] = RootPage() };
        foreach (PanaceaCommand command in commands)
        {
            root.Add(command);
            AddPages(pages, command);
        }

        // Of the help option's aliases, only those that a Linux user expects.
        root.Options.Remove(root.Options.OfType<HelpOption>().Single());
        AddHelp(root, pages);
        root.Options.OfType<VersionOption>().Single().Action = new PrintVersion();
        return root;
    }

    /// <summary>Adds <c>--help</c> with examples to a command that is parsed by itself.</summary>
    public static void AddHelp(Command command, IReadOnlyDictionary<Command, PanaceaCommand> pages)
    {
        var help = new HelpOption("--help", "-h");
        help.Action = new HelpWithExamples((HelpAction)help.Action!, pages);
        command.Options.Insert(0, help);
    }

    /// <summary>The help pages of a command and those below it.</summary>
    public static Dictionary<Command, PanaceaCommand> PagesOf(PanaceaCommand command)
    {
        var pages = new Dictionary<Command, PanaceaCommand>();
        AddPages(pages, command);
        return pages;
    }

    /// <summary>The parse has errors, but something was asked for that does not mind: help, version, completion.</summary>
    public static bool AnswersInstead(ParseResult parsed) => parsed.Action is HelpWithExamples or PrintVersion
        || parsed.RootCommandResult.Children.Any(child => child is System.CommandLine.Parsing.DirectiveResult { Directive: SuggestDirective });

    private static void AddPages(Dictionary<Command, PanaceaCommand> pages, PanaceaCommand command)
    {
        pages[command] = command;
        foreach (Command sub in command.Subcommands)
        {
            if (sub is PanaceaCommand page)
                AddPages(pages, page);
        }
    }

    private static PanaceaCommand RootPage() => new("panacea", "")
    {
        Examples =
        [
            ("panacea demo", "Boot a Debian guest, crash its kernel four times, see it live on."),
            ("panacea guard qmp:/run/vm1.qmp", "Protect a running VM until Ctrl-C."),
            ("panacea guard --mode observe pid:4242", "Diagnose and record only; change nothing in the guest."),
            ("panacea diagnose vmcore --html report.html", "Say what crashed a kernel, from a dump or a running guest."),
            ("panacea inspect pid:4242 ps", "List the processes of a guest, seen from outside."),
        ],
        Notes = [Shared.ExitCodeNote],
    };

    private sealed class PrintVersion : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine($"panacea {CliApplication.Version}");
            return ExitCodes.Ok;
        }
    }
}
