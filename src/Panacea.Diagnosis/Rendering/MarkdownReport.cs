using System.Globalization;
using System.Text;

namespace Panacea.Diagnosis.Rendering;

/// <summary>A crash report as Markdown that an on-call engineer can read aloud: the sentence first, the evidence below it.</summary>
/// <remarks>Every string of the guest goes through <see cref="Safe"/>. Line ends are LF. Equal reports give equal text.</remarks>
public static class MarkdownReport
{
    /// <summary>A document of its own: heading and all sections.</summary>
    public static string Render(CrashReport report)
    {
        var to = new StringBuilder();
        to.Append("# ").Append(Safe.Markdown(report.Title)).Append("\n\n");
        AppendSummary(to, report);
        AppendEvidence(to, report);
        return to.ToString();
    }

    /// <summary>What happened, in sentences and a short list.</summary>
    /// <param name="to">Receives Markdown that ends with an empty line.</param>
    /// <param name="report">The report.</param>
    public static void AppendSummary(StringBuilder to, CrashReport report)
    {
        to.Append(Safe.Markdown(EndSentence(report.Cause))).Append("\n\n");
        Item(to, "Where", Safe.Code(report.Location.ToString()));
        if (Sources.Whole(report.Location.Source, report.Location.Inlined) is { } source)
            Item(to, "Source", Safe.Code(source));
        if (report.Fault is { } fault)
            Item(to, "Access", DescribeAccess(fault));
        Item(to, "Running", DescribeRunning(report));
        if (report.PanicMessage is { } message)
            Item(to, "The kernel's own words", Safe.Code(message));
        Item(to, "Kernel", Safe.Code(report.KernelRelease) + (report.Taint is { } taint ? $", taint {Safe.Code(taint)}" : ""));
        Item(to, "Build id", Safe.Code(report.BuildId));
        Item(to, "Bucket", $"{Safe.Code(report.Bucket)} (kind {Safe.Code(Kebab(report.Kind))})");
        to.Append('\n');
    }

    /// <summary>Fault and disassembly, stack, task, registers, findings, what could not be read: second-level headings.</summary>
    /// <param name="to">Receives Markdown that ends with an empty line.</param>
    /// <param name="report">The report.</param>
    public static void AppendEvidence(StringBuilder to, CrashReport report)
    {
        AppendFindings(to, report.Findings);
        AppendFault(to, report);
        AppendStack(to, report.Stack);
        AppendTask(to, report.Task);
        AppendRegisters(to, report.Registers);
        foreach (ReportSection section in CrashDetailsSections.Of(report))
            section.AppendMarkdown(to);
        AppendUnavailable(to, report.Unavailable);
    }

    private static void AppendFindings(StringBuilder to, IReadOnlyList<Finding> findings)
    {
        if (findings.Count == 0)
            return;
        Heading(to, "Findings");
        foreach (Finding finding in findings)
        {
            to.Append("- **").Append(Safe.Markdown(finding.Text)).Append("** (").Append(Safe.Code(finding.Id)).Append(", confidence ")
                .Append(Kebab(finding.Confidence)).Append(")\n");
            foreach (string evidence in finding.Evidence)
                to.Append("  - ").Append(Safe.Code(evidence)).Append('\n');
        }

        to.Append('\n');
    }

    private static void AppendFault(StringBuilder to, CrashReport report)
    {
        if (report.Fault?.Instruction is null && report.Disassembly.Count == 0)
            return;
        Heading(to, "Fault");
        if (report.Fault is { Instruction: { } instruction } fault)
        {
            to.Append("The instruction ").Append(Safe.Code(instruction)).Append(" at ").Append(Safe.Code(report.Location.ToString()));
            if (fault.BadOperand is { } operand)
                to.Append(", with ").Append(Safe.Code(operand));
            to.Append(fault.Origin is { } origin ? $"; {Safe.Markdown(origin)}.\n\n" : ".\n\n");
        }

        if (report.Disassembly.Count > 0)
            to.Append(Safe.Block(report.Disassembly)).Append("\n\n");
    }

    private static void AppendStack(StringBuilder to, IReadOnlyList<ReportFrame> stack)
    {
        Heading(to, "Stack");
        if (stack.Count == 0)
        {
            to.Append("No frame could be read.\n\n");
            return;
        }

        // One letter for one meaning, as the kernel and crash write it: '?' is a return address found by scanning, not proved by unwinding.
        to.Append(Safe.Block(StackLines(stack))).Append("\n\n");
        if (stack.Any(frame => !frame.Reliable))
            to.Append("Frames marked `?` were found by scanning the stack and may be left over from earlier calls.\n\n");
    }

