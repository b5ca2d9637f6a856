using Panacea.Formats.ConsoleLog.Detectors;

namespace Panacea.Formats.ConsoleLog;

/// <summary>What was read of a console log besides its reports.</summary>
/// <param name="Lines">Lines of the log.</param>
/// <param name="TruncatedLines">Lines of which only the beginning was read.</param>
/// <param name="Boots">Boots whose banner ("Linux version") is in the log.</param>
/// <param name="DroppedReports">Reports past the limit, by how many.</param>
/// <param name="HasTimestamps">At least one line has a time stamp of the kernel's.</param>
public sealed record LogStatistics(long Lines, long TruncatedLines, int Boots, long DroppedReports, bool HasTimestamps);

/// <summary>Finds the kernel's reports in a console log of any size, with memory that does not grow with it: it keeps the reports (within the limits) and nothing else.</summary>
/// <param name="limits">Ceilings.</param>
public sealed class ConsoleLogReader(FormatLimits limits)
{
    private const int MostStrangers = 40, MostStrangersAfterTrace = 2, MostPreface = 12;
    private const ulong MostSilenceNs = 60_000_000_000;

    private readonly List<OpenReport> _open = [];
    private readonly List<LogReport> _finished = [];
    private readonly List<(LogLine Line, List<LogLine> Text)> _cuts = [];
    private readonly List<LogFact> _facts = [];
    private readonly LogBoots _boots = new(limits);
    private long _dropped;
    private bool _stamped;

    /// <summary>The kernels that wrote it, in the order of the log; complete after <see cref="Read"/>.</summary>
    public IReadOnlyList<LogBoot> Boots => _boots.All;

    /// <summary>Reads a log to its end.</summary>
    /// <param name="log">The log; not closed.</param>
    /// <param name="statistics">What else was read.</param>
    /// <returns>The reports, in the order of their headlines.</returns>
    public IReadOnlyList<LogReport> Read(TextReader log, out LogStatistics statistics)
    {
        var lines = new LogLineReader(log, limits);
        while (lines.Read(out long number) is { } raw)
        {
            foreach (LogLine line in LogPrefixes.Split(number, raw))
            {
                if (line.IsKernel && line.Text.Length > 0)
                    Accept(line);
            }
        }

        while (_open.Count > 0)
            Close(_open[0]);
        statistics = new LogStatistics(lines.Lines, lines.TruncatedLines, _boots.Banners, _dropped, _stamped);
        return [.. _finished.OrderBy(r => r.Headline.Number)];
    }

    private void Accept(LogLine line)
    {
        _stamped |= line.TimestampNs is not null;
        string text = line.Text;
        if (_boots.Begins(line))
        {
            while (_open.Count > 0)
                Close(_open[0]);
            _cuts.Clear();
        }

        CloseSilent(line);
        if (Cut.IsMark(text))
        {
            BeginCut(line);
            return;
        }

        if (Cut.IsEnd(text))
        {
            if (Owner(line, o => !o.Ended && o.Detector.End == ReportEnd.Mark) is { } ended)
            {
                ended.End(line);
                if (text.StartsWith("---[ end Kernel panic", StringComparison.Ordinal))
                    Close(ended);
            }
            else if (Owner(line, o => !o.Ended) is { } other)
            {
                Close(other);
            }

            return;
        }

        if (Cut.IsRule(text))
        {
            if (Owner(line, o => o.Detector.End == ReportEnd.Rule && o.HasDump) is { } ruled)
            {
                ruled.End(line);
                Close(ruled);
            }

            return;
        }

        _facts.Clear();
        if (DetectorList.Find(text, _facts) is { } detector)
            Begin(detector, line);
        else
            Continue(line);
    }

    private void Begin(ReportDetector detector, LogLine line)
    {
        List<LogLine> preface = TakeCut(line);

        // What follows a headline and completes it: the BUG() of a broken list, the trap of a BUG().
        OpenReport? same = Owner(line, o => o.Detector == detector && !o.Ended && (o.IsHeadOnly || detector.End is ReportEnd.Line) && detector.Continues(o.Facts, _facts));
        OpenReport? head = same ?? Owner(line, o => o.IsHeadOnly && !o.Ended && o.Detector.IsCompletedBy(detector.Kind));
        if (head is not null)
        {
            head.Continue(line, _facts, preface);
            return;
        }

        // A writer writes one report at a time.
        if (Owner(line, o => o.Ended || o.TraceDone(line.Caller) || o.InTrace(line.Caller) || o.Detector.End is ReportEnd.Line) is { } before)
            Close(before);
        if (_open.Count >= limits.MaxOpenLogReports)
            Close(_open[0]);
        _open.Add(new OpenReport(detector, line, _facts, preface, _boots.OfReport(line), limits.MaxLogReportLines));
    }

