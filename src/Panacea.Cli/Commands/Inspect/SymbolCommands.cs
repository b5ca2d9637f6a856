using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>symbol</c>, <c>type</c>.</summary>
internal static class SymbolCommands
{
    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        Argument<string> symbol = tree.Place("NAME", "A symbol's exact name, or an address as 0x…");
        yield return tree.Sub(
            "symbol", "Find a symbol, or the one that covers an address.",
            [("symbol oops_end", "Its address, kind, size and module."), ("symbol 0xffffffff81000000", "The symbol that the address lies in.")],
            (parsed, guest) => guest.Symbols.Find(parsed.GetRequiredValue(symbol)) is { Count: > 0 } found
                ? found : throw new CliException(ExitCodes.NotFound, $"this guest has no symbol '{parsed.GetRequiredValue(symbol)}'"),
            () => InspectionJson.Default.IReadOnlyListSymbolRow, (symbols, _) => Symbols(tree, symbols), symbol);
        Argument<string[]> type = tree.TypeName("NAME", "A type's name, such as task_struct, struct mutex or unsigned int.");
        yield return tree.Sub(
            "type", "Show a type as C.", [("type task_struct", "Its members with their offsets and sizes in bytes."), ("type vfs_read", "A function's prototype.")],
            (parsed, guest) => InspectTree.Found(guest.Symbols.FindType(NameOf(parsed)), $"type '{NameOf(parsed)}'"), () => InspectionJson.Default.TypeText,
            (text, _) =>
            {
                foreach (string line in text.C.TrimEnd('\n').Split('\n'))
                    tree.Out.WriteLine(Safe.Text(line.Replace("\t", "    ", StringComparison.Ordinal)));
            }, type);

        string NameOf(ParseResult parsed) => string.Join(' ', parsed.GetRequiredValue(type));
    }

    private static void Symbols(InspectTree tree, IReadOnlyList<SymbolRow> symbols)
    {
        var table = new Columns(("ADDRESS", false), ("KIND", false), ("BYTES", true), ("NAME", false));
        foreach (SymbolRow s in symbols)
            table.Add(InspectTree.Hex(s.Address), s.Kind, s.Size == 0 ? null : InspectTree.N(s.Size), s.Module is null ? s.Name : $"{s.Name} [{s.Module}]");
        table.WriteTo(tree.Out, tree.Console.Paint);
    }
}
