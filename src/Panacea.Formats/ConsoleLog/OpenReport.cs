using Panacea.Formats.ConsoleLog.Detectors;

namespace Panacea.Formats.ConsoleLog;

/// <summary>A report that is being written.</summary>
internal sealed class OpenReport
{
    private const int MostFacts = 512, MostWriters = 64;

    private readonly List<LogFact> _facts;
    private readonly List<LogLine> _lines = [];
    private readonly List<(string Caller, ReportBody Body)> _bodies = [];
    private readonly int _mostLines;
    private bool _truncated;

    public OpenReport(ReportDetector detector, LogLine headline, IEnumerable<LogFact> facts, IEnumerable<LogLine> preface, LogBoot boot, int mostLines)
    {
        (Detector, Headline, Boot, _mostLines) = (detector, headline, boot, mostLines);
        _facts = [.. facts];
        foreach (LogLine line in preface)
        {
            Keep(line);
            if (!Cut.IsMark(line.Text))
                _facts.Add(new LogFact(ReportDetector.Message, line.Text.Trim()));
        }

        Keep(headline);
        Last = headline;
    }

    public ReportDetector Detector { get; }

    public LogLine Headline { get; }

    public LogBoot Boot { get; }

    /// <summary>What it says so far.</summary>
    public IReadOnlyList<LogFact> Facts => _facts;

    /// <summary>The last line that was its own.</summary>
    public LogLine Last { get; private set; }

    /// <summary>Foreign lines since.</summary>
    public int Strangers { get; set; }

    /// <summary>Its end mark has been seen; what may follow are registers again.</summary>
    public bool Ended { get; private set; }

    /// <summary>Registers or a stack have been seen.</summary>
    public bool HasDump => _bodies.Exists(b => b.Body.HasDump);

    /// <summary>Only a headline so far: of the report's own stack nothing has been seen, nor who ran.</summary>
    public bool IsHeadOnly => !_bodies.Exists(b => b.Body.HasMain);

    /// <summary>The writer of its headline.</summary>
    public string? Caller => Headline.Caller;

    /// <summary>The stack trace that is being written by a caller is not closed.</summary>
    public bool InTrace(string? caller) => Find(caller) is { InTrace: true };

    /// <summary>A stack trace of a caller is closed, or interrupted by something else.</summary>
    public bool TraceDone(string? caller) => Find(caller) is { } body && (body.TraceClosed || body.HasDump && !body.InTrace);

    /// <summary>A line of registers is one that it does not have yet.</summary>
    public bool Lacks(LogLine line) => Find(line.Caller) is not { } body || body.Lacks(line.Text);

    /// <summary>A line completes or continues the headline.</summary>
    public void Continue(LogLine line, IReadOnlyList<LogFact> facts, IEnumerable<LogLine> preface)
    {
        foreach (LogLine before in preface)
        {
            if (before.Number != Headline.Number)
                Keep(before);
        }

        AddFacts(facts);
        Keep(line);
        Last = line;
        Strangers = 0;
    }

    /// <summary>A line of registers, stack or modules.</summary>
    public void ReadBody(LogLine line)
    {
        BodyOf(line.Caller).Read(line.Text);
        Keep(line);
        Last = line;
        Strangers = 0;
    }

    /// <summary>What a line of the dump says besides.</summary>
    public bool ReadFacts(LogLine line)
    {
        bool owned = Detector.Owns(line.Text, _facts);
        if (_facts.Count > MostFacts)
            _facts.RemoveRange(MostFacts, _facts.Count - MostFacts);
        return owned;
    }

    /// <summary>A line that the detector knows; false where it does not.</summary>
    public bool ReadOwn(LogLine line)
    {
        if (!ReadFacts(line))
            return false;
        if (line.Text.Contains("ainted", StringComparison.Ordinal))
            BodyOf(line.Caller).ReadTaint(line.Text);
        Keep(line);
        Last = line;
        Strangers = 0;
        return true;
    }

    /// <summary>Its end mark.</summary>
    public void End(LogLine line)
    {
        Ended = true;
        Keep(line);
        Last = line;
        Strangers = 0;
    }

    public LogReport Finish()
    {
        var modules = _bodies.Select(b => b.Body.Modules).FirstOrDefault(m => m.Count > 0);
        _facts.RemoveAll(f => f.Name == "pending");
        return new LogReport
        {
            Kind = Detector.Kind,
            Headline = Headline,
            Boot = Boot.Number,
            BannerRelease = Boot.Banner,
            Facts = _facts,
            Blocks = [.. _bodies.SelectMany(b => b.Body.Finish())],
            Modules = modules ?? [],
            Hardware = _bodies.Select(b => b.Body.Hardware).FirstOrDefault(h => h is not null),
            Workqueue = _bodies.Select(b => b.Body.Workqueue).FirstOrDefault(w => w is not null),
            Lines = _lines,
            IsComplete = Ended || Detector.End is ReportEnd.Line || (Detector.End != ReportEnd.Mark && HasDump),
            IsTruncated = _truncated,
        };
    }

    private ReportBody? Find(string? caller) => _bodies.Find(b => b.Caller == (caller ?? "")).Body;

    private ReportBody BodyOf(string? caller)
    {
        if (Find(caller) is { } body)
            return body;
        if (_bodies.Count == MostWriters)
            return _bodies[0].Body;
        body = new ReportBody();
        _bodies.Add((caller ?? "", body));
        return body;
    }

    private void AddFacts(IReadOnlyList<LogFact> facts)
    {
        foreach (LogFact fact in facts)
        {
            if (_facts.Count < MostFacts)
                _facts.Add(fact);
        }
    }

    private void Keep(LogLine line)
    {
        if (_lines.Count < _mostLines)
            _lines.Add(line);
        else
            _truncated = true;
    }
}

/// <summary>The kernel's own scissors.</summary>
internal static class Cut
{
    public static bool IsMark(string text) => text.StartsWith("------------[ cut here ]", StringComparison.Ordinal);

    public static bool IsEnd(string text) =>
        text.StartsWith("---[ end trace", StringComparison.Ordinal) || text.StartsWith("---[ end Kernel panic", StringComparison.Ordinal);

    public static bool IsRule(string text) => text.Length >= 20 && text[0] == '=' && text.AsSpan().TrimEnd().IndexOfAnyExcept('=') < 0;
}
