using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>One line of disassembly.</summary>
/// <param name="Address">Guest-virtual address.</param>
/// <param name="Bytes">The instruction's bytes.</param>
/// <param name="Text">AT&amp;T syntax, as objdump and crash show it; <c>(bad)</c> where the bytes are no instruction.</param>
/// <param name="IsMarked">The line that the listing is about.</param>
public sealed record DisassembledLine(ulong Address, ReadOnlyMemory<byte> Bytes, string Text, bool IsMarked)
{
    /// <inheritdoc/>
    public override string ToString() => $"{(IsMarked ? "=>" : "  ")} 0x{Address:x16}: {Text}";
}

/// <summary>Listings of machine code.</summary>
public static class Disassembly
{
    /// <summary>Bound on bytes decoded from a function's start to synchronise; farther in, the listing begins at the instruction asked for.</summary>
    private const ulong MaxSynchronise = 64 << 10;

    /// <summary>Instructions around an address, decoded from the function's start so that every line begins where an instruction does.</summary>
    /// <param name="code">Text.</param>
    /// <param name="function">The part of the function that the address lies in.</param>
    /// <param name="address">The instruction the listing is about; marked.</param>
    /// <param name="before">Lines before it, at most.</param>
    /// <param name="after">Lines after it, at most.</param>
    /// <param name="symbols">Names a code or data address (<c>name+0x1</c>), or null for none; may itself be null.</param>
    /// <returns>Empty where no text can be read at the address.</returns>
    public static IReadOnlyList<DisassembledLine> Around(
        ICodeSource code, FunctionRange function, ulong address, int before, int after, Func<ulong, string?>? symbols = null)
    {
        var formatter = new GasFormatter(symbols is null ? null : new Resolver(symbols));
        formatter.Options.ShowSymbolAddress = false;
        formatter.Options.UppercaseHex = false;
        formatter.Options.RipRelativeAddresses = false;
        formatter.Options.BranchLeadingZeros = false;
        var earlier = new List<DisassembledLine>();
        bool synchronised = function.Contains(address) && address - function.Start <= MaxSynchronise;
        ulong at = synchronised ? function.Start : address;
        while (at < address)
        {
            DisassembledLine? line = Line(code, formatter, at, isMarked: false);
            if (line is null)
                break;
            at += (ulong)line.Bytes.Length;
            earlier.Add(line);
        }

        // Data or an overlapping decode on the way: lines that do not lead to the address would be a lie.
        var lines = new List<DisassembledLine>();
        if (at == address)
            lines.AddRange(earlier.Skip(earlier.Count - before));
        at = address;
        for (int i = 0; i <= after; i++)
        {
            DisassembledLine? line = Line(code, formatter, at, isMarked: i == 0);
            if (line is null || (i > 0 && synchronised && at >= function.End))
                break;
            lines.Add(line);
            at = unchecked(at + (ulong)line.Bytes.Length);
        }

        return lines;
    }

    private static DisassembledLine? Line(ICodeSource code, GasFormatter formatter, ulong at, bool isMarked)
    {
        byte[] bytes = new byte[15];
        if (!FaultDecoder.TryDecode(code, at, out Instruction instruction))
        {
            return code.TryReadCode(at, bytes.AsSpan(0, 1))
                ? new DisassembledLine(at, bytes.AsMemory(0, 1), "(bad)", isMarked)
                : null;
        }

        if (!code.TryReadCode(at, bytes.AsSpan(0, instruction.Length)))
            return null;
        var output = new StringOutput();
        formatter.Format(instruction, output);
        return new DisassembledLine(at, bytes.AsMemory(0, instruction.Length), output.ToStringAndReset(), isMarked);
    }

    private sealed class Resolver(Func<ulong, string?> symbols) : ISymbolResolver
    {
        public bool TryGetSymbol(
            in Instruction instruction, int operand, int instructionOperand, ulong address, int addressSize, out SymbolResult symbol)
        {
            symbol = default;

            // Displacements and immediates are offered too; only what can be an address is asked for.
            if (addressSize < 8 || address < 0xff00_0000_0000_0000 || symbols(address) is not { } name)
                return false;
            symbol = new SymbolResult(address, name);
            return true;
        }
    }
}
