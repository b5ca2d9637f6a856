using System.Globalization;
using System.Text;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.Rendering;

/// <summary>The diagnosis of a console log as Markdown: the report to begin with first, the others in the order of the log.</summary>
/// <remarks>Every string of the log goes through <see cref="Safe"/>. Line ends are LF. Equal diagnoses give equal text.</remarks>
public static class LogMarkdown
{
    private const int MostDetails = 20, MostOtherStacks = 8;
    private const string Lacks = "What the log does not tell";

    /// <summary>The whole document.</summary>
    public static string Render(LogDiagnosis diagnosis)
    {
        var to = new StringBuilder();
        if (diagnosis.First is not { } first)
        {
            to.Append("# ").Append(TitleWithoutReport(diagnosis)).Append("\n\n");
            to.Append(CultureInfo.InvariantCulture, $"{diagnosis.Log.Lines} lines were read. None begins an oops, a warning, a lockup or any other report that is known.\n");
            if (diagnosis.Unavailable.Count > 0)
                to.Append('\n');
            AppendMissing(to, Lacks, diagnosis.Unavailable);
            return to.ToString();
        }

        to.Append("# ").Append(Safe.Markdown(diagnosis.Reports[first].Title)).Append("\n\n");
        AppendReport(to, diagnosis, first);
        if (diagnosis.Reports.Count > 1)
            AppendList(to, diagnosis, first);
        AppendDebugFiles(to, diagnosis.DebugFiles);
        AppendMissing(to, Lacks, diagnosis.Unavailable);
        return to.ToString();
    }

    /// <summary>One report: sentence, list, stack, registers, code, what is missing.</summary>
    /// <param name="to">Receives Markdown that ends with an empty line.</param>
    /// <param name="diagnosis">The log's diagnosis.</param>
    /// <param name="index">Which report.</param>
    public static void AppendReport(StringBuilder to, LogDiagnosis diagnosis, int index)
    {
        LogCrash crash = diagnosis.Reports[index];
        string cause = crash.Cause;
        to.Append(Safe.Markdown(cause.Length > 0 && cause[^1] is '.' or '!' or '?' ? cause : cause + ".")).Append("\n\n");
        if (crash.Location is { } location)
            Item(to, "Where", $"{Safe.Code(location.ToString())} (confidence {MarkdownReport.Kebab(crash.Confidence)})");
        if (crash.Source is { } source)
            Item(to, "Source", Safe.Code(source));
        else if (Sources.Whole(crash.Location?.Source, crash.Location?.Inlined ?? []) is { } line)
            Item(to, "Source", Safe.Code(line));
        if (crash.Fault is { } fault)
            Item(to, "Access", DescribeAccess(fault));
        Item(to, "Running", DescribeRunning(crash));
        if (crash.Workqueue is { } work)
            Item(to, "Work", Safe.Code(work));
        if (crash.PanicMessage is { } panic)
            Item(to, "Panic", Safe.Code(panic));
        Item(to, "When", When(crash));
        if (DescribeBoot(diagnosis, crash.Boot) is { } boot)
            Item(to, "Boot", boot);
        if (crash.KernelRelease is { } release)
            Item(to, "Kernel", Safe.Code(crash.KernelBuild is { } build ? $"{release} {build}" : release) + (crash.Taint is { } taint ? $", taint {Safe.Code(taint)}" : ""));
        if (crash.Hardware is { } hardware)
            Item(to, "Hardware", Safe.Code(hardware));
        Item(to, "Rank", $"{MarkdownReport.Kebab(crash.Rank)}: {Safe.Markdown(crash.RankReason)}");
        Item(to, "Bucket", $"{Safe.Code(crash.Bucket)} (kind {Safe.Code(MarkdownReport.Kebab(crash.Kind))})");
        to.Append('\n');
        KnownIssueText.AppendMarkdown(to, crash.KnownIssues);
        AppendStack(to, "Stack", crash.Stack);
        foreach (LogStack stack in crash.OtherStacks.Take(MostOtherStacks))
            AppendStack(to, stack.Title.Length == 0 ? "Another stack" : stack.Title.TrimEnd(':'), stack.Entries);
        if (crash.Disassembly.Count > 0)
            to.Append("## Code\n\n").Append(Safe.Block(crash.Disassembly)).Append("\n\n");
        if (crash.Registers.Count > 0)
        {
            IEnumerable<string> cells = crash.Registers.Select(r => string.Create(CultureInfo.InvariantCulture, $"{r.Key.ToUpperInvariant(),6}: {r.Value:x16}"));
            to.Append("## Registers\n\n").Append(Safe.Block(cells.Chunk(3).Select(row => string.Join("  ", row)))).Append("\n\n");
        }

        if (crash.Details.Count > 0)
        {
            to.Append("## What else the report says\n\n");
            foreach (var fact in crash.Details.Take(MostDetails))
                to.Append("- ").Append(Safe.Markdown(fact.Name)).Append(": ").Append(Safe.Code(fact.Value)).Append('\n');
            to.Append('\n');
        }

        AppendMissing(to, "What the report lacks", crash.Unavailable);
    }