    /// <summary>The frames as text lines, innermost first: number, <c>?</c> where unreliable, location, a note at each change of stack.</summary>
    public static IEnumerable<string> StackLines(IReadOnlyList<ReportFrame> stack)
    {
        string current = stack.Count > 0 ? stack[0].Stack : "";
        for (int i = 0; i < stack.Count; i++)
        {
            ReportFrame frame = stack[i];
            if (frame.Stack != current)
            {
                current = frame.Stack;
                yield return $"    --- <{current}> ---";
            }

            foreach (var call in frame.Location.Inlined)
                yield return $"       {Sources.Line(call)}";
            string trap = frame.IsTrap ? "  (trap)" : "";
            yield return string.Create(CultureInfo.InvariantCulture, $"#{i,-3} {(frame.Reliable ? ' ' : '?')} {frame.Location}{Sources.At(frame.Location.Source)}{trap}");
        }
    }

    private static void AppendTask(StringBuilder to, ReportTask? task)
    {
        Heading(to, "Task");
        if (task is null)
        {
            to.Append("The current task could not be read.\n\n");
            return;
        }

        Item(to, "Name", Safe.Code(task.Comm) + (task.IsKernelThread ? " (kernel thread)" : ""));
        Item(to, "Pid", string.Create(CultureInfo.InvariantCulture, $"{task.Pid} (process {task.Tgid})"));
        if (!task.IsKernelThread)
            Item(to, "Command line", task.CommandLine is { } line ? Safe.Code(line, maxLength: 1024) : "could not be read");
        Item(to, "task_struct", $"`0x{task.Address:x16}`");
        to.Append('\n');
    }

    private static void AppendRegisters(StringBuilder to, IReadOnlyDictionary<string, ulong> registers)
    {
        if (registers.Count == 0)
            return;
        Heading(to, "Registers");
        var cells = new List<string>(registers.Count);
        foreach ((string name, ulong value) in registers)
            cells.Add(string.Create(CultureInfo.InvariantCulture, $"{name.ToUpperInvariant(),6}: {value:x16}"));
        to.Append(Safe.Block(cells.Chunk(3).Select(row => string.Join("  ", row)))).Append("\n\n");
    }

    private static void AppendUnavailable(StringBuilder to, IReadOnlyList<string> unavailable)
    {
        if (unavailable.Count == 0)
            return;
        Heading(to, "What could not be read");
        foreach (string each in unavailable)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static string DescribeAccess(ReportFault fault)
    {
        string at = fault.Address is { } address ? $" at `0x{address:x16}`" : "";
        string what = fault.Explanation is { } explanation ? $": {Safe.Markdown(explanation)}" : "";
        return Safe.Markdown(fault.Access) + at + what;
    }

    private static string DescribeRunning(CrashReport report)
    {
        string vcpu = string.Create(CultureInfo.InvariantCulture, $"vCPU {report.Vcpu}");
        string context = Describe(report.Context);
        string task = report.Task is { } t
            ? string.Create(CultureInfo.InvariantCulture, $"; task {Safe.Code(t.Comm)}, pid {t.Pid}")
            : "";
        return $"{vcpu}, {context}{task}";
    }

    /// <summary>A context in words.</summary>
    internal static string Describe(CrashContext context) => context switch
    {
        CrashContext.Process => "in a process",
        CrashContext.KernelThread => "in a kernel thread",
        CrashContext.Softirq => "serving a softirq",
        CrashContext.Hardirq => "serving a hardware interrupt",
        CrashContext.Nmi => "serving an NMI",
        CrashContext.Idle => "in the idle task",
        _ => "in a context that could not be told",
    };

    /// <summary>An enum member as it is written in records: <c>NullWrite</c> is <c>null-write</c>.</summary>
    public static string Kebab<T>(T value)
        where T : struct, Enum =>
        System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private static string EndSentence(string text) => text.Length == 0 || text[^1] is '.' or '!' or '?' ? text : text + ".";

    private static void Heading(StringBuilder to, string title) => to.Append("## ").Append(title).Append("\n\n");

    private static void Item(StringBuilder to, string name, string value) =>
        to.Append("- **").Append(name).Append("**: ").Append(value).Append('\n');
}
