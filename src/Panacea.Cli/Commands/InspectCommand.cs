using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea inspect</c>: looks into a running guest from outside, or into a dump.</summary>
internal static class InspectCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<SourceName> source = Shared.Source();
        Option<bool> json = Shared.Json("Print JSON: an array of objects, or one object for 'type'.");
        json.Recursive = true;
        var command = new PanaceaCommand("inspect", "Look into a kernel, a running guest's or one in a dump: its processes, modules, kernel log, stacks, symbols and types. Changes nothing.")
        {
            Examples =
            [
                ("panacea inspect pid:4242 ps", "Every thread of the guest."),
                ("panacea inspect vmcore bt", "What each CPU was executing, in a dump."),
                ("panacea inspect pid:4242 symbol oops_end", "Where a symbol lies in this boot."),
                ("panacea inspect pid:4242 modules --json | jq -r '.[].name'", "Module names for a script."),
            ],
            Notes = [Shared.SourceNote, Shared.ExitCodeNote],
        };
        command.Add(source);
        command.Add(json);

        PanaceaCommand Sub(string name, string description, string example, string does, Func<ParseResult, IInspection, bool, int> print, Argument<string>? argument = null)
        {
            var sub = new PanaceaCommand(name, description) { Examples = [(example, does)], Notes = [Shared.SourceNote] };
            if (argument is not null)
                sub.Add(argument);

            // The library leaves the arguments of a parent alone where a subcommand follows.
            sub.Validators.Add(result =>
            {
                if (result.GetResult(source) is not { Tokens.Count: > 0 })
                    result.AddError($"inspect what? Write it before '{name}': panacea inspect SOURCE {name}");
            });
            sub.SetAction(parsed =>
            {
                using var interrupts = new Interrupts(console, "still letting go of the VM; once more ends panacea at once");
                using IInspection guest = console.Progress(
                    "reading the kernel", () => services.Inspection.Open(parsed.GetRequiredValue(source), interrupts.Token));
                return print(parsed, guest, parsed.GetValue(json));
            });
            return sub;
        }

        var symbol = new Argument<string>("NAME") { Description = "A symbol's exact name, or an address as 0x…" };
        var type = new Argument<string>("NAME") { Description = "A type's name, such as task_struct or 'struct mutex'." };
        command.Add(Sub("ps", "List every thread.", "panacea inspect pid:4242 ps", "Pid, process, parent, state, CPU, name.", (_, guest, j) => Ps(console, guest, j)));
        command.Add(Sub("modules", "List the loaded modules.", "panacea inspect pid:4242 modules", "Name, size, address, state, taint.", (_, guest, j) => Modules(console, guest, j)));
        command.Add(Sub("dmesg", "Print the kernel log.", "panacea inspect pid:4242 dmesg | tail", "Its last lines.", (_, guest, j) => Dmesg(console, guest, j)));
        command.Add(Sub("bt", "Show what each vCPU is executing.", "panacea inspect pid:4242 bt", "A stack per vCPU; '?' marks frames that are not proved.", (_, guest, j) => Bt(console, guest, j)));
        command.Add(Sub("symbol", "Find a symbol.", "panacea inspect pid:4242 symbol oops_end", "Its address, size, kind and module.",
            (parsed, guest, j) => Symbol(console, guest, parsed.GetRequiredValue(symbol), j), symbol));
        command.Add(Sub("type", "Show a type.", "panacea inspect pid:4242 type task_struct", "Its members with their offsets.",
            (parsed, guest, j) => Type(console, guest, parsed.GetRequiredValue(type), j), type));
        return command;
    }

    private static int Ps(CliConsole console, IInspection guest, bool json)
    {
        IReadOnlyList<TaskRow> tasks = guest.Tasks();
        if (json)
            return Json(console, tasks, CliJson.Default.IReadOnlyListTaskRow);
        var table = new Columns(("PID", true), ("TGID", true), ("PPID", true), ("S", false), ("CPU", true), ("COMM", false));
        foreach (TaskRow t in tasks)
            table.Add(N(t.Pid), N(t.Tgid), N(t.Ppid), t.State, t.Cpu is { } cpu ? N(cpu) : null, t.Kernel ? $"[{t.Comm}]" : t.Comm);
        table.WriteTo(console.Out, console.Paint);
        return ExitCodes.Ok;
    }

    private static int Modules(CliConsole console, IInspection guest, bool json)
    {
        IReadOnlyList<ModuleRow> modules = guest.Modules();
        if (json)
            return Json(console, modules, CliJson.Default.IReadOnlyListModuleRow);
        var table = new Columns(("MODULE", false), ("BYTES", true), ("BASE", false), ("STATE", false), ("TAINT", false));
        foreach (ModuleRow m in modules)
            table.Add(m.Name, N(m.Bytes), Hex(m.Base), m.State, m.Taint);
        table.WriteTo(console.Out, console.Paint);
        return ExitCodes.Ok;
    }

    private static int Dmesg(CliConsole console, IInspection guest, bool json)
    {
        IReadOnlyList<LogRow> log = guest.Log();
        if (json)
            return Json(console, log, CliJson.Default.IReadOnlyListLogRow);
        foreach (LogRow row in log)
        {
            string stamp = string.Create(CultureInfo.InvariantCulture, $"[{row.TimestampNs / 1_000_000_000,5}.{row.TimestampNs / 1000 % 1_000_000:000000}]");
            string text = Safe.Text(row.Text);
            console.Out.WriteLine($"{console.Paint.Dim(stamp)} {(row.Level <= 3 ? console.Paint.Red(text) : text)}");
        }

        return ExitCodes.Ok;
    }

    private static int Bt(CliConsole console, IInspection guest, bool json)
    {
        IReadOnlyList<BacktraceRow> stacks = guest.Backtraces();
        if (json)
            return Json(console, stacks, CliJson.Default.IReadOnlyListBacktraceRow);
        foreach (BacktraceRow stack in stacks)
        {
            string task = stack.Pid is { } pid ? $"pid {N(pid)}, {Safe.Text(stack.Comm)}" : "task unreadable";
            console.Out.WriteLine(console.Paint.Bold($"vCPU {N(stack.Vcpu)}: {task}{(stack.UserMode ? ", in user mode" : "")}"));
            for (int i = 0; i < stack.Frames.Count; i++)
            {
                FrameRow frame = stack.Frames[i];
                console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $" #{i,-3}{(frame.Reliable ? ' ' : '?')} {Safe.Text(frame.Location)}"));
            }
        }

        return ExitCodes.Ok;
    }

    private static int Symbol(CliConsole console, IInspection guest, string name, bool json)
    {
        IReadOnlyList<SymbolRow> symbols = guest.FindSymbol(name);
        if (symbols.Count == 0)
            throw new CliException(ExitCodes.NotFound, $"this guest has no symbol '{name}'");
        if (json)
            return Json(console, symbols, CliJson.Default.IReadOnlyListSymbolRow);
        var table = new Columns(("ADDRESS", false), ("KIND", false), ("BYTES", true), ("NAME", false));
        foreach (SymbolRow s in symbols)
            table.Add(Hex(s.Address), s.Kind, s.Size == 0 ? null : N(s.Size), s.Module is null ? s.Name : $"{s.Name} [{s.Module}]");
        table.WriteTo(console.Out, console.Paint);
        return ExitCodes.Ok;
    }

    private static int Type(CliConsole console, IInspection guest, string name, bool json)
    {
        TypeText type = guest.FindType(name) ?? throw new CliException(ExitCodes.NotFound, $"this guest has no type '{name}'");
        if (json)
            return Json(console, type, CliJson.Default.TypeText);
        foreach (string line in type.C.TrimEnd('\n').Split('\n'))
            console.Out.WriteLine(Safe.Text(line.Replace("\t", "    ", StringComparison.Ordinal)));
        return ExitCodes.Ok;
    }

    private static int Json<T>(CliConsole console, T value, JsonTypeInfo<T> shape)
    {
        console.Out.WriteLine(JsonSerializer.Serialize(value, shape));
        return ExitCodes.Ok;
    }

    private static string N(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Hex(ulong value) => $"0x{value:x16}";
}