    private static void AppendList(StringBuilder to, LogDiagnosis diagnosis, int first)
    {
        bool hasBoots = diagnosis.Boots.Count > 1;
        to.Append(hasBoots ? "## All reports of the log\n\n| line | boot | when | what | rank |\n|---|---|---|---|---|\n" : "## All reports of the log\n\n| line | when | what | rank |\n|---|---|---|---|\n");
        for (int i = 0; i < diagnosis.Reports.Count; i++)
        {
            LogCrash crash = diagnosis.Reports[i];
            string rank = MarkdownReport.Kebab(crash.Rank)
                + (crash.FollowsFrom is { } from ? string.Create(CultureInfo.InvariantCulture, $" of line {diagnosis.Reports[from].Line}") : "") + (i == first ? " (above)" : "");
            to.Append(CultureInfo.InvariantCulture, $"| {crash.Line} |{(hasBoots ? $" {crash.Boot + 1}{(diagnosis.Boots[crash.Boot].IsCrashKernel ? " (crash kernel)" : "")} |" : "")} {When(crash)} | {Safe.Markdown(crash.Title)}{(crash.KnownIssues.Count > 0 ? $" (known: {string.Join(", ", crash.KnownIssues.Select(k => Safe.Code(k.Id, inTable: true)))})" : "")} | {rank} |\n");
        }

        to.Append('\n');
    }

    private static void AppendStack(StringBuilder to, string title, IReadOnlyList<LogStackEntry> entries)
    {
        if (entries.Count == 0)
            return;
        to.Append("## ").Append(Safe.Markdown(title)).Append("\n\n").Append(Safe.Block(StackLines(entries))).Append("\n\n");
    }

    /// <summary>The entries as lines, innermost first: number, <c>?</c> where the kernel doubts it, place, a note at each change of stack.</summary>
    private static IEnumerable<string> StackLines(IReadOnlyList<LogStackEntry> entries)
    {
        string? current = entries[0].Stack;
        for (int i = 0; i < entries.Count; i++)
        {
            LogStackEntry entry = entries[i];
            if (entry.Stack != current && entry.Stack is not null)
                yield return $"    --- <{entry.Stack}> ---";
            current = entry.Stack ?? current;
            foreach (var call in entry.Location.Inlined)
                yield return $"       {Sources.Line(call)}";
            yield return string.Create(CultureInfo.InvariantCulture, $"#{i,-3} {(entry.Reliable ? ' ' : '?')} {entry.Location}{Sources.At(entry.Location.Source)}{(entry.IsTrap ? "  (trap)" : "")}");
        }
    }

    /// <summary>The headline where there is no report to take it from.</summary>
    internal static string TitleWithoutReport(LogDiagnosis diagnosis) =>
        diagnosis.Boots.Any(b => b.IsCrashKernel) ? "A kernel died, and its report is not in this log" : "No report of the kernel in this log";

    /// <summary>Which of the log's kernels, and what became of it; null where the log has only one.</summary>
    internal static string? DescribeBoot(LogDiagnosis diagnosis, int boot)
    {
        if (diagnosis.Boots.Count < 2)
            return null;
        LogBoot at = diagnosis.Boots[boot];
        string next = CrashKernels.After(boot, diagnosis.Boots) is { } after ? string.Create(CultureInfo.InvariantCulture, $"; its crash kernel boots at line {after.Line}")
            : boot + 1 < diagnosis.Boots.Count ? string.Create(CultureInfo.InvariantCulture, $"; the next begins at line {diagnosis.Boots[boot + 1].Line}") : "";
        return string.Create(CultureInfo.InvariantCulture, $"{boot + 1} of {diagnosis.Boots.Count} in the log, from line {at.Line}{(at.IsCrashKernel ? ", a crash kernel" : "")}{next}");
    }

    private static string DescribeAccess(ReportFault fault)
    {
        string at = fault.Address is { } address ? $" at `0x{address:x16}`" : "";
        string what = fault.Explanation is { } explanation ? $": {Safe.Markdown(explanation)}" : "";
        string with = fault.BadOperand is { } operand ? $", with {Safe.Code(operand)}" : "";
        return Safe.Markdown(fault.Access) + at + what + with;
    }

    private static string DescribeRunning(LogCrash crash)
    {
        string cpu = crash.Cpu is { } number ? string.Create(CultureInfo.InvariantCulture, $"CPU {number}") : "a CPU that the log does not name";
        string context = MarkdownReport.Describe(crash.Context);
        string task = crash.Comm is { } comm ? $"; task {Safe.Code(comm)}{(crash.Pid is { } pid ? string.Create(CultureInfo.InvariantCulture, $", pid {pid}") : "")}" : "";
        return $"{cpu}, {context}{task}";
    }

    private static string When(LogCrash crash)
    {
        string since = crash.TimestampNs is { } ns ? string.Create(CultureInfo.InvariantCulture, $"{ns / 1_000_000_000}.{ns / 1000 % 1_000_000:000000} s after boot") : "";
        return crash.WallClock is { } wall ? $"{Safe.Markdown(wall)}{(since.Length > 0 ? ", " + since : "")}" : since.Length > 0 ? since : string.Create(CultureInfo.InvariantCulture, $"line {crash.Line}");
    }

    internal static void AppendDebugFiles(StringBuilder to, IReadOnlyList<UsedDebugFile> files)
    {
        if (files.Count == 0)
            return;
        to.Append("## Debug information\n\n");
        foreach (UsedDebugFile file in files)
            to.Append("- ").Append(Safe.Code(Sources.Used(file))).Append('\n');
        to.Append('\n');
    }

    private static void AppendMissing(StringBuilder to, string title, IReadOnlyList<string> missing)
    {
        if (missing.Count == 0)
            return;
        to.Append("## ").Append(title).Append("\n\n");
        foreach (string each in missing)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static void Item(StringBuilder to, string name, string value) =>
        to.Append("- **").Append(name).Append("**: ").Append(value).Append('\n');
}
