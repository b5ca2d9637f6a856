using System.Buffers.Binary;
using System.CommandLine;
using System.Globalization;
using System.Text;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>read</c>, <c>disasm</c>.</summary>
internal static class MemoryCommands
{
    private const int BytesPerLine = 16;

    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        Argument<string> what = tree.Place("ADDRESS|SYMBOL", "An address as 0x…, a symbol, SYMBOL+0x10, or SYMBOL:CPU for a per-CPU variable.");
        Argument<int?> count = InspectTree.Count("How many units [default: 1]; of a string, bytes at most.");
        var as_ = new Option<string>("--as") { Description = "u8, u16, u32, u64, string, or a type. [default: u64]", HelpName = "UNIT|TYPE" };
        tree.CompleteTypes(as_.CompletionSources, "u8", "u16", "u32", "u64", "string");
        var physical = new Option<bool>("--physical") { Description = "The address is guest-physical." };
        yield return tree.Sub(
            "read", "Read memory: words with what they are, bytes, a string, or a structure member by member.",
            [
                ("read init_task 8", "Eight 64-bit words, each with the symbol, task, slab object or page that it leads to."),
                ("read init_task --as task_struct", "A structure by its type, member by member."),
                ("read runqueues:0 --as rq", "A per-CPU variable of one CPU."),
                ("read 0x1000 64 --as u8 --physical", "Bytes of guest-physical memory."),
                ("read linux_banner --as string", "Text."),
            ],
            (parsed, guest) => guest.Memory.Read(new ReadRequest(parsed.GetRequiredValue(what), parsed.GetValue(count), parsed.GetValue(as_) ?? "u64", parsed.GetValue(physical))),
            () => InspectionJson.Default.ReadAnswer, (answer, _) => Read(tree, answer), what, count, as_, physical);
        Argument<string> where = tree.Place("SYMBOL|ADDRESS", "A function, SYMBOL+0x10, or an address as 0x…");
        Argument<int?> instructions = InspectTree.Count("How many instructions, from there on [default: the whole function].");
        var pristine = new Option<bool>("--pristine") { Description = "Show the code as the image has it instead of memory." };
        var image = new Option<string?>("--image") { Description = "Compare with a repair image that was built earlier in this boot instead of what was learned now.", HelpName = "FILE" };
        yield return tree.Sub(
            "disasm", "Disassemble a function, or instructions from an address on. '*' marks code that differs between memory and image.",
            [
                ("disasm schedule", "The whole function, as memory has it."),
                ("disasm schedule 5", "Its first five instructions."),
                ("disasm vfs_read --image web1.rimg", "What has changed since 'panacea image build'."),
            ],
            (parsed, guest) => guest.Memory.Disassemble(new DisassemblyRequest(
                parsed.GetRequiredValue(where), parsed.GetValue(instructions), parsed.GetValue(pristine), parsed.GetValue(image))),
            () => InspectionJson.Default.DisassemblyAnswer, (listing, _) => Disassembly(tree, listing), where, instructions, pristine, image);
    }

    private static void Read(InspectTree tree, ReadAnswer answer)
    {
        if (answer.Members is { } members)
            Members(tree, answer, members);
        else if (answer.Words is { } words)
        {
            foreach (WordRow w in words)
                tree.Out.WriteLine($"{InspectTree.Hex(w.Address)}:  {w.Value:x16}{(w.Explanation is null ? "" : $"  {Safe.Text(w.Explanation)}")}");
        }
        else if (answer.Text is { } text)
            tree.Out.WriteLine($"{InspectTree.Hex(answer.Address)}:  \"{Safe.Text(text)}\"");
        else
            Dump(tree, answer.Address, Convert.FromHexString(answer.Bytes ?? ""), answer.As switch { "u16" => 2, "u32" => 4, _ => 1 });
    }

    private static void Dump(InspectTree tree, ulong address, byte[] raw, int unit)
    {
        int width = (BytesPerLine / unit * ((2 * unit) + 1)) - 1;
        for (int at = 0; at < raw.Length; at += BytesPerLine)
        {
            byte[] line = raw[at..Math.Min(raw.Length, at + BytesPerLine)];
            var units = new StringBuilder();
            for (int i = 0; i + unit <= line.Length; i += unit)
            {
                units.Append(i == 0 ? "" : " ").Append(unit switch
                {
                    1 => line[i].ToString("x2", CultureInfo.InvariantCulture),
                    2 => BinaryPrimitives.ReadUInt16LittleEndian(line.AsSpan(i)).ToString("x4", CultureInfo.InvariantCulture),
                    _ => BinaryPrimitives.ReadUInt32LittleEndian(line.AsSpan(i)).ToString("x8", CultureInfo.InvariantCulture),
                });
            }

            string text = string.Concat(line.Select(b => b is >= 0x20 and < 0x7f ? (char)b : '.'));
            tree.Out.WriteLine($"{InspectTree.Hex(unchecked(address + (ulong)at))}:  {units.ToString().PadRight(width)}  {text}");
        }
    }

    private static void Members(InspectTree tree, ReadAnswer answer, IReadOnlyList<MemberRow> members)
    {
        tree.Out.WriteLine(tree.Console.Paint.Bold($"{Safe.Text(answer.As)} at {InspectTree.Hex(answer.Address)}"));
        int offsets = members.Aggregate(1, (most, m) => Math.Max(most, InspectTree.N(m.Offset).Length));
        foreach (MemberRow m in members)
        {
            string indent = new(' ', 2 * (m.Depth + 1));
            string value = m.Value is null ? ":" : $"{(m.Name.Length == 0 ? "" : " = ")}{Safe.Text(m.Value)}";
            string said = m.Explanation is null ? "" : tree.Console.Paint.Dim($"  {Safe.Text(m.Explanation)}");
            tree.Out.WriteLine($"{InspectTree.N(m.Offset).PadLeft(offsets + 1)}{indent}{Safe.Text(m.Name)}{value}{said}");
        }
    }

    private static void Disassembly(InspectTree tree, DisassemblyAnswer listing)
    {
        string module = listing.Module is null ? "" : $" [{Safe.Text(listing.Module)}]";
        if (listing.Function is { } function)
            tree.Out.WriteLine(tree.Console.Paint.Bold($"{Safe.Text(function)}{module}, from {listing.From}"));
        int width = listing.Instructions.Aggregate(0, (most, i) => Math.Max(most, i.Bytes.Length));
        foreach (InstructionRow i in listing.Instructions)
        {
            string offset = listing.Size == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" <+{i.Address - listing.Start}>:").PadRight(10);
            string mark = i.Other is not null ? "*" : i.Marked ? ">" : " ";
            tree.Out.WriteLine($"{mark} 0x{InspectTree.Hex(i.Address)}{offset} {i.Bytes.PadRight(Math.Min(width, 30))}  {Safe.Text(i.Text)}");
            if (i.Other is { } other)
                tree.Out.WriteLine(tree.Console.Paint.Yellow($"    {(listing.From == "memory" ? "image" : "memory")} has{new string(' ', Math.Max(1, 8 + offset.Length))}{other}  {Safe.Text(i.OtherText)}"));
        }
    }
}
