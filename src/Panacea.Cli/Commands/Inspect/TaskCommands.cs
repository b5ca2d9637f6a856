using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>ps</c>, <c>task</c>, <c>files</c>.</summary>
internal static class TaskCommands
{
    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        yield return tree.Sub(
            "ps", "List every thread; '>' marks those on a CPU.", [("ps", "Pid, parent, CPU, task_struct, state, memory, name."), ("ps --json", "The same for a script.")],
            (_, guest) => guest.Tasks.List(), () => InspectionJson.Default.IReadOnlyListTaskRow, (tasks, _) => Ps(tree, tasks));
        System.CommandLine.Argument<int?> pid = InspectTree.Pid("The thread's id.", required: true);
        yield return tree.Sub(
            "task", "Show one task: who it is, what it does, since when, where.", [("task 1", "The first process.")],
            (parsed, guest) => InspectTree.Found(guest.Tasks.Find((int)parsed.GetValue(pid)!), $"task of pid {parsed.GetValue(pid)}"), () => InspectionJson.Default.TaskReport, (task, _) => Task(tree, task), pid);
        System.CommandLine.Argument<int?> owner = InspectTree.Pid("The process's id.", required: true);
        yield return tree.Sub(
            "files", "List the open files of a task.", [("files 1", "Those of the first process, with root and working directory.")],
            (parsed, guest) => InspectTree.Found(guest.Tasks.Files((int)parsed.GetValue(owner)!), $"task of pid {parsed.GetValue(owner)}"), () => InspectionJson.Default.FilesReport,
            (files, _) => Files(tree, files), owner);
    }

    /// <summary>The line that crash begins a task's output with.</summary>
    public static string Heading(int? pid, ulong? task, int? cpu, string? comm) => string.Create(
        CultureInfo.InvariantCulture, $"PID: {(pid is { } p ? InspectTree.N(p) : "-"),-7}  TASK: {(task is { } t ? InspectTree.Hex(t) : "-")}  CPU: {(cpu is { } c ? InspectTree.N(c) : "-"),-3}  COMMAND: \"{Safe.Text(comm)}\"");

    /// <summary>State as crash abbreviates it.</summary>
    public static string State(string letter) => letter switch
    {
        "R" => "RU",
        "S" => "IN",
        "D" => "UN",
        "I" => "ID",
        "T" => "ST",
        "t" => "TR",
        "Z" => "ZO",
        "X" => "DE",
        "P" => "PA",
        _ => letter,
    };

    private static void Ps(InspectTree tree, IReadOnlyList<TaskRow> tasks)
    {
        var table = new Columns((" ", false), ("PID", true), ("PPID", true), ("CPU", true), ("TASK", false), ("ST", false), ("%MEM", true), ("VSZ", true), ("RSS", true), ("COMM", false));
        foreach (TaskRow t in tasks)
        {
            table.Add(
                t.Active ? ">" : " ", InspectTree.N(t.Pid), InspectTree.N(t.Ppid), InspectTree.N(t.Cpu), InspectTree.Hex(t.Address), State(t.State),
                t.MemoryPercent?.ToString("0.0", CultureInfo.InvariantCulture), InspectTree.N(t.VszKib), InspectTree.N(t.RssKib), t.Kernel ? $"[{t.Comm}]" : t.Comm);
        }

        table.WriteTo(tree.Out, tree.Console.Paint);
    }

    private static void Task(InspectTree tree, TaskReport t)
    {
        tree.Out.WriteLine(tree.Console.Paint.Bold(Heading(t.Task.Pid, t.Task.Address, t.Task.Cpu, t.Task.Comm)));
        void Line(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value))
                tree.Out.WriteLine($"  {name,-14}{value}");
        }

        string state = t.Task.Active ? ", on its CPU" : t.SleptNs is { } slept ? $", off the CPU for {Duration(slept)}" : "";
        Line("state", string.Create(CultureInfo.InvariantCulture, $"{State(t.Task.State)} (__state 0x{t.RawState:x}){state}"));
        Line("waits in", t.WaitsIn is null ? null : Safe.Text(t.WaitsIn));
        Line("process", string.Create(CultureInfo.InvariantCulture, $"tgid {t.Task.Tgid}, {t.Threads} thread{(t.Threads == 1 ? "" : "s")}, parent {t.Task.Ppid}"));
        Line("ancestors", string.Join(" < ", t.Parents.Select(p => Safe.Text(p))));
        Line("command line", t.CommandLine is null ? null : Safe.Text(t.CommandLine));
        Line("program", t.Executable is null ? null : Safe.Text(t.Executable));
        Line("directory", t.WorkingDirectory is null ? null : $"{Safe.Text(t.WorkingDirectory)}{(t.Root is null or "/" ? "" : $", root {Safe.Text(t.Root)}")}");
        Line("cgroup", t.Cgroup is null ? null : Safe.Text(t.Cgroup));
        Line("scheduling", string.Create(CultureInfo.InvariantCulture, $"{t.Policy}, priority {t.Priority}, nice {t.Nice}"));
        Line("CPU time", $"{Duration(t.RuntimeNs)} (user {Duration(t.UserNs)}, system {Duration(t.SystemNs)})");
        Line("started", $"{Duration(t.StartNs)} after boot");
        Line("switches", string.Create(CultureInfo.InvariantCulture, $"{t.VoluntarySwitches} voluntary, {t.InvoluntarySwitches} involuntary"));
        Line("memory", t.Task.Kernel ? null : string.Create(CultureInfo.InvariantCulture, $"{t.Task.RssKib} KiB resident of {t.Task.VszKib} KiB, {t.Task.MemoryPercent:0.0} %"));
        Line("ids", t.Ids is [var uid, var euid, var gid, var egid] ? string.Create(CultureInfo.InvariantCulture, $"uid {uid} (effective {euid}), gid {gid} (effective {egid})") : null);
        Line("capabilities", t.Capabilities is { } caps ? $"0x{caps:x}" : null);
        Line("flags", $"0x{t.Flags:x8}");
        Line("stack", InspectTree.Hex(t.Stack));
        Line("mm", t.Mm == 0 ? null : InspectTree.Hex(t.Mm));
        Line("namespaces", t.Namespaces is null ? null : string.Join(", ", t.Namespaces.Select(n => string.Create(CultureInfo.InvariantCulture, $"{n.Key} {n.Value}"))));
    }

    private static string Duration(long ns) => string.Create(CultureInfo.InvariantCulture, $"{ns / 1e9:0.000} s");

    private static void Files(InspectTree tree, FilesReport report)
    {
        tree.Out.WriteLine(tree.Console.Paint.Bold(Heading(report.Task.Pid, report.Task.Address, report.Task.Cpu, report.Task.Comm)));
        tree.Out.WriteLine($"ROOT: {Safe.Text(report.Root ?? "unreadable")}    CWD: {Safe.Text(report.Cwd ?? "unreadable")}");
        if (report.Files.Count == 0)
        {
            tree.Out.WriteLine("No open files");
            return;
        }

        var table = new Columns(("FD", true), ("FILE", false), ("DENTRY", false), ("INODE", false), ("TYPE", false), ("PATH", false));
        foreach (FileRow f in report.Files)
        {
            string socket = f.Socket is not { } s ? "" : $" {s.Family} {s.Type} {s.State} {s.Local}{(s.Remote.Length > 0 ? $" -> {s.Remote}" : "")}".TrimEnd();
            table.Add(InspectTree.N(f.Fd), InspectTree.Hex(f.File), InspectTree.Hex(f.Dentry), InspectTree.Hex(f.Inode), f.Type, f.Path + socket);
        }

        table.WriteTo(tree.Out, tree.Console.Paint);
    }
}
