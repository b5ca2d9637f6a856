using System.Text.RegularExpressions;

namespace Panacea.Lab.Campaign;

/// <summary>What was seen of a run.</summary>
/// <param name="Console">What the kernel wrote to its console during the run.</param>
/// <param name="HasEnded">QEMU has ended: the machine reset or powered itself off.</param>
/// <param name="Incidents">What the guard told.</param>
/// <param name="Failures">What did not work at the end.</param>
/// <param name="Lost">What had been promised, and was not so.</param>
/// <param name="IsStuck">At the end a CPU, or a task in the kernel, did not get on.</param>
public sealed record TrialEvidence(string Console, bool HasEnded, IReadOnlyList<TrialIncident> Incidents, IReadOnlyList<string> Failures, IReadOnlyList<string> Lost, bool IsStuck);

/// <summary>Says what a fault did.</summary>
public static partial class TrialJudge
{
    private static readonly string[] Hangs = ["soft lockup", "hard lockup", "hung task", "stalled I/O", "lost timer tick"];

    private const int MaxLines = 12, MaxLength = 200;

    /// <summary>The verdict. A guest that lives is one that did everything and lost nothing, whatever came between.</summary>
    public static (TrialOutcome Outcome, bool Lives) Judge(TrialEvidence seen)
    {
        bool lives = !seen.HasEnded && !IsDead(seen.Console) && seen.Failures.Count == 0 && seen.Lost.Count == 0;
        bool crashed = seen.HasEnded || HasDied(seen.Console) || seen.Incidents.Any(i => !IsHang(i));

        // What the guard has left as it was, and the guest lives, has ended by itself, as it may have where nobody looked.
        bool hung = (seen.Failures.Count > 0 && seen.IsStuck) || seen.Incidents.Any(i => IsHang(i) && (!lives || i.Outcome != "declined"));
        return (crashed ? TrialOutcome.Crash : hung ? TrialOutcome.Hang : seen.Lost.Count > 0 ? TrialOutcome.SilentCorruption : seen.Failures.Count > 0 ? TrialOutcome.Failure : TrialOutcome.NoEffect, lives);
    }

    /// <summary>The kernel has panicked: it will not come back.</summary>
    public static bool IsDead(string console) => console.Contains("Kernel panic - not syncing", StringComparison.Ordinal);

    /// <summary>The kernel oopsed or panicked: die() counts its oopses in brackets (arch/x86/kernel/dumpstack.c, __die_header).</summary>
    public static bool HasDied(string console) => IsDead(console) || Die().IsMatch(console);

    /// <summary>How many oopses the kernel has counted.</summary>
    public static int Deaths(string console) => Die().Count(console);

    /// <summary>The lines in which the kernel says what is wrong.</summary>
    public static IReadOnlyList<string> Words(string console) =>
        [.. console.Split('\n').Select(l => l.Trim()).Where(l => Complaint().IsMatch(l)).Take(MaxLines).Select(l => l.Length > MaxLength ? l[..MaxLength] + "…" : l)];

    /// <summary>By the kind that its title begins with (Panacea.Diagnosis.CrashKind).</summary>
    private static bool IsHang(TrialIncident incident) => incident.Title is { } title
        && Array.Exists(Hangs, kind => title.StartsWith(kind, StringComparison.Ordinal));

    [GeneratedRegex(@"\[#\d+\]")]
    private static partial Regex Die();

    [GeneratedRegex(@"Kernel panic|\[#\d+\]|BUG:|kernel BUG at|WARNING: CPU|RIP: 0010|lockup|rcu:.*stall|Oops|EXT4-fs error|I/O error|segfault|Bad page|corruption")]
    private static partial Regex Complaint();
}
