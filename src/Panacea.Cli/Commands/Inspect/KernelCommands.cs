using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>modules</c>, <c>dmesg</c>, <c>vmcoreinfo</c>.</summary>
internal static class KernelCommands
{
    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        yield return tree.Sub(
            "dmesg", "Print the kernel log.", [("dmesg | tail", "Its last lines.")],
            (_, guest) => guest.Kernel.Log(), InspectionJson.Default.IReadOnlyListLogRow, (log, _) => Dmesg(tree, log));
        yield return tree.Sub(
            "modules", "List the loaded modules.", [("modules", "struct module, name, text, size, state, taint.")],
            (_, guest) => guest.Kernel.Modules(), InspectionJson.Default.IReadOnlyListModuleRow, (modules, _) => Modules(tree, modules));
        yield return tree.Sub(
            "vmcoreinfo", "Print VMCOREINFO, what the kernel tells tools that read its dumps.", [("vmcoreinfo", "KEY=VALUE lines.")],
            (_, guest) => Parsed(InspectTree.Found(guest.Kernel.VmcoreInfo(), "VMCOREINFO")), InspectionJson.Default.VmcoreInfoAnswer,
            (info, _) =>
            {
                foreach (string line in info.Text.TrimEnd('\n').Split('\n'))
                    tree.Out.WriteLine(Safe.Text(line));
            });
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
