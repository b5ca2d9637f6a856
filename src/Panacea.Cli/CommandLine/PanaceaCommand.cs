using System.CommandLine;

namespace Panacea.Cli.CommandLine;

/// <summary>A command with examples for its help.</summary>
internal sealed class PanaceaCommand(string name, string description) : Command(name, description)
{
    /// <summary>Command lines and what each does, in the order in which a newcomer needs them.</summary>
    public IReadOnlyList<(string Line, string Does)> Examples { get; init; } = [];

    /// <summary>Further paragraphs of the help, below the examples: a title and its lines.</summary>
    public IReadOnlyList<(string Title, IReadOnlyList<string> Lines)> Notes { get; init; } = [];
}
