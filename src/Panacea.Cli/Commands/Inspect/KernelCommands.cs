using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>modules</c>, <c>dmesg</c>, <c>vmcoreinfo</c>, <c>sys</c>.</summary>
internal static class KernelCommands
{
    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        yield return tree.Sub(
            "dmesg", "Print the kernel log.", [("dmesg | tail", "Its last lines.")],
            (_, guest) => guest.Kernel.Log(), () => InspectionJson.Default.IReadOnlyListLogRow, (log, _) => Dmesg(tree, log));
        yield return tree.Sub(
            "modules", "List the loaded modules.", [("modules", "struct module, name, text, size, state, taint.")],
            (_, guest) => guest.Kernel.Modules(), () => InspectionJson.Default.IReadOnlyListModuleRow, (modules, _) => Modules(tree, modules));
        yield return tree.Sub(
            "vmcoreinfo", "Print VMCOREINFO, what the kernel tells tools that read its dumps.", [("vmcoreinfo", "KEY=VALUE lines.")],
            (_, guest) => Parsed(InspectTree.Found(guest.Kernel.VmcoreInfo(), "VMCOREINFO")), () => InspectionJson.Default.VmcoreInfoAnswer,
            (info, _) =>
            {
                foreach (string line in info.Text.TrimEnd('\n').Split('\n'))
                    tree.Out.WriteLine(Safe.Text(line));
            });
        yield return tree.Sub(
            "sys", "Show the machine and its kernel.", [("sys", "CPUs, date, uptime, load, tasks, name, release, version, memory, and what it died of.")],
            (_, guest) => guest.Kernel.System(), () => InspectionJson.Default.SystemAnswer, (system, _) => System(tree, system));
    }

    private static void System(InspectTree tree, SystemAnswer s)
    {
        void Line(string name, string? value)
        {
            if (value is not null)
                tree.Out.WriteLine($"{tree.Console.Paint.Bold($"{name,12}:")} {Safe.Text(value)}");
        }

        string? uptime = s.UptimeMs is { } ms && TimeSpan.FromMilliseconds(ms) is var up
            ? string.Create(CultureInfo.InvariantCulture, $"{(up.Days > 0 ? $"{InspectTree.N(up.Days)} days, " : "")}{up:hh\\:mm\\:ss}") : null;
        Line("SOURCE", s.Source);
        Line("CPUS", s.Cpus is { } cpus ? $"{InspectTree.N(cpus)}{(s.CpusOffline > 0 ? $" [OFFLINE: {InspectTree.N(s.CpusOffline.Value)}]" : "")}" : null);
        Line("DATE", s.Date?.UtcDateTime.ToString("ddd MMM d HH:mm:ss 'UTC' yyyy", CultureInfo.InvariantCulture));
        Line("UPTIME", uptime);
        Line("LOAD AVERAGE", s.LoadAverage.Count == 0 ? null : string.Join(", ", s.LoadAverage.Select(l => l.ToString("0.00", CultureInfo.InvariantCulture))));
        Line("TASKS", InspectTree.N(s.Tasks));
        Line("NODENAME", s.Nodename);
        Line("RELEASE", s.Release);
        Line("VERSION", s.Version);
        Line("MACHINE", s.Machine is null ? null : $"{s.Machine}  ({InspectTree.N(s.Mhz) ?? "unknown"} Mhz)");
        Line("MEMORY", s.MemoryBytes is { } bytes ? string.Create(CultureInfo.InvariantCulture, $"{(bytes >= 1 << 30 ? bytes / (double)(1 << 30) : bytes / (double)(1 << 20)):0.#} {(bytes >= 1 << 30 ? "GB" : "MB")}") : null);
        Line("PANIC", s.Panic is null ? null : $"\"{s.Panic}\"");
        Line("TAINT", s.Taint is { Length: 0 } ? "none" : s.Taint);
        Line("BUILD ID", s.BuildId);
        Line("COMMAND LINE", s.CommandLine);
        Line("CPU MODEL", s.CpuModel);
        Line("HYPERVISOR", s.Hypervisor);
    }

    private static VmcoreInfoAnswer Parsed(string text)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in text.Split('\n'))
        {
            if (line.IndexOf('=') is var at and > 0)
                values.TryAdd(line[..at], line[(at + 1)..]);
        }

        return new VmcoreInfoAnswer(text, values);
    }

    private static void Dmesg(InspectTree tree, IReadOnlyList<LogRow> log)
    {
        foreach (LogRow row in log)
        {
            string stamp = string.Create(CultureInfo.InvariantCulture, $"[{row.TimestampNs / 1_000_000_000,5}.{row.TimestampNs / 1000 % 1_000_000:000000}]");
            string text = Safe.Text(row.Text);
            tree.Out.WriteLine($"{tree.Console.Paint.Dim(stamp)} {(row.Level <= 3 ? tree.Console.Paint.Red(text) : text)}");
        }
    }

    private static void Modules(InspectTree tree, IReadOnlyList<ModuleRow> modules)
    {
        var table = new Columns(("MODULE", false), ("NAME", false), ("TEXT_BASE", false), ("SIZE", true), ("STATE", false), ("TAINT", false));
        foreach (ModuleRow m in modules)
            table.Add(InspectTree.Hex(m.Address), m.Name, InspectTree.Hex(m.Base), InspectTree.N(m.Bytes), m.State, m.Taint);
        table.WriteTo(tree.Out, tree.Console.Paint);
    }
}
