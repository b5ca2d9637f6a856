using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Machine;
using static Panacea.Diagnosis.Rendering.HtmlPage;

namespace Panacea.Diagnosis.Rendering;

/// <summary>A machine report as one self-contained HTML file: no script, nothing fetched, so that it can be mailed and opened anywhere.</summary>
/// <remarks>Every string of the guest goes through <see cref="Safe.Html"/>; a content security policy forbids what a mistake might still let in.</remarks>
public static class MachineHtml
{
    /// <summary>The whole document.</summary>
    public static string Render(MachineReport report)
    {
        var to = new StringBuilder();
        string title = report.Crash?.Title ?? "No crash was found";
        Begin(to, title);
        Headline(to, report, title);
        KnownIssueText.AppendHtml(to, report.KnownIssues);
        Verdict(to, report.Recoverability);
        Timeline(to, report);
        Findings(to, [.. report.Crash?.Findings ?? [], .. report.Findings]);
        if (report.Crash is { } crash)
        {
            Crash(to, crash);
            foreach (ReportSection section in CrashDetailsSections.Of(crash))
                section.AppendHtml(to);
        }

        KernelFacts(to, report.Kernel);
        Cpus(to, report.Cpus);
        Locks(to, report.Locks);
        Tasks(to, report.Tasks);
        foreach (ReportSection section in StateSections.Of(report.State))
            section.AppendHtml(to);
        Modules(to, report.Modules);
        StructureSummary.Html(to, report.Structures);
        Log(to, report.Console);
        DebugFiles(to, report.DebugFiles);
        Missing(to, [.. report.Crash?.Unavailable ?? [], .. report.Missing]);
        return End(to);
    }

    private static void Headline(StringBuilder to, MachineReport report, string title)
    {
        to.Append("<p class=\"source\">").Append(Safe.Html(report.Source)).Append(" · ").Append(Safe.Html(report.Description)).Append("</p>\n");
        to.Append("<h1>").Append(Safe.Html(title)).Append("</h1>\n");
        if (report.Crash is not { } crash)
        {
            to.Append("<p class=\"cause\">").Append(Safe.Html(report.WhyNoCrash)).Append(".</p>\n");
            return;
        }

        to.Append("<p class=\"cause\">").Append(Safe.Html(crash.Cause)).Append(".</p>\n");
        Tags(
            to, MarkdownReport.Kebab(crash.Kind), $"in {MarkdownReport.Kebab(crash.Context)} context", crash.Location.Module is { } module ? $"module {module}" : "kernel proper",
            $"Linux {crash.KernelRelease}", crash.Taint is { } taint ? $"taint {taint}" : null, $"bucket {crash.Bucket}");
    }

    private static void Verdict(StringBuilder to, RecoverabilityVerdict? verdict)
    {
        if (verdict is null)
            return;
        Heading(to, verdict.IsRecoverable ? "It could have gone on" : "It could not have gone on");
        foreach (RepairOption option in verdict.Repairs)
        {
            to.Append("<div class=\"card ").Append(option.Applies ? "yes" : "no").Append("\"><p><strong>").Append(Safe.Html(option.Repair)).Append("</strong> ").Append(option.Applies ? "applies" : "does not apply").Append(": ")
                .Append(Safe.Html(option.Explanation)).Append("</p>");
            if (option.Applies)
            {
                to.Append("<p>Loses: ").Append(option.Loses.Count == 0 ? "nothing" : Safe.Html(string.Join("; ", option.Loses))).Append(".</p>");
                if (option.Risks.Count > 0)
                    to.Append("<p>Risks: ").Append(Safe.Html(string.Join("; ", option.Risks))).Append(".</p>");
            }

            to.Append("</div>\n");
        }
    }

