using System.CommandLine;
using Panacea.Cli.Output;
using Panacea.Formats.Yaml;
using Panacea.Sessions;
using Panacea.Sessions.Policy;

namespace Panacea.Cli.CommandLine;

/// <summary>The option <c>--policy</c> of <c>guard</c>.</summary>
internal static class PolicyOption
{
    /// <summary>The option.</summary>
    public static Option<string?> Create() => new("--policy")
    {
        Description = "How each VM is to be guarded (YAML, see docs/policy.md); options given here win over it.",
        HelpName = "FILE",
    };

    /// <summary>Reads the file; tells every mistake.</summary>
    /// <exception cref="CliException">It has mistakes.</exception>
    public static GuardPolicy? Read(string? file, CliConsole console)
    {
        if (file is null)
            return null;
        PolicyReading reading = PolicyFile.Read(file);
        if (reading.Policy is { } policy)
            return policy with { File = Path.GetFullPath(file) };
        foreach (YamlMistake mistake in reading.Mistakes)
            console.Note(YamlFile.Line(file, mistake));
        throw new CliException(ExitCodes.Usage, Shared.Mistakes(file, reading.Mistakes.Count));
    }

    /// <summary>How a VM is to be guarded.</summary>
    /// <param name="target">The VM.</param>
    /// <param name="policy">The file; null for none.</param>
    /// <param name="commandLine">What was said on the command line.</param>
    /// <param name="basis">What holds where nothing is said.</param>
    /// <exception cref="CliException">The command line's mode allows none of the file's rungs.</exception>
    public static GuardOptions OptionsFor(TargetName target, GuardPolicy? policy, PolicySettings commandLine, GuardOptions basis)
    {
        GuardOptions options = policy?.OptionsFor(target.Text, commandLine, basis) ?? commandLine.ApplyTo(basis);
        if (options is { Mode: not GuardMode.Observe, Rungs: { } rungs } && !rungs.Any(r => GuardPolicy.Allows(options.Mode, r)))
            throw new CliException(ExitCodes.Usage, $"--mode {GuardPolicy.Name(options.Mode)} allows none of the rungs that {options.PolicySource} has for {target.Text} ({PolicyText.Rungs(rungs)}); leave out --mode, or change the rungs");
        return options;
    }
}
