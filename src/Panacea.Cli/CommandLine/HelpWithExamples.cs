using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Panacea.Cli.CommandLine;

/// <summary>The library's help, then examples, notes and where to read on.</summary>
internal sealed class HelpWithExamples(HelpAction inner, IReadOnlyDictionary<Command, PanaceaCommand> pages) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        int result = inner.Invoke(parseResult);
        TextWriter to = parseResult.InvocationConfiguration.Output;
        if (!pages.TryGetValue(parseResult.CommandResult.Command, out PanaceaCommand? page))
            return result;
        WriteExamples(to, page.Examples);
        foreach ((string title, IReadOnlyList<string> lines) in page.Notes)
        {
            to.WriteLine($"{title}:");
            foreach (string line in lines)
                to.WriteLine($"  {line}");
            to.WriteLine();
        }

        return result;
    }

    private static void WriteExamples(TextWriter to, IReadOnlyList<(string Line, string Does)> examples)
    {
        if (examples.Count == 0)
            return;
        to.WriteLine("Examples:");
        foreach ((string line, string does) in examples)
        {
            to.WriteLine($"  {line}");
            to.WriteLine($"      {does}");
        }

        to.WriteLine();
    }
}
