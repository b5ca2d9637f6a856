using System.Globalization;
using System.Text;
using Panacea.Diagnosis.ConsoleLog;
using static Panacea.Diagnosis.Rendering.HtmlPage;

namespace Panacea.Diagnosis.Rendering;

/// <summary>The diagnosis of a console log as one self-contained HTML file.</summary>
public static class LogHtml
{
    /// <summary>The whole document.</summary>
    /// <param name="diagnosis">The diagnosis.</param>
    /// <param name="source">The log as the user named it.</param>
    public static string Render(LogDiagnosis diagnosis, string source)
    {
        var to = new StringBuilder();
        LogCrash? crash = diagnosis.First is { } first ? diagnosis.Reports[first] : null;
        string title = crash?.Title ?? LogMarkdown.TitleWithoutReport(diagnosis);
        Begin(to, title);
        to.Append("<p class=\"source\">").Append(Safe.Html(source)).Append(" · console log of ").Append(diagnosis.Log.Lines).Append(" lines</p>\n<h1>").Append(Safe.Html(title)).Append("</h1>\n");
        if (crash is not null)
            Report(to, diagnosis, crash);
        if (diagnosis.Reports.Count > 1)
        {
            Heading(to, "All reports in this log");
            to.Append("<ol>");
            foreach (LogCrash each in diagnosis.Reports)
                to.Append("<li>").Append(Safe.Html(each.Title)).Append(" <span class=\"loose\">").Append(MarkdownReport.Kebab(each.Rank)).Append(diagnosis.Boots.Count > 1 ? string.Create(CultureInfo.InvariantCulture, $", boot {each.Boot + 1}{(diagnosis.Boots[each.Boot].IsCrashKernel ? " (crash kernel)" : "")}") : "").Append("</span></li>");
            to.Append("</ol>\n");
        }

        DebugFiles(to, diagnosis.DebugFiles);
        Missing(to, [.. crash?.Unavailable ?? [], .. diagnosis.Unavailable]);
        return End(to);
    }

    private static void Report(StringBuilder to, LogDiagnosis diagnosis, LogCrash crash)
    {
        to.Append("<p class=\"cause\">").Append(Safe.Html(crash.Cause)).Append("</p>\n");
        Tags(
            to, MarkdownReport.Kebab(crash.Kind), $"in {MarkdownReport.Kebab(crash.Context)} context", crash.Location?.Module is { } module ? $"module {module}" : null,
            crash.KernelRelease is { } release ? $"Linux {release}" : null, crash.Taint is { } taint ? $"taint {taint}" : null, $"bucket {crash.Bucket}");
        Heading(to, "The report");
        to.Append("<dl>");
        Item(to, "Where", crash.Location is { } location ? $"{location} (confidence {MarkdownReport.Kebab(crash.Confidence)})" : null);
        Item(to, "Source", crash.Source ?? Sources.Whole(crash.Location?.Source, crash.Location?.Inlined ?? []));
        Item(to, "Access", crash.Fault is { } fault ? $"{fault.Access}{(fault.Address is { } a ? $" at 0x{a:x16}" : "")}{(fault.Explanation is { } e ? $": {e}" : "")}" : null);
        Item(to, "Panic", crash.PanicMessage);
        Item(to, "Hardware", crash.Hardware);
        Item(to, "Boot", LogMarkdown.DescribeBoot(diagnosis, crash.Boot));
        Item(to, "Rank", $"{MarkdownReport.Kebab(crash.Rank)}: {crash.RankReason}");
        foreach (var fact in crash.Details)
            Item(to, Safe.Html(fact.Name), fact.Value);
        to.Append("</dl>\n");
        KnownIssueText.AppendHtml(to, crash.KnownIssues);
        Frames(to, "Stack", crash.Stack);
        foreach (LogStack stack in crash.OtherStacks)
            Frames(to, stack.Title.Length == 0 ? "Another stack" : stack.Title.TrimEnd(':'), stack.Entries);
        Disassembly(to, crash.Disassembly);
        if (crash.Registers.Count > 0)
            Registers(to, crash.Registers);
    }

    private static void Frames(StringBuilder to, string title, IReadOnlyList<LogStackEntry> entries)
    {
        if (entries.Count > 0)
            Stack(to, title, entries.Select(e => new HtmlFrame(e.Location.ToString(), e.Reliable, e.IsTrap, e.Stack, e.Location.Address, null) { Source = e.Location.Source, Inlined = e.Location.Inlined }));
    }
}
