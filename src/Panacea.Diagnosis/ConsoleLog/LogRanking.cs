using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>Which report of a boot is the first cause, and what the others are to it.</summary>
internal static class LogRanking
{
    /// <summary>What a panic says that the kernel makes of another report, and of which kind that is.</summary>
    private static readonly (string Words, Func<CrashKind, bool> Of)[] Panics =
    [
        ("Fatal exception", k => LogKinds.IsDeath(k) || k == CrashKind.Unknown), ("Fatal hardware error", k => k == CrashKind.MachineCheck), ("Fatal machine check", k => k == CrashKind.MachineCheck), ("Fatal local machine check", k => k == CrashKind.MachineCheck),
        ("machine check", k => k == CrashKind.MachineCheck), ("hung_task: blocked tasks", k => k == CrashKind.HungTask), ("softlockup: hung tasks", k => k == CrashKind.SoftLockup), ("Hard LOCKUP", k => k == CrashKind.HardLockup),
        ("RCU Stall", k => k == CrashKind.RcuStall), ("panic_on_warn", k => !LogKinds.IsCircumstance(k)), ("panic_on_oom", k => k == CrashKind.OutOfMemory), ("out of memory", k => k == CrashKind.OutOfMemory), ("Out of memory", k => k == CrashKind.OutOfMemory),
        ("System is deadlocked on memory", k => k == CrashKind.OutOfMemory), ("stack guard page", k => k == CrashKind.StackOverflow),
        ("Aiee, killing interrupt handler", LogKinds.IsDeath), ("Attempted to kill the idle task", LogKinds.IsDeath), ("Attempted to kill init", LogKinds.IsDeath), ("panic_on_kmemleak", k => k == CrashKind.MemoryLeak),
        ("forced after error", k => k == CrashKind.FilesystemError), ("forced because of errors", k => k == CrashKind.FilesystemError), ("kernel panic after error", k => k == CrashKind.FilesystemError),
    ];

    /// <summary>Ranks.</summary>
    /// <param name="crashes">In the order of the log.</param>
    /// <param name="boots">The kernels that wrote them, by number.</param>
    /// <param name="first">The one to begin with; null where there is none.</param>
    public static List<LogCrash> Rank(List<LogCrash> crashes, IReadOnlyList<LogBoot> boots, out int? first)
    {
        var causes = new List<int>();
        foreach (IGrouping<int, int> boot in Enumerable.Range(0, crashes.Count).GroupBy(i => crashes[i].Boot))
        {
            if (RankBoot(crashes, [.. boot], boots[boot.Key].IsCrashKernel) is { } cause)
                causes.Add(cause);
        }

        // A crash kernel boots because another has died: what it reports itself is never what began it. A kernel that only complained is passed over where a later one died.
        first = causes.Count > 0 ? causes.OrderBy(c => boots[crashes[c].Boot].IsCrashKernel).ThenBy(c => !IsStrong(crashes, c)).First() : crashes.Count > 0 ? 0 : null;
        return crashes;
    }

    /// <summary>It damaged memory or died, or did not go on, or the kernel panicked for it.</summary>
    private static bool IsStrong(List<LogCrash> crashes, int i) =>
        LogKinds.IsDeath(crashes[i].Kind) || LogKinds.IsCorruption(crashes[i].Kind) || LogKinds.IsHang(crashes[i].Kind) || crashes.Exists(c => c.FollowsFrom == i && c.Boot == crashes[i].Boot);

    private static int? RankBoot(List<LogCrash> crashes, int[] boot, bool isCrashKernel)
    {
        // A panic that the kernel makes of another report is no cause of its own.
        foreach (int i in boot)
        {
            if (crashes[i] is not { Kind: CrashKind.Panic, PanicMessage: { } words } || OriginOf(crashes, boot, i, words) is not { } origin)
                continue;
            crashes[i] = crashes[i] with { Rank = LogRank.Consequence, FollowsFrom = origin, RankReason = "the kernel panics because of that report" };
            crashes[origin] = crashes[origin] with { PanicMessage = words };
        }

        int? cause = FirstOf(crashes, boot);
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (int i in boot)
        {
            LogCrash crash = crashes[i];
            bool isRepeat = seen.TryGetValue(crash.Bucket, out int before);
            seen.TryAdd(crash.Bucket, i);
            if (i == cause)
                crashes[i] = crash with { Rank = LogRank.FirstCause, RankReason = isCrashKernel ? "the first of the crash kernel's own boot" : "the first of this boot" };
            else if (crash.FollowsFrom is not null)
                continue;
            else if (LogKinds.IsCircumstance(crash.Kind))
                crashes[i] = crash with { Rank = LogRank.Circumstance, RankReason = "no crash by itself" };
            else if (isRepeat)
                crashes[i] = crash with { Rank = LogRank.Repeat, FollowsFrom = before, RankReason = "the same as an earlier one" };
            else if (cause is { } c && i > c && (LogKinds.IsDeath(crashes[c].Kind) || LogKinds.IsCorruption(crashes[c].Kind) || (LogKinds.IsHang(crashes[c].Kind) && LogKinds.IsHang(crash.Kind))))
                crashes[i] = crash with { Rank = LogRank.Consequence, FollowsFrom = c, RankReason = "came after the first, in a kernel that was damaged by then" };
        }

        if (cause is { } at && LogKinds.IsDeath(crashes[at].Kind) && crashes[at].Taint is { } taint && taint.Contains('D'))
        {
            crashes[at] = crashes[at] with
            {
                RankReason = "the first of this boot in the log; the kernel had crashed before (taint D)",
                Unavailable = [.. crashes[at].Unavailable, "the first crash: the kernel was already tainted by an earlier one (D) that is not in the log"],
            };
        }

        return cause;
    }

    /// <summary>The nearest earlier report that such a panic is made of.</summary>
    private static int? OriginOf(List<LogCrash> crashes, int[] boot, int panic, string words)
    {
        foreach ((string known, Func<CrashKind, bool> of) in Panics)
        {
            if (!words.Contains(known, StringComparison.Ordinal))
                continue;
            for (int k = Array.IndexOf(boot, panic) - 1; k >= 0; k--)
            {
                if (of(crashes[boot[k]].Kind) && crashes[boot[k]].Kind != CrashKind.Panic)
                    return boot[k];
            }
        }

        return null;
    }

    /// <summary>The earliest that damaged memory or died, or that did not go on; what the kernel only complains of counts where there is nothing else, or where it panicked for it.</summary>
    private static int? FirstOf(List<LogCrash> crashes, int[] boot)
    {
        int? weak = null;
        foreach (int i in boot)
        {
            CrashKind kind = crashes[i].Kind;
            if (crashes[i].FollowsFrom is null && IsStrong(crashes, i))
                return i;
            if (crashes[i].FollowsFrom is null && !LogKinds.IsCircumstance(kind))
                weak ??= i;
        }

        return weak;
    }
}