    private static void Findings(StringBuilder to, IReadOnlyList<Finding> findings)
    {
        if (findings.Count == 0)
            return;
        Heading(to, "Findings");
        foreach (Finding finding in findings)
        {
            to.Append("<div class=\"card bad\"><p><strong>").Append(Safe.Html(finding.Text)).Append("</strong></p><p><code>").Append(Safe.Html(finding.Id)).Append("</code>, confidence ")
                .Append(MarkdownReport.Kebab(finding.Confidence)).Append("</p>");
            if (finding.Evidence.Count > 0)
            {
                to.Append("<ul>");
                foreach (string evidence in finding.Evidence)
                    to.Append("<li><code>").Append(Safe.Html(evidence)).Append("</code></li>");
                to.Append("</ul>");
            }

            to.Append("</div>\n");
        }
    }

    private static void Crash(StringBuilder to, CrashReport crash)
    {
        Heading(to, "The crash");
        to.Append("<dl>");
        Item(to, "Where", crash.Location.ToString());
        Item(to, "Source", Sources.Whole(crash.Location.Source, crash.Location.Inlined));
        if (crash.Fault is { } fault)
        {
            Item(to, "Access", $"{fault.Access}{(fault.Address is { } a ? $" at 0x{a:x16}" : "")}{(fault.Explanation is { } e ? $": {e}" : "")}");
            Item(to, "Instruction", fault.Instruction);
            Item(to, "Bad operand", fault.BadOperand);
            Item(to, "Where it came from", fault.Origin);
        }

        Item(to, "The kernel's own words", crash.PanicMessage);
        Item(to, "Task", crash.Task is { } t ? string.Create(CultureInfo.InvariantCulture, $"{t.Comm}, pid {t.Pid}{(t.CommandLine is { } command ? $": {command}" : "")}") : "could not be read");
        to.Append("</dl>\n");
        Stack(to, "Stack", crash.Stack.Select(f => new HtmlFrame(f.Location.ToString(), f.Reliable, f.IsTrap, f.Stack, f.Location.Address, f.StackPointer) { Source = f.Location.Source, Inlined = f.Location.Inlined }));
        Disassembly(to, crash.Disassembly);
        Registers(to, crash.Registers);
    }

    private static void KernelFacts(StringBuilder to, KernelFacts kernel)
    {
        Heading(to, "Kernel");
        to.Append("<dl>");
        Item(to, "Version", kernel.Banner);
        Item(to, "Build id", kernel.BuildId ?? "none");
        Item(to, "Command line", kernel.CommandLine ?? "could not be read");
        Item(to, "Host name", kernel.Hostname ?? "could not be read");
        Item(to, "Up for", kernel.UptimeMs is { } ms ? MachineMarkdown.Uptime(ms) : "could not be read");
        Item(to, "Settings", string.Join(", ", kernel.Panic.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Key}={p.Value}"))));
        to.Append("</dl>\n");
    }

    private static void Cpus(StringBuilder to, IReadOnlyList<CpuReport> cpus)
    {
        Heading(to, "CPUs");
        foreach (CpuReport cpu in cpus)
        {
            string task = cpu.Task is { } t ? string.Create(CultureInfo.InvariantCulture, $"pid {t.Pid} {t.Comm}") : "task unreadable";
            string summary = string.Create(CultureInfo.InvariantCulture, $"CPU {cpu.Cpu ?? cpu.Vcpu}: {task}{(cpu.IsUserMode ? ", in user mode" : "")}");
            StackDetails(to, summary, cpu.Stack);
        }
    }

    private static void Locks(StringBuilder to, LockFacts? locks)
    {
        if (locks is not { Chains.Count: > 0 })
            return;
        Heading(to, "Locks waited for");
        foreach (LockChain chain in locks.Chains)
        {
            to.Append("<div class=\"card ").Append(chain.Ends is "deadlock" or "owner-gone" ? "bad" : "").Append("\"><p>Ends: ").Append(Safe.Html(chain.Ends)).Append("</p><ul>");
            foreach (LockWaitReport link in chain.Links)
            {
                string owner = link.OwnerPid is { } pid ? string.Create(CultureInfo.InvariantCulture, $", held by pid {pid} {link.OwnerComm}") : "";
                to.Append("<li>").Append(Safe.Html(string.Create(CultureInfo.InvariantCulture, $"pid {link.Pid} {link.Comm} waits for {link.Kind} {link.Name ?? $"0x{link.Lock:x}"}{owner}"))).Append("</li>");
            }

            to.Append("</ul></div>\n");
        }
    }

    private static void Tasks(StringBuilder to, TaskFacts? tasks)
    {
        if (tasks is null)
            return;
        Heading(to, "Tasks");
        to.Append("<p>").Append(CultureInfo.InvariantCulture, $"{tasks.Threads} threads: ").Append(Safe.Html(string.Join(", ", tasks.ByState.Select(s => $"{s.Value} in state {s.Key}")))).Append(".</p>\n");
        foreach (WaitingTask task in tasks.Uninterruptible)
        {
            string slept = task.SleptMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $" for {(task.SleptIs == "exact" ? "" : task.SleptIs + " ")}{ms / 1000.0:0.0} s") : "";
            StackDetails(to, string.Create(CultureInfo.InvariantCulture, $"pid {task.Task.Pid} {task.Task.Comm} waits uninterruptibly{slept}"), task.Stack);
        }
    }

