using System.Text.RegularExpressions;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Tour;

/// <summary>A crash that the tour shows, and what it expects of it.</summary>
/// <param name="Crash">Its name.</param>
/// <param name="What">What crashes, in a sentence.</param>
/// <param name="Shown">The command as a person sees it.</param>
/// <param name="Command">The command with what makes the process' fate visible.</param>
/// <param name="Repair">The repair that is expected.</param>
public sealed partial record TourCrash(string Crash, string What, string Shown, string Command, string Repair)
{
    /// <summary>What <see cref="Command"/> prints when the process that crashed the kernel is alive to do so.</summary>
    private const string Alive = "still alive:";

    /// <summary>A driver writes through a NULL pointer in a process' write().</summary>
    public static TourCrash NullWrite { get; } = InWrite("NULL write", "a driver writes through a NULL pointer in a process's write()", "null-write");

    /// <summary>A driver calls a NULL function pointer in a process' write().</summary>
    public static TourCrash NullCall { get; } = InWrite("NULL call", "a driver calls a NULL function pointer in a process's write()", "null-call");

    /// <summary>The crash that administrators test with: an explicit panic, by way of sysrq.</summary>
    public static TourCrash Sysrq { get; } = new(
        "sysrq panic", "the crash that administrators test with: a panic by sysrq", "echo c > /proc/sysrq-trigger", $"echo c > /proc/sysrq-trigger; echo {Alive} $? $$", "unwind");

    /// <summary>Those that Panacea is there for, in order.</summary>
    public static IReadOnlyList<TourCrash> Guarded { get; } = [NullWrite, NullCall, Sysrq];

    /// <summary>Compares a guarded crash with what is expected.</summary>
    /// <param name="number">Its number in the tour.</param>
    /// <param name="result">What came of it.</param>
    /// <param name="reconnects">How often the client's connection broke meanwhile.</param>
    public CrashStep Judge(int number, GuardedCrash result, int reconnects)
    {
        GuardEvent incident = result.Incident;
        bool alive = TryReadError(result.Command, out string process);
        var failures = new List<string>();
        if (incident.Outcome != "recovered")
            failures.Add($"the guard says \"{incident.Outcome}\", not \"recovered\"");
        if (incident.Repair != Repair)
            failures.Add($"the repair is {incident.Repair}, not {Repair}");
        if (!alive)
            failures.Add($"the process did not survive with an error ({process})");
        if (reconnects > 0)
            failures.Add("the client's connection broke");
        return new CrashStep
        {
            Number = number,
            Crash = Crash,
            What = What,
            Command = Shown,
            Guarded = true,
            Cause = incident.Title,
            Repair = incident.Repair ?? "none",
            Outcome = incident.Outcome ?? "",
            StoppedUs = incident.StoppedUs,
            ClientGapUs = (long)result.ClientGap.TotalMicroseconds,
            Lost = incident.Lost ?? [],
            Process = process,
            Record = incident.Record,
            Failures = failures,
        };
    }

    /// <summary>Compares a crash without Panacea with what is expected: that it is the end of this boot.</summary>
    public CrashStep Judge(int number, UnguardedCrash result) => new()
    {
        Number = number,
        Crash = $"{Crash}, without Panacea",
        What = "the same as 1, without Panacea",
        Command = Shown,
        Guarded = false,
        Cause = result.Panic,
        Repair = "none",
        Outcome = "rebooted",
        AwayUs = (long)result.Away.TotalMicroseconds,
        ClientGapUs = (long)result.ClientGap.TotalMicroseconds,
        Lost = ["every process", "every connection", "all memory"],
        Process = "died with the OS",
        Failures = result.Panic is null ? ["the kernel did not say that it panics"] : [],
    };

    /// <summary>The write fails in the shell itself, which then says so: had it been killed, nobody would.</summary>
    private static TourCrash InWrite(string crash, string what, string name) => new(
        crash, what, $"echo {name} > /dev/crashtest", $"echo {name} > /dev/crashtest; echo {Alive} $? $$", "error-return");

    private static bool TryReadError(GuestCommandResult result, out string process)
    {
        Match alive = AliveLine().Match(result.Output), error = ErrorLine().Match(result.Output);
        if (result.Status == 137)
            process = "killed";
        else if (!alive.Success)
            process = result.Output.Length == 0 ? $"status {result.Status}" : result.Output.Trim();
        else
            process = $"process {alive.Groups[2].Value} lives on; write(): {(error.Success ? error.Groups[1].Value : "no error")}";
        return alive.Success && alive.Groups[1].Value != "0" && error.Success;
    }

    [GeneratedRegex(@"^still alive: (\d+) (\d+)\s*$", RegexOptions.Multiline)]
    private static partial Regex AliveLine();

    // "sh: write error: I/O error"
    [GeneratedRegex(@"write error: ([^\r\n]+)")]
    private static partial Regex ErrorLine();
}
