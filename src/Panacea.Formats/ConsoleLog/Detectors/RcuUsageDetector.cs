namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>WARNING: suspicious RCU usage</c>, then <c>file.c:123 suspicious rcu_dereference_check() usage!</c> (kernel/locking/lockdep.c: lockdep_rcu_suspicious). Facts: file, line, message.</summary>
internal sealed class RcuUsageDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.RcuUsage;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts) => Is(text, "WARNING: suspicious RCU usage");

    public override bool Owns(string text, List<LogFact> facts)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal), space = text.IndexOf(' ', StringComparison.Ordinal);
        if (colon > 0 && space > colon && !facts.Any(f => f.Name == File) && text[0] is not ' ' && (Has(text, "usage!") || Has(text, "RCU") || Has(text, "rcu")))
        {
            AddSource(facts, text.AsSpan(0, space));
            Add(facts, Message, text.AsSpan(space + 1));
            return true;
        }

        return Is(text, "-") || Is(text, " ") || Is(text, "other info ") || Has(text, "lock") || Is(text, "rcu_scheduler_active") || Is(text, "stack backtrace") || Is(text, "RCU used illegally");
    }
}
