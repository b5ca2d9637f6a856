using System.Globalization;

namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>How a report ends.</summary>
internal enum ReportEnd
{
    /// <summary>With <c>---[ end trace</c> or <c>---[ end Kernel panic</c>.</summary>
    Mark,
    /// <summary>With its stack trace, or those of other processors.</summary>
    Trace,
    /// <summary>With a line of equals signs.</summary>
    Rule,
    /// <summary>It is one line, or some that the detector knows.</summary>
    Line,
}

/// <summary>Knows one kind of report: its headline and the lines that are its own. Stateless; what it learns goes into facts.</summary>
internal abstract class ReportDetector
{
    /// <summary>Names of facts that several kinds share.</summary>
    public const string Message = "message", File = "file", FileLine = "line", At = "at", Address = "address", Access = "access", Size = "size", Type = "type", Cpu = "cpu", Pid = "pid", Comm = "comm",
        Seconds = "seconds", Other = "other", Trap = "trap", Error = "error";

    private const int MostFactChars = 512;

    /// <summary>What it knows.</summary>
    public abstract LogReportKind Kind { get; }

    /// <summary>How such a report ends.</summary>
    public virtual ReportEnd End => ReportEnd.Trace;

    /// <summary>The report shows stacks of several processors or tasks, which may be written by others than the one who began.</summary>
    public virtual bool HasManyStacks => false;

    /// <summary>Such a report, as long as it has only its headline, is completed by another: the BUG() or WARN() that follows what it is about, the trap that a BUG() is.</summary>
    /// <param name="kind">The other's kind.</param>
    public virtual bool IsCompletedBy(LogReportKind kind) => false;

    /// <summary>The line is the headline of such a report.</summary>
    /// <param name="text">The line without prefixes.</param>
    /// <param name="facts">Receives what it says.</param>
    public abstract bool Starts(string text, List<LogFact> facts);

    /// <summary>The line belongs to such a report that has begun, though it is no register, stack or module line.</summary>
    /// <param name="text">The line without prefixes.</param>
    /// <param name="facts">Receives what it says; what has been said is in it.</param>
    public virtual bool Owns(string text, List<LogFact> facts) => false;

    /// <summary>A second headline of the same kind belongs to the report that has begun.</summary>
    /// <param name="had">What the report says so far.</param>
    /// <param name="has">What the new line says.</param>
    public virtual bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => false;

    /// <summary>Adds a fact, bounded in length.</summary>
    protected static void Add(List<LogFact> facts, string name, ReadOnlySpan<char> value)
    {
        value = value.Trim();
        if (!value.IsEmpty)
            facts.Add(new LogFact(name, value[..Math.Min(value.Length, MostFactChars)].ToString()));
    }

    /// <summary>Adds the number that some text begins with.</summary>
    protected static void AddNumber(List<LogFact> facts, string name, ReadOnlySpan<char> text)
    {
        if (IdentityText.Number(text) is { } number)
            facts.Add(new LogFact(name, number.ToString(CultureInfo.InvariantCulture)));
    }

    /// <summary>What stands between two texts; the rest where the second is missing; nothing where the first is.</summary>
    protected static ReadOnlySpan<char> Between(string text, string before, string after)
    {
        int start = text.IndexOf(before, StringComparison.Ordinal);
        if (start < 0)
            return [];
        ReadOnlySpan<char> rest = text.AsSpan(start + before.Length);
        int end = rest.IndexOf(after, StringComparison.Ordinal);
        return end < 0 ? rest : rest[..end];
    }

    /// <summary>Adds the file and line of <c>path/file.c:123</c>.</summary>
    protected static void AddSource(List<LogFact> facts, ReadOnlySpan<char> source)
    {
        source = source.Trim().TrimEnd('!');
        int colon = source.LastIndexOf(':');
        if (colon <= 0 || IdentityText.Number(source[(colon + 1)..]) is null)
            return;
        Add(facts, File, source[..colon]);
        AddNumber(facts, FileLine, source[(colon + 1)..]);
    }

    /// <summary>Adds <c>name+0x1/0x20 [module]</c>, as written.</summary>
    protected static void AddPlace(List<LogFact> facts, string name, ReadOnlySpan<char> text)
    {
        if (FrameText.Find(text) is { } frame)
            Add(facts, name, frame.ToString());
    }

    /// <summary>Starts with, ordinal.</summary>
    protected static bool Is(string text, string start) => text.StartsWith(start, StringComparison.Ordinal);

    /// <summary>Contains, ordinal.</summary>
    protected static bool Has(string text, string part) => text.Contains(part, StringComparison.Ordinal);
}
