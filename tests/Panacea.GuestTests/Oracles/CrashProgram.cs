using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Oracles;

/// <summary>The program <c>crash</c>, with the debug package of the kernel.</summary>
internal static partial class CrashProgram
{
    private static readonly string[] Commands =
        ["ps", "foreach bt", "log", "mod", "mount", "foreach files", "net", "dev", "dev -d", "runq", "timer", "kmem -i", "kmem -s", "sys"];

    /// <summary>Opens a dump once and runs every command.</summary>
    /// <returns>Its output by command.</returns>
    public static Task<IReadOnlyDictionary<string, string>> RunAsync(DeadDump dump, string directory) => RunAsync(dump, dump.Path, directory);

    /// <summary>The same of another dump of the same machine.</summary>
    public static async Task<IReadOnlyDictionary<string, string>> RunAsync(DeadDump dump, string path, string directory)
    {
        DumpReaderInstallation readers = await DumpReaders.GetAsync();
        Directory.CreateDirectory(directory);
        string FileOf(string command) => Path.Combine(directory, command.Replace(' ', '_'));
        string script = Path.Combine(directory, "commands");
        await File.WriteAllLinesAsync(script, [.. Commands.Select(c => $"{c} > {FileOf(c)}"), "quit"]);
        string[] command = [.. readers.Crash.Command, "-i", script, dump.Debug.Vmlinux, path];

        // With a terminal of its own, as it has with a person: without one it now and then ends before it has read anything.
        HostCommandResult said = await HostCommand.RunAsync("script", ["-qec", string.Join(' ', command.Select(Quoted)), "/dev/null"]);
        Assert.True(File.Exists(FileOf(Commands[^1])), $"crash ended with {said.ExitCode}: {said.Output}{said.Error}");
        return Commands.ToDictionary(c => c, c => WithoutEcho(File.ReadAllText(FileOf(c))));
    }

    /// <summary>On a terminal the command itself comes first.</summary>
    private static string WithoutEcho(string output) => output.StartsWith("crash> ", StringComparison.Ordinal) ? output[(output.IndexOf('\n') + 1)..] : output;

    private static string Quoted(string word) => $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    /// <summary>Rows of <c>ps</c> by address of the task.</summary>
    public static Dictionary<string, CrashTask> Tasks(string ps) => TaskRow().Matches(ps).ToDictionary(
        m => m.Groups["task"].Value,
        m => new CrashTask(
            m.Groups["active"].Length > 0, Number(m, "pid"), Number(m, "ppid"), Number(m, "cpu"), m.Groups["state"].Value, Number(m, "vsz"), Number(m, "rss"), m.Groups["comm"].Value.Trim().Trim('[', ']')));

    /// <summary>Return addresses of <c>foreach bt</c> by address of the task, innermost first; where an exception came between, the address at which it came.</summary>
    public static Dictionary<string, List<string>> Stacks(string bt)
    {
        var all = new Dictionary<string, List<string>>();
        List<string> frames = [];
        bool exception = false;
        foreach (string line in bt.Split('\n'))
        {
            if (StackHead().Match(line) is { Success: true } head)
                all[head.Groups[1].Value] = frames = [];
            else if (StackFrame().Match(line) is { Success: true } frame)
                frames.Add(frame.Groups[1].Value);
            else if (line.Contains("[exception RIP: ", StringComparison.Ordinal))
                exception = true;
            else if (exception && Rip().Match(line) is { Success: true } rip)
            {
                frames.Add(rip.Groups[1].Value);
                exception = false;
            }
        }

        return all;
    }

    private static int Number(Match match, string group) => int.Parse(match.Groups[group].Value, System.Globalization.CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^(?<active>>?) +(?<pid>\d+) +(?<ppid>-?\d+) +(?<cpu>\d+)  (?<task>[0-9a-f]{16})  (?<state>\w\w) +[\d.]+ +(?<vsz>\d+) +(?<rss>\d+)  (?<comm>.*)$", RegexOptions.Multiline)]
    private static partial Regex TaskRow();

    [GeneratedRegex("^PID: [0-9]+ +TASK: ([0-9a-f]{16})")]
    private static partial Regex StackHead();

    [GeneratedRegex(@"^ *#[0-9]+ \[[0-9a-f]+\] \S+ at ([0-9a-f]{16})")]
    private static partial Regex StackFrame();

    [GeneratedRegex("^ +RIP: ([0-9a-f]{16})")]
    private static partial Regex Rip();
}

/// <summary>A row of crash's <c>ps</c>; sizes in KiB.</summary>
internal sealed record CrashTask(bool Active, int Pid, int Ppid, int Cpu, string State, int Vsz, int Rss, string Comm);
