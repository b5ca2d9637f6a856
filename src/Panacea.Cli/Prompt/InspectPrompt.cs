using System.CommandLine;
using System.CommandLine.Parsing;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Commands.Inspect;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Prompt;

/// <summary>The prompt of <c>panacea inspect SOURCE</c>: each line is a subcommand over the source, which is opened once. A command that fails does not end it.</summary>
internal sealed class InspectPrompt
{
    private const string Prompt = "panacea> ";

    private static readonly string[] Own = ["help", "quit"];

    private readonly CliConsole _console;
    private readonly CliServices _services;
    private readonly IInspectionSession _session;
    private readonly PanaceaCommand _commands;

    /// <summary>Over an opened source, which stays the caller's.</summary>
    public InspectPrompt(CliConsole console, CliServices services, IInspectionSession session)
    {
        (_console, _services, _session) = (console, services, session);
        _commands = InspectCommand.CreatePrompt(console, services, session, new InspectNames(session));
        PanaceaCommandLine.AddHelp(_commands, PanaceaCommandLine.PagesOf(_commands));
    }

    /// <summary>Reads and runs lines until the end of input.</summary>
    /// <returns>Success where a person typed; of a script, the exit code of the first line that failed.</returns>
    public int Run()
    {
        IPromptTerminal terminal = _services.Terminal();
        return terminal.IsInteractive ? RunInteractive(terminal) : RunScript(terminal);
    }

    private int RunScript(IPromptTerminal terminal)
    {
        int first = ExitCodes.Ok;
        while (terminal.ReadLine() is { } line && !IsQuit(line))
        {
            int code = RunLine(line);
            first = first == ExitCodes.Ok ? code : first;
            if (code == ExitCodes.BrokenPipe)
                return code;
        }

        return first;
    }

    private int RunInteractive(IPromptTerminal terminal)
    {
        _console.Out.WriteLine(Safe.Text(_session.Description));
        foreach (string missing in _session.Missing)
            _console.Note(missing);
        _console.Out.WriteLine("'help' lists the commands, Tab completes, Ctrl-D ends.");
        _console.Out.Flush();
        var history = new LineHistory(_services.History);
        var editor = new LineEditor(terminal, Prompt, history, Complete);
        while (editor.Read(out string line) is var end && end != LineEnd.EndOfInput)
        {
            if (end == LineEnd.Abandoned || line.Trim().Length == 0)
                continue;
            history.Add(line.Trim());
            history.Save();
            if (IsQuit(line))
                break;
            RunLine(line);
        }

        return ExitCodes.Ok;
    }

    private static bool IsQuit(string line) => line.Trim() is "quit" or "exit" or "q";

    /// <summary>What the word before the cursor may become.</summary>
    internal IReadOnlyList<string> Complete(string before)
    {
        int start = before.LastIndexOf(' ') + 1;
        string word = before[start..], first = before.TrimStart();
        IEnumerable<string> all = [];
        if (!first.Contains(' ', StringComparison.Ordinal) || first.StartsWith("help ", StringComparison.Ordinal))
            all = _commands.Subcommands.Select(c => c.Name).Concat(first.Contains(' ', StringComparison.Ordinal) ? [] : Own);
        else
            all = _commands.Parse(before, PanaceaCommandLine.Parser).GetCompletions(before.Length).Select(c => c.InsertText ?? c.Label);
        return [.. all.Where(c => c.StartsWith(word, StringComparison.Ordinal)).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
    }

    private int RunLine(string line)
    {
        string[] words = [.. CommandLineParser.SplitCommandLine(line)];

        // Scripts have comments.
        if (words.Length == 0 || words[0].StartsWith('#'))
            return ExitCodes.Ok;
        if (words[0] is "help" or "?")
            words = [.. words[1..], "--help"];
        int code;
        try
        {
            ParseResult parsed = _commands.Parse(words, PanaceaCommandLine.Parser);
            code = parsed.Errors.Count > 0 && !PanaceaCommandLine.AnswersInstead(parsed)
                ? UsageErrors.ReportInPrompt(parsed, _console)
                : parsed.Action is null
                    ? UsageErrors.ReportInPrompt(parsed, _console)
                    : parsed.Invoke(new InvocationConfiguration { Output = _console.Out, Error = _console.Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
            _console.Out.Flush();
        }
        catch (BrokenPipeException)
        {
            return ExitCodes.BrokenPipe;
        }
        catch (Exception failure)
        {
            code = CliApplication.Report(failure, _console);
        }

        return code;
    }
}