    private static void Modules(StringBuilder to, IReadOnlyList<ModuleReport> modules)
    {
        if (modules.Count == 0)
            return;
        Heading(to, "Modules");
        to.Append("<p><code>").Append(Safe.Html(string.Join("  ", modules.Select(m => m.Taint.Length > 0 ? $"{m.Name} ({m.Taint})" : m.Name)), 64 << 10)).Append("</code></p>\n");
    }

    private static void Log(StringBuilder to, IReadOnlyList<ConsoleLine> console)
    {
        if (console.Count == 0)
            return;
        Heading(to, "The end of the kernel log");
        to.Append("<pre>");
        foreach (ConsoleLine line in console)
            to.Append(Safe.Html(MachineMarkdown.LogLine(line))).Append('\n');
        to.Append("</pre>\n");
    }

    /// <summary>What the kernel has reported itself, between its boot and the moment that this was read.</summary>
    private static void Timeline(StringBuilder to, MachineReport report)
    {
        if (report.Logged.Count == 0 && report.Kernel.UptimeMs is null)
            return;
        Heading(to, "Timeline");
        to.Append("<ol class=\"timeline\"><li><time>0.000 s</time> booted</li>\n");
        foreach (LoggedReport logged in report.Logged.OrderBy(l => l.TimestampNs ?? 0))
        {
            to.Append("<li><time>").Append(logged.TimestampNs is { } ns ? Seconds(ns / 1_000_000) : "no time").Append("</time> ").Append(Safe.Html(logged.Title)).Append(" <span class=\"loose\">")
                .Append(MarkdownReport.Kebab(logged.Rank)).Append("</span></li>\n");
        }

        if (report.Kernel.UptimeMs is { } up)
            to.Append("<li><time>").Append(Seconds((ulong)up)).Append("</time> the kernel's clock when this was read</li>\n");
        to.Append("</ol>\n");
    }

    private static string Seconds(ulong ms) => string.Create(CultureInfo.InvariantCulture, $"{ms / 1000}.{ms % 1000:000} s");

    private static void StackDetails(StringBuilder to, string summary, IReadOnlyList<ReportFrame> stack)
    {
        to.Append("<details><summary>").Append(Safe.Html(summary)).Append("</summary><div>");
        if (stack.Count > 0)
            to.Append("<pre>").Append(string.Join('\n', MarkdownReport.StackLines(stack).Select(l => Safe.Html(l)))).Append("</pre>");
        else
            to.Append("<p>No kernel stack.</p>");
        to.Append("</div></details>\n");
    }
}
