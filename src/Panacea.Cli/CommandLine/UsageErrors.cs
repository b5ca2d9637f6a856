using System.CommandLine;
using System.CommandLine.Parsing;
using Panacea.Cli.Output;

namespace Panacea.Cli.CommandLine;

/// <summary>A wrong command line: one sentence, the nearest word that exists, and where the help is.</summary>
internal static class UsageErrors
{
    /// <summary>Reports the first error of a parse.</summary>
    public static int Report(ParseResult parsed, CliConsole console)
    {
        string path = Path(parsed);
        return Report(parsed, console, path, $"{path} --help");
    }

    /// <summary>As <see cref="Report(ParseResult, CliConsole)"/>, for a line of the prompt of <c>inspect</c>.</summary>
    public static int ReportInPrompt(ParseResult parsed, CliConsole console)
    {
        bool one = parsed.CommandResult.Parent is CommandResult;
        return Report(parsed, console, "a line", one ? $"help {parsed.CommandResult.Command.Name}" : "help");
    }

    private static int Report(ParseResult parsed, CliConsole console, string path, string help)
    {
        Command command = parsed.CommandResult.Command;
        string? unknown = parsed.UnmatchedTokens.Count > 0 ? parsed.UnmatchedTokens[0] : MistakenOption(parsed);
        string message = parsed.Errors.Count == 0 ? "" : parsed.Errors[0].Message.TrimEnd('.');
        if (parsed.Tokens.Count == 0)
            message = "what shall be done?";
        else if (command.Subcommands.Count > 0 && command.Action is null && parsed.UnmatchedTokens.Count == 0)
            message = $"'{path}' needs one of: {string.Join(", ", command.Subcommands.Where(c => !c.Hidden).Select(c => c.Name))}";
        else if (unknown is not null)
            message = $"'{unknown}' is not known here{Nearest(command, unknown)}";
        console.ErrorLine($"{message}; see '{help}'");
        return ExitCodes.Usage;
    }

    /// <summary>An option that does not exist is taken for an argument where one may stand.</summary>
    private static string? MistakenOption(ParseResult parsed) => parsed.Tokens
        .TakeWhile(token => token.Type != TokenType.DoubleDash)
        .FirstOrDefault(token => token.Type == TokenType.Argument && token.Value.StartsWith("--", StringComparison.Ordinal))?.Value;

    private static string Path(ParseResult parsed)
    {
        var names = new List<string>();
        for (SymbolResult? at = parsed.CommandResult; at is not null; at = at.Parent)
        {
            if (at is CommandResult result)
                names.Insert(0, result.Command is RootCommand ? "panacea" : result.Command.Name);
        }

        return string.Join(' ', names);
    }

    private static string Nearest(Command command, string word)
    {
        IEnumerable<string> known = command.Subcommands.Where(c => !c.Hidden).Select(c => c.Name)
            .Concat(command.Options.Where(o => !o.Hidden).Select(o => o.Name));
        string? best = null;
        int distance = Math.Max(1, Math.Min(3, word.Length / 2)) + 1;
        foreach (string each in known)
        {
            int d = Distance(word, each);
            if (d < distance)
                (best, distance) = (each, d);
        }

        return best is null ? "" : $", did you mean '{best}'?";
    }

    /// <summary>Levenshtein's distance; words of a command line are short, longer ones are cut.</summary>
    private static int Distance(string a, string b)
    {
        if (a.Length > 40)
            return int.MaxValue;
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int here = Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                (diagonal, row[j]) = (row[j], here);
            }
        }

        return row[b.Length];
    }
}
