using Iced.Intel;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>The line <c>Code:</c> as instructions, addressed by their offset in the function: where the function lies, a log does not tell.</summary>
internal static class LogDisassembly
{
    private const int MostLead = 15, Before = 8, After = 5;

    /// <summary>Lines in AT&amp;T syntax around the marked byte, which <c>=></c> points at; empty where there are no bytes.</summary>
    public static IReadOnlyList<string> Of(LogRegisters registers, out string? instruction)
    {
        instruction = null;
        if (registers.CodeAt < 0)
            return [];
        ulong offset = registers.Instruction?.Offset ?? 0;
        var formatter = new GasFormatter();
        formatter.Options.UppercaseHex = false;
        formatter.Options.RipRelativeAddresses = true;
        formatter.Options.ShowSymbolAddress = false;
        formatter.Options.BranchLeadingZeros = false;
        var lines = new List<string>();
        List<int> starts = Synchronise(registers.Code, registers.CodeAt);
        foreach (int start in starts.Skip(Math.Max(0, starts.Count - Before)))
        {
            // Before the function's own start lies another's end.
            if ((ulong)(registers.CodeAt - start) > offset && registers.Instruction?.Function is not null)
                continue;
            lines.Add(Line(registers, formatter, offset, start, out _, out _));
        }

        int at = registers.CodeAt;
        for (int i = 0; i <= After && at < registers.Code.Length; i++)
        {
            string line = Line(registers, formatter, offset, at, out int length, out string text);
            if (length == 0)
                break;
            if (i == 0)
                instruction = text;
            lines.Add(line);
            at += length;
        }

        return lines;
    }

    /// <summary>The first place from which whole instructions lead to the marked byte; what lies between, instruction by instruction.</summary>
    private static List<int> Synchronise(byte[] code, int mark)
    {
        for (int first = 0; first < Math.Min(MostLead, mark); first++)
        {
            var starts = new List<int>();
            int at = first;
            while (at < mark)
            {
                var decoder = Decoder.Create(64, new ByteArrayCodeReader(code, at, code.Length - at));
                decoder.Decode(out Instruction instruction);
                if (instruction.IsInvalid)
                    break;
                starts.Add(at);
                at += instruction.Length;
            }

            if (at == mark)
                return starts;
        }

        return [];
    }

    private static string Line(LogRegisters registers, GasFormatter formatter, ulong offset, int at, out int length, out string text)
    {
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(registers.Code, at, registers.Code.Length - at));
        ulong place = unchecked(offset + (ulong)(at - registers.CodeAt));
        decoder.IP = place;
        decoder.Decode(out Instruction instruction);
        length = instruction.IsInvalid ? 0 : instruction.Length;
        var output = new StringOutput();
        formatter.Format(instruction, output);
        text = instruction.IsInvalid ? "(bad)" : output.ToStringAndReset();
        return $"{(at == registers.CodeAt ? "=>" : "  ")} +0x{place:x}: {text}";
    }
}
