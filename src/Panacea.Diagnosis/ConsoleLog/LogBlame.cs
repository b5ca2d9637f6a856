using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>Which function of a report is to blame.</summary>
/// <param name="Frame">Its frame; null where there is none.</param>
/// <param name="Index">Index of the frame in the report's stack; -1 where the headline names it and the stack does not.</param>
/// <param name="Confidence">How sure.</param>
/// <param name="WhyNot">Why it is not sure, or why there is none.</param>
internal sealed record LogBlame(LogFrame? Frame, int Index, Confidence Confidence, string? WhyNot)
{
    /// <summary>Finds it.</summary>
    public static LogBlame Find(LogReport report, CrashKind kind, IReadOnlyList<LogFrame> frames)
    {
        if (kind is CrashKind.OutOfMemory or CrashKind.MachineCheck or CrashKind.BadPageMap or CrashKind.IoError or CrashKind.FilesystemError or CrashKind.UnknownNmi or CrashKind.Sysrq)
            return new LogBlame(null, -1, Confidence.High, null);
        if (LogKinds.IsTrap(report.Kind) || kind == CrashKind.Panic)
            return OfDeath(report, kind, frames);
        return Named(report, kind, frames) ?? OfWitness(kind, frames);
    }

    /// <summary>As for a crash read from memory.</summary>
    private static LogBlame OfDeath(LogReport report, CrashKind kind, IReadOnlyList<LogFrame> frames)
    {
        bool isTrap = kind != CrashKind.Panic;
        bool isFetch = kind is CrashKind.NullCall or CrashKind.WildCall;
        int? found = FaultyFrames.Find(
            [.. frames.Select((f, i) => (Frame: f, At: i)).Where(f => f.Frame.Reliable)], _ => true, f => isFetch && f.At == 0 && f.Frame.IsTrap ? null : f.Frame.Function, isTrap, out string? whyNot);
        if (found is { } nth)
        {
            int at = frames.Select((f, i) => (f, i)).Where(f => f.f.Reliable).ElementAt(nth).i;
            return new LogBlame(frames[at], at, at == 0 || !isTrap || isFetch ? Confidence.High : Confidence.Medium, null);
        }

        // What the unwinder could not prove may be right all the same.
        for (int i = isFetch ? 1 : 0; i < frames.Count; i++)
        {
            if (frames[i].Function is { } function && !BlamelessFunctions.Contains(function, isTrap))
                return new LogBlame(frames[i], i, Confidence.Low, whyNot);
        }

        return new LogBlame(frames.Count > 0 && frames[0].Function is not null ? frames[0] : null, frames.Count > 0 ? 0 : -1, Confidence.Low, frames.Count > 0 ? whyNot : "the report has no stack");
    }

    /// <summary>The function that the headline names, where that is not a helper.</summary>
    private static LogBlame? Named(LogReport report, CrashKind kind, IReadOnlyList<LogFrame> frames)
    {
        if (report.Fact("at") is not { } text || !FrameText(text, out LogFrame named) || named.Function is not { } function || BlamelessFunctions.StandsAbove(kind, function))
            return null;
        int at = frames.ToList().FindIndex(f => f.Function == function && f.Reliable);
        return new LogBlame(at >= 0 ? frames[at] : named, at, Confidence.High, null);
    }

    /// <summary>The kernel looked at a stack and reported it: what stands above what it was looking for is skipped.</summary>
    private static LogBlame OfWitness(CrashKind kind, IReadOnlyList<LogFrame> frames)
    {
        // A watchdog that reports from its interrupt, without registers, shows its own frames first, and then where it interrupted.
        int start = LogKinds.IsHang(kind) ? Math.Max(0, frames.ToList().FindIndex(f => f.IsTrap)) : 0;
        for (int pass = 0; pass < 2; pass++)
        {
            for (int i = start; i < frames.Count; i++)
            {
                if (frames[i].Function is { } function && (frames[i].Reliable || pass == 1) && !BlamelessFunctions.StandsAbove(kind, function))
                    return new LogBlame(frames[i], i, pass == 1 ? Confidence.Low : Confidence.Medium, pass == 1 ? "no frame of the stack is proved" : null);
            }
        }

        return new LogBlame(null, -1, Confidence.Low, frames.Count == 0 ? "the report has no stack" : "every function of the stack is a helper");
    }

    private static bool FrameText(string text, out LogFrame frame)
    {
        // Facts hold places as the kernel wrote them.
        int plus = text.IndexOf("+0x", StringComparison.Ordinal), open = text.IndexOf(" [", StringComparison.Ordinal);
        frame = new LogFrame(plus > 0 ? text[..plus] : null, 0, 0, open > 0 ? text[(open + 2)..].TrimEnd(']') : null, null, true, false, null);
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        if (plus > 0 && slash > plus && LogTraps.Hex(text[(plus + 1)..slash]) is { } offset && LogTraps.Hex(open > 0 ? text[(slash + 1)..open] : text[(slash + 1)..]) is { } size)
            frame = frame with { Offset = offset, Size = size };
        return plus > 0;
    }
}
