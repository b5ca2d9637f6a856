using System.CommandLine;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.CommandLine;

/// <summary>The option <c>--rules</c> of the commands that diagnose.</summary>
internal static class RulesOption
{
    /// <summary>The option.</summary>
    public static Option<string[]> Create() => new("--rules")
    {
        Description = "Say which known issues of a rules file (YAML, see docs/known-issues.md) the crash looks like. May be given several times.",
        HelpName = "FILE",
        AllowMultipleArgumentsPerToken = false,
    };

    /// <summary>Reads the files.</summary>
    /// <exception cref="CliException">One can't be read or has a mistake.</exception>
    public static KnownIssueMatcher Read(string[]? files)
    {
        try
        {
            return files is { Length: > 0 } ? new KnownIssueMatcher(RulesFile.Read(files)) : KnownIssueMatcher.None;
        }
        catch (RulesFileException e)
        {
            throw new CliException(ExitCodes.Usage, Safe.Text(e.Message), e);
        }
    }
}
