using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Parsing;
using System.Globalization;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions.Policy;

namespace Panacea.Cli.CommandLine;

/// <summary>Arguments and options that several commands take.</summary>
internal static class Shared
{
    /// <summary>What a TARGET is, for help texts.</summary>
    public static readonly (string Title, IReadOnlyList<string> Lines) TargetNote = ("TARGET",
    [
        "qmp:/path/to/socket  a QMP socket of a running QEMU (-qmp unix:/path/to/socket,server=on,wait=off);",
        "                     one that nobody else is connected to, for QMP serves one client at a time",
        "pid:N                a running QEMU by its process id; Panacea finds its QMP socket by itself",
    ]);

    /// <summary>What the exit codes mean, for help texts.</summary>
    public static readonly (string Title, IReadOnlyList<string> Lines) ExitCodeNote = ("Exit codes",
    [
        "0 done   1 failure on this host   2 wrong command line   3 guest or QEMU problem   4 repair image problem",
        "5 no such symbol, type or task in the guest   6 check found something broken   70 a bug in Panacea   130 interrupted",
    ]);

    /// <summary>How many mistakes a file has, in a sentence.</summary>
    public static string Mistakes(string file, int count) => $"{Safe.Text(file, 256)} has {(count == 1 ? "a mistake" : $"{count} mistakes")}";

    /// <summary>One running VM.</summary>
    public static Argument<TargetName> Target() => new("TARGET")
    {
        HelpName = "TARGET",
        Description = "The VM: qmp:/path/to/socket or pid:N.",
        CustomParser = result => Parse(result, result.Tokens[0].Value),
        CompletionSources = { CompleteTarget },
    };

    /// <summary>One running VM, or none.</summary>
    public static Argument<TargetName?> OptionalTarget() => new("TARGET")
    {
        HelpName = "TARGET",
        Description = "The VM: qmp:/path/to/socket or pid:N.",
        Arity = ArgumentArity.ZeroOrOne,
        CustomParser = result => result.Tokens.Count == 0 ? null : Parse(result, result.Tokens[0].Value),
        CompletionSources = { CompleteTarget },
    };

    /// <summary>What a SOURCE is, for help texts.</summary>
    public static readonly (string Title, IReadOnlyList<string> Lines) SourceNote = ("SOURCE",
    [
        "qmp:/path/to/socket  a running VM by its QMP socket, which nobody else may be connected to",
        "pid:N                a running VM by the process id of its QEMU",
        "FILE                 a crash dump: ELF vmcore (QEMU, virsh, kdump), kdump-compressed (makedumpfile, QEMU),",
        "                     flattened, or a raw memory image; the files of a split dump with commas between them",
    ]);

    /// <summary>A running VM or a dump.</summary>
    public static Argument<SourceName> Source() => new("SOURCE")
    {
        HelpName = "SOURCE",
        Description = "A dump file, or a VM as qmp:/path/to/socket or pid:N.",
        CustomParser = result =>
        {
            if (SourceName.TryParse(result.Tokens[0].Value, out SourceName? source, out string? error))
                return source!;
            result.AddError(error!);
            return null!;
        },
        CompletionSources = { CompleteTarget },
    };

    /// <summary>One or more running VMs.</summary>
    public static Argument<TargetName[]> Targets() => new("TARGET")
    {
        HelpName = "TARGET",
        Description = "The VMs: qmp:/path/to/socket or pid:N, one or more.",
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result => ParseAll(result),
        CompletionSources = { CompleteTarget },
    };

    /// <summary>A repair image file or a running VM.</summary>
    public static Argument<string> FileOrTarget() => new("FILE|TARGET")
    {
        HelpName = "FILE|TARGET",
        Description = "A repair image file, or a VM as qmp:/path/to/socket or pid:N.",
        CompletionSources = { CompleteTarget },
    };

    /// <summary>An option that takes a VM.</summary>
    public static Option<TargetName?> TargetOption(string name, string description) => new(name)
    {
        HelpName = "TARGET",
        Description = description,
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result => Parse(result, result.Tokens[0].Value),
        CompletionSources = { CompleteTarget },
    };

    /// <summary>Machine-readable output.</summary>
    public static Option<bool> Json(string what) => new("--json") { Description = what };

    /// <summary>A duration between two bounds.</summary>
    public static Option<TimeSpan?> Duration(string name, string description, TimeSpan usual, TimeSpan least, TimeSpan most) => new(name)
    {
        Description = $"{description} [default: {Durations.Format(usual)}]",
        HelpName = "DURATION",
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result => ParseDuration(result, name, least, most),
    };

    private static TimeSpan? ParseDuration(ArgumentResult result, string name, TimeSpan least, TimeSpan most)
    {
        string text = result.Tokens[0].Value;
        if (Durations.TryParse(text, out TimeSpan duration) && duration >= least && duration <= most)
            return duration;
        result.AddError($"{name}: '{text}' is not a duration from {Durations.Format(least)} to {Durations.Format(most)}; write it as 500ms, 2s or 1m");
        return null;
    }

    private static TargetName Parse(ArgumentResult result, string text)
    {
        if (TargetName.TryParse(text, out TargetName? target, out string? error))
            return target!;
        result.AddError(error!);
        return null!;
    }

    private static TargetName[] ParseAll(ArgumentResult result)
    {
        var targets = new List<TargetName>();
        foreach (Token token in result.Tokens)
        {
            TargetName? target = Parse(result, token.Value);
            if (target is null)
                return [];
            if (targets.Any(t => t.Socket == target.Socket && t.Pid == target.Pid))
            {
                result.AddError($"'{target.Text}' is given twice; a VM has one guard");
                return [];
            }

            targets.Add(target);
        }

        return [.. targets];
    }

    /// <summary>The prefixes, and the QEMU processes that run on this host.</summary>
    private static IEnumerable<CompletionItem> CompleteTarget(CompletionContext context)
    {
        yield return new CompletionItem("qmp:");
        yield return new CompletionItem("pid:");
        foreach (int pid in QemuPids())
            yield return new CompletionItem(string.Create(CultureInfo.InvariantCulture, $"pid:{pid}"));
    }

    private static IEnumerable<int> QemuPids()
    {
        foreach (string directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out int pid))
                continue;
            string comm;
            try
            {
                comm = File.ReadAllText(Path.Combine(directory, "comm"));
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                continue; // It has ended meanwhile.
            }

            if (comm.StartsWith("qemu-", StringComparison.Ordinal) || comm.StartsWith("kvm", StringComparison.Ordinal))
                yield return pid;
        }
    }
}