    private void Continue(LogLine line)
    {
        BodyLine kind = ReportBody.Classify(line.Text);
        OpenReport? owner = kind == BodyLine.None ? null : OwnerOf(line, kind);
        if (owner is { Ended: true })
        {
            // oops_end() writes the registers of the first oops once more.
            if (kind == BodyLine.Registers)
                return;
            Close(owner);
            owner = OwnerOf(line, kind);
        }

        if (owner is { Detector.HasManyStacks: false, Detector.End: ReportEnd.Trace } && owner.TraceDone(line.Caller) && kind is BodyLine.Identity or BodyLine.Title)
        {
            Close(owner);
            owner = null;
        }

        if (owner is not null)
        {
            if (kind == BodyLine.Title)
                owner.ReadFacts(line);
            owner.ReadBody(line);
            return;
        }

        for (int i = _open.Count - 1; i >= 0; i--)
        {
            if (Fits(_open[i], line) && !_open[i].Ended && _open[i].ReadOwn(line))
                return;
        }

        if (kind is BodyLine.Registers && line.Text.StartsWith("RIP: 0010:", StringComparison.Ordinal)
            || kind is BodyLine.Identity && line.Text.StartsWith("CPU: ", StringComparison.Ordinal)
            || kind is BodyLine.Trace && line.Text.Contains("+0x", StringComparison.Ordinal))
        {
            _facts.Clear();
            Begin(DetectorList.Fragment, line);
            _open[^1].ReadBody(line);
            return;
        }

        Stranger(line);
    }

    /// <summary>Whose line of a dump this is: the latest that it can belong to, and of two that are interleaved the one that still lacks it.</summary>
    private OpenReport? OwnerOf(LogLine line, BodyLine kind) =>
        Owner(line, o => !o.Ended && Wants(o, line, kind)) ?? Owner(line, o => !o.Ended && o.Detector.HasManyStacks) ?? Owner(line, o => !o.Ended) ?? Owner(line, _ => true)
        ?? (kind is BodyLine.Identity or BodyLine.Registers or BodyLine.Trace or BodyLine.Title ? _open.FindLast(o => o.Detector.HasManyStacks && !o.Ended) : null);

    private static bool Wants(OpenReport report, LogLine line, BodyLine kind) => kind switch
    {
        BodyLine.Trace => report.InTrace(line.Caller) || !report.TraceDone(line.Caller),
        BodyLine.Registers => report.Lacks(line),
        BodyLine.Identity => report.IsHeadOnly || report.Detector.HasManyStacks,
        _ => true,
    };

    private void Stranger(LogLine line)
    {
        // In a log whose kernel stamps its lines, one without a stamp is a login prompt or a service's.
        if (_stamped && line.TimestampNs is null)
            return;
        if (_cuts.FindIndex(c => c.Line.Caller == line.Caller) is >= 0 and int cut)
        {
            if (_cuts[cut].Text.Count < MostPreface)
                _cuts[cut].Text.Add(line);
            else
                _cuts.RemoveAt(cut);
        }

        for (int i = _open.Count - 1; i >= 0; i--)
        {
            OpenReport report = _open[i];
            if (!Fits(report, line))
                continue;
            report.Strangers++;
            bool over = report.Ended || (report.Detector.End != ReportEnd.Mark && report.TraceDone(line.Caller)) || report.Detector.End == ReportEnd.Line;
            if (report.Strangers > (over ? MostStrangersAfterTrace : MostStrangers))
                Close(report);
        }
    }

    /// <summary>The latest report that a line can belong to.</summary>
    private OpenReport? Owner(LogLine line, Func<OpenReport, bool> that) => _open.FindLast(o => Fits(o, line) && that(o));

    /// <summary>Where the log tells who wrote a line, a report is one writer's.</summary>
    private static bool Fits(OpenReport report, LogLine line) => report.Caller is null || line.Caller is null || report.Caller == line.Caller;

    private void BeginCut(LogLine line)
    {
        if (Owner(line, o => o.Ended || (o.Detector.End != ReportEnd.Mark && o.TraceDone(line.Caller))) is { } over)
            Close(over);
        _cuts.RemoveAll(c => c.Line.Caller == line.Caller);
        if (_cuts.Count >= limits.MaxOpenLogReports)
            _cuts.RemoveAt(0);
        _cuts.Add((line, [line]));
    }

    private List<LogLine> TakeCut(LogLine line)
    {
        int at = _cuts.FindIndex(c => c.Line.Caller == line.Caller);
        if (at < 0)
            return [];
        List<LogLine> text = _cuts[at].Text;
        _cuts.RemoveAt(at);
        return text;
    }

    private void CloseSilent(LogLine line)
    {
        if (line.TimestampNs is not { } now)
            return;
        for (int i = _open.Count - 1; i >= 0; i--)
        {
            if (_open[i].Last.TimestampNs is { } then && now > then && now - then > MostSilenceNs)
                Close(_open[i]);
        }
    }

    private void Close(OpenReport report)
    {
        _open.Remove(report);
        if (_finished.Count >= limits.MaxLogReports)
            _dropped++;
        else
            _finished.Add(report.Finish());
    }
}
