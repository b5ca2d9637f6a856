namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The line with which the kernel dies of a trap: <c>Oops: general protection fault, …: 0000 [#1] PREEMPT SMP</c> (arch/x86/kernel/dumpstack.c: __die_header). Until 6.9 "Oops: " stands only before page faults (commit f9f62a877da1, "x86/dumpstack: Use uniform "Oops: " prefix for die() messages").</summary>
/// <param name="kind">The kind.</param>
/// <param name="names">How the trap is named there.</param>
internal abstract class TrapDetector(LogReportKind kind, params string[] names) : ReportDetector
{
    private const string Prefix = "Oops: ";

    public override LogReportKind Kind => kind;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!TryHeader(text, out ReadOnlySpan<char> name, out ReadOnlySpan<char> error) || !Matches(name))
            return false;
        Add(facts, Trap, name);
        Add(facts, Error, error);
        Read(text, facts);
        return true;
    }

    /// <summary>The header completes what was said before it.</summary>
    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => !had.Any(f => f.Name == Trap) && has.Any(f => f.Name == Trap);

    /// <summary>The name belongs to the kind.</summary>
    protected virtual bool Matches(ReadOnlySpan<char> name)
    {
        foreach (string known in names)
        {
            if (name.StartsWith(known, StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    /// <summary>What else the line says.</summary>
    protected virtual void Read(string text, List<LogFact> facts)
    {
    }

    /// <summary>Takes <c>name: 0000 [#1]</c> apart.</summary>
    protected static bool TryHeader(string text, out ReadOnlySpan<char> name, out ReadOnlySpan<char> error)
    {
        name = error = [];
        int count = text.IndexOf(" [#", StringComparison.Ordinal);
        if (count < 6)
            return false;
        int colon = text.LastIndexOf(": ", count, StringComparison.Ordinal);
        if (colon < 1 || colon + 2 > count)
            return false;
        error = text.AsSpan(colon + 2, count - colon - 2);
        if (error.Length is < 4 or > 16 || error.ContainsAnyExcept("0123456789abcdef"))
            return false;
        name = text.AsSpan(0, colon);
        if (name.StartsWith(Prefix, StringComparison.Ordinal))
            name = name[Prefix.Length..];
        return true;
    }
}
