using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Machine;

namespace Panacea.Diagnosis.Rendering;

/// <summary>A machine report as Markdown: the crash first, then whether it can be recovered from, then the rest of the machine.</summary>
/// <remarks>Every string of the guest goes through <see cref="Safe"/>. Line ends are LF. Equal reports give equal text.</remarks>
public static class MachineMarkdown
{
    private const int LogLines = 60;

    /// <summary>The whole document.</summary>
    public static string Render(MachineReport report)
    {
        var to = new StringBuilder();
        to.Append("# ").Append(Safe.Markdown(report.Crash?.Title ?? "No crash was found")).Append("\n\n");
        to.Append(Safe.Code(report.Source)).Append(": ").Append(Safe.Markdown(report.Description)).Append(".\n\n");
        if (report.Crash is { } crash)
            MarkdownReport.AppendSummary(to, crash);
        else
            to.Append("There is no crash to tell of: ").Append(Safe.Markdown(report.WhyNoCrash)).Append(".\n\n");
        KnownIssueText.AppendMarkdown(to, report.KnownIssues);
        AppendVerdict(to, report.Recoverability);
        AppendMachineFindings(to, report.Findings);
        StructureSummary.Markdown(to, report.Structures);
        if (report.Crash is not null)
            MarkdownReport.AppendEvidence(to, report.Crash);
        AppendKernel(to, report.Kernel);
        AppendCpus(to, report.Cpus);
        AppendLocks(to, report.Locks);
        AppendTasks(to, report.Tasks);
        AppendState(to, report.State);
        AppendModules(to, report.Modules);
        AppendLogged(to, report.Logged);
        AppendLog(to, report.Console);
        LogMarkdown.AppendDebugFiles(to, report.DebugFiles);
        AppendMissing(to, report.Missing);
        return to.ToString();
    }

    /// <summary>The state of a machine: second-level headings.</summary>
    public static void AppendState(StringBuilder to, MachineState state)
    {
        foreach (ReportSection section in StateSections.Of(state))
            section.AppendMarkdown(to);
    }

    private static void AppendVerdict(StringBuilder to, RecoverabilityVerdict? verdict)
    {
        if (verdict is null)
            return;
        Heading(to, "Could it have gone on?");
        to.Append(verdict.IsRecoverable ? "Yes: a repair applies.\n\n" : "No repair applies.\n\n");
        foreach (RepairOption option in verdict.Repairs)
        {
            to.Append("- **").Append(Safe.Markdown(option.Repair)).Append(option.Applies ? "** applies: " : "** does not apply: ").Append(Safe.Markdown(option.Explanation)).Append('\n');
            if (!option.Applies)
                continue;
            to.Append("  - loses: ").Append(option.Loses.Count == 0 ? "nothing" : Safe.Markdown(string.Join("; ", option.Loses))).Append('\n');
            if (option.Risks.Count > 0)
                to.Append("  - risks: ").Append(Safe.Markdown(string.Join("; ", option.Risks))).Append('\n');
        }

        to.Append('\n');
    }

    private static void AppendMachineFindings(StringBuilder to, IReadOnlyList<Finding> findings)
    {
        if (findings.Count == 0)
            return;
        Heading(to, "Noticed in the machine");
        foreach (Finding finding in findings)
        {
            to.Append("- **").Append(Safe.Markdown(finding.Text)).Append("** (").Append(Safe.Code(finding.Id)).Append(", confidence ").Append(MarkdownReport.Kebab(finding.Confidence)).Append(")\n");
            foreach (string evidence in finding.Evidence)
                to.Append("  - ").Append(Safe.Code(evidence)).Append('\n');
        }

        to.Append('\n');
    }

    private static void AppendKernel(StringBuilder to, KernelFacts kernel)
    {
        Heading(to, "Kernel");
        Item(to, "Version", Safe.Code(kernel.Banner));
        Item(to, "Build id", Safe.Code(kernel.BuildId));
        Item(to, "Command line", kernel.CommandLine is { } line ? Safe.Code(line) : "could not be read");
        Item(to, "Host name", kernel.Hostname is { } host ? Safe.Code(host) : "could not be read");
        Item(to, "Up for", kernel.UptimeMs is { } ms ? Uptime(ms) : "could not be read");
        Item(to, "Taint", kernel.Taint is { } taint ? Safe.Code(taint) : "could not be read");
        Item(to, "Settings", string.Join(", ", kernel.Panic.Select(p => Safe.Code(string.Create(CultureInfo.InvariantCulture, $"{p.Key}={p.Value}")))));
        to.Append('\n');
    }

    private static void AppendCpus(StringBuilder to, IReadOnlyList<CpuReport> cpus)
    {
        Heading(to, "CPUs");
        if (cpus.Count == 0)
            to.Append("The registers of no CPU are known.\n\n");
        foreach (CpuReport cpu in cpus)
        {
            string task = cpu.Task is { } t ? string.Create(CultureInfo.InvariantCulture, $"pid {t.Pid} {Safe.Code(t.Comm)}") : "task unreadable";
            string number = cpu.Cpu is { } n ? string.Create(CultureInfo.InvariantCulture, $"CPU {n}") : string.Create(CultureInfo.InvariantCulture, $"vCPU {cpu.Vcpu} (its CPU number is not known)");
            to.Append("**").Append(number).Append("**: ").Append(task).Append(cpu.IsUserMode ? ", in user mode" : "").Append("\n\n");
            if (cpu.Stack.Count > 0)
                to.Append(Safe.Block(MarkdownReport.StackLines(cpu.Stack))).Append("\n\n");
        }
    }

    private static void AppendLocks(StringBuilder to, LockFacts? locks)
    {
        if (locks is not { Chains.Count: > 0 })
            return;
        Heading(to, "Locks waited for");
        foreach (LockChain chain in locks.Chains)
        {
            to.Append("- ends: ").Append(Safe.Markdown(chain.Ends)).Append('\n');
            foreach (LockWaitReport link in chain.Links)
            {
                string owner = link.OwnerPid is { } pid ? string.Create(CultureInfo.InvariantCulture, $", held by pid {pid} {Safe.Code(link.OwnerComm)}") : "";
                to.Append(CultureInfo.InvariantCulture, $"  - pid {link.Pid} ").Append(Safe.Code(link.Comm)).Append(" waits for ").Append(Safe.Markdown(link.Kind)).Append(' ')
                    .Append(Safe.Code(link.Name ?? $"0x{link.Lock:x}")).Append(owner).Append('\n');
            }
        }

        to.Append('\n');
    }

    private static void AppendTasks(StringBuilder to, TaskFacts? tasks)
    {
        if (tasks is null)
            return;
        Heading(to, "Tasks");
        to.Append(CultureInfo.InvariantCulture, $"{tasks.Threads} threads: ").Append(Safe.Markdown(string.Join(", ", tasks.ByState.Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Value} in state {s.Key}"))))).Append(".\n\n");
        foreach (WaitingTask task in tasks.Uninterruptible)
        {
            string slept = task.SleptMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $" for {(task.SleptIs == "exact" ? "" : task.SleptIs + " ")}{ms / 1000.0:0.0} s") : "";
            to.Append(CultureInfo.InvariantCulture, $"**pid {task.Task.Pid}** ").Append(Safe.Code(task.Task.Comm)).Append(" waits uninterruptibly").Append(slept).Append(":\n\n");
            to.Append(Safe.Block(MarkdownReport.StackLines(task.Stack))).Append("\n\n");
        }
    }

    private static void AppendModules(StringBuilder to, IReadOnlyList<ModuleReport> modules)
    {
        if (modules.Count == 0)
            return;
        Heading(to, "Modules");
        to.Append(string.Join(", ", modules.Select(m => Safe.Code(m.Taint.Length > 0 ? $"{m.Name} ({m.Taint})" : m.Name)))).Append("\n\n");
    }

    private static void AppendLogged(StringBuilder to, IReadOnlyList<LoggedReport> logged)
    {
        if (logged.Count == 0)
            return;
        Heading(to, "What the kernel has reported itself");
        foreach (LoggedReport report in logged)
            to.Append("- ").Append(Safe.Markdown(report.Title)).Append(" (").Append(At(report.TimestampNs)).Append(MarkdownReport.Kebab(report.Rank)).Append(", bucket ").Append(Safe.Code(report.Bucket)).Append(")\n");
        to.Append('\n');
    }

    private static void AppendLog(StringBuilder to, IReadOnlyList<ConsoleLine> console)
    {
        if (console.Count == 0)
            return;
        Heading(to, "The end of the kernel log");
        to.Append(Safe.Block(console.TakeLast(LogLines).Select(LogLine))).Append("\n\n");
    }

    /// <summary>A time since boot with a comma behind it; nothing where there is none.</summary>
    internal static string At(ulong? ns) => ns is { } t ? string.Create(CultureInfo.InvariantCulture, $"at {t / 1_000_000_000}.{t / 1_000_000 % 1000:000} s, ") : "";

    /// <summary>A line as dmesg prints it.</summary>
    public static string LogLine(ConsoleLine line) =>
        string.Create(CultureInfo.InvariantCulture, $"[{line.TimestampNs / 1_000_000_000,5}.{line.TimestampNs / 1000 % 1_000_000:000000}] {line.Text}");

    /// <summary>A time in the words that people use.</summary>
    public static string Uptime(long ms)
    {
        TimeSpan time = TimeSpan.FromMilliseconds(ms);
        return time.TotalDays >= 1 ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalDays} d {time.Hours} h")
            : time.TotalHours >= 1 ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours} h {time.Minutes} min")
            : string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalMinutes} min {time.Seconds} s");
    }

    private static void AppendMissing(StringBuilder to, IReadOnlyList<string> missing)
    {
        if (missing.Count == 0)
            return;
        Heading(to, "What is missing");
        foreach (string each in missing)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static void Heading(StringBuilder to, string title) => to.Append("## ").Append(title).Append("\n\n");

    private static void Item(StringBuilder to, string name, string value) => to.Append("- **").Append(name).Append("**: ").Append(value).Append('\n');
}
