using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit.Formats;

namespace Panacea.GuestTests.Oracles;

/// <summary>How the comparison of one kind of places went.</summary>
internal sealed class CallFrameTally
{
    private readonly Dictionary<string, (int Count, string Example)> _declined = [];

    /// <summary>Places compared.</summary>
    public int Points { get; set; }

    /// <summary>Places where all that DWARF says was proved.</summary>
    public int Exact { get; set; }

    /// <summary>Contradictions.</summary>
    public List<string> Wrong { get; } = [];

    /// <summary>Exact places among all.</summary>
    public double ExactShare => (double)Exact / Math.Max(Points, 1);

    /// <summary>Nothing, or not all, was proved.</summary>
    public void Decline(string reason, string example) =>
        _declined[reason] = _declined.TryGetValue(reason, out var known) ? (known.Count + 1, known.Example) : (1, example);

    /// <summary>For a person.</summary>
    public string Report() => FormattableString.Invariant($"{Points}, exact {Exact} ({ExactShare * 100:0.000} %), declined {_declined.Values.Sum(d => d.Count)}, wrong {Wrong.Count}\n")
        + string.Concat(_declined.OrderByDescending(d => d.Value.Count).Select(d => $"  declined {d.Value.Count}: {d.Key}, as {d.Value.Example}\n"))
        + string.Concat(Wrong.Take(20).Select(w => $"  wrong: {w}\n"));
}

/// <summary>Compares where the analysis of code says that a caller's registers are with what DWARF says.</summary>
/// <param name="image">The kernel, whose symbols, unwind rows and tables the analysis uses as it does for a guest.</param>
/// <param name="map">Its functions.</param>
/// <param name="hints">What is known of its control flow.</param>
internal sealed class CallFrameCheck(RepairImage image, CodeMap map, IControlFlowHints hints)
{
    private FunctionRange _range;
    private FunctionParts? _parts;
    private readonly Dictionary<(ulong Function, int Fragments), (FunctionFrames? Frames, Decline Why)> _analysed = [];

    /// <summary>At return addresses.</summary>
    public CallFrameTally Calls { get; } = new();

    /// <summary>At instructions, before they are executed.</summary>
    public CallFrameTally Traps { get; } = new();

    /// <summary>Calls through a pointer, of those compared.</summary>
    public int IndirectCalls { get; private set; }

    /// <summary>Instructions one after another; padding is of no interest.</summary>
    public static IEnumerable<Instruction> Decode(ICodeSource code, ulong start, ulong end)
    {
        byte[] bytes = new byte[end - start];
        if (!code.TryReadCode(start, bytes))
            yield break;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes), start);
        while (decoder.IP < end)
        {
            decoder.Decode(out Instruction instruction);
            if (!instruction.IsInvalid && instruction.Mnemonic is not (Mnemonic.Nop or Mnemonic.Int3))
                yield return instruction;
        }
    }

    /// <summary>Compares the calls of a function.</summary>
    /// <param name="function">What DWARF says.</param>
    /// <param name="isArgumentPointer">R13 holds the CFA in it, and is left out of the tables by gcc.</param>
    /// <param name="everywhere">All its instructions too.</param>
    public void Compare(DwarfFunction function, bool isArgumentPointer, bool everywhere)
    {
        int next = 0;
        DwarfRow row = function.Rows[0];
        foreach (Instruction instruction in Decode(image, function.Start, function.End))
        {
            for (; next < function.Rows.Count && function.Rows[next].Address <= instruction.IP; next++)
                row = function.Rows[next];
            if (everywhere)
                Compare(CodePoint.Trap(instruction.IP), row, isArgumentPointer, Traps);
            if (instruction.Mnemonic != Mnemonic.Call)
                continue;
            if (instruction.FlowControl == FlowControl.IndirectCall || Name(instruction.NearBranchTarget).StartsWith("__x86_indirect_thunk_", StringComparison.Ordinal))
                IndirectCalls++;
            Compare(CodePoint.Return(instruction.NextIP), row, isArgumentPointer, Calls);
        }
    }

    private void Compare(CodePoint point, DwarfRow row, bool isArgumentPointer, CallFrameTally tally)
    {
        tally.Points++;
        if (!TryLocate(point, out RegisterLocations found, out Decline why))
        {
            tally.Decline($"{why.Reason}", $"{Place(point)}: {why}");
            return;
        }

        bool? base_ = SameCfa(found, row.Cfa);
        var wrong = new List<string>();
        var lost = new List<Gpr>();
        if (base_ == false || row.ReturnAddressOffset != -8)
            wrong.Add($"CFA {string.Join(", ", found.Cfa)}, DWARF {row.Cfa}, return address at {row.ReturnAddressOffset}");
        bool comparable = base_ is not null;
        foreach (Gpr register in KnownRegisters.CalleeSaved)
        {
            if (register == Gpr.R13 && isArgumentPointer)
                continue;
            RegisterLocation location = found[register];
            bool isSaved = row.Saved.TryGetValue(register, out DwarfSlot slot);
            if (location.Place == RegisterPlace.Lost)
                lost.Add(register);
            else if ((isSaved ? SamePlace(found, location, slot) : IsUnchanged(location, register)) is not { } same)
                comparable = false;
            else if (!same)
                wrong.Add($"{register} {location}, DWARF {(isSaved ? $"{slot}" : "unchanged")}");
        }

        if (wrong.Count > 0)
            tally.Wrong.Add($"{Place(point)}: {string.Join("; ", wrong)}");
        else if (lost.Count > 0)
            tally.Decline($"{DeclineReason.RegisterLost}", $"{Place(point)}: {string.Join(", ", lost)}");
        else if (!comparable)
            tally.Decline("not comparable", $"{Place(point)}: DWARF {row.Cfa} {string.Join(", ", row.Saved)}, found {string.Join(", ", found.Cfa)} {string.Join(", ", found.CalleeSaved)}");
        else
            tally.Exact++;
    }

    private bool TryLocate(CodePoint point, out RegisterLocations found, out Decline why)
    {
        found = null!;
        if (!_range.Contains(point.LookupAddress))
        {
            image.TryFindFunction(point.LookupAddress, out _range);
            _parts = map.TryFindFunction(point.LookupAddress, out FunctionParts whole) ? whole : null;
        }

        if (_parts is not { } parts)
        {
            why = new Decline(DeclineReason.NoFunction, point.Address);
            return false;
        }

        // One analysis for all places of a function, as TryLocate of PrologueAnalysis makes it for one.
        (ulong, int) key = (parts.Main.Start, parts.Fragments?.Count ?? 0);
        if (!_analysed.TryGetValue(key, out var analysed))
        {
            PrologueAnalysis.TryAnalyse(image, parts, image, hints, out FunctionFrames frames, out why);
            _analysed.Add(key, analysed = (frames, why));
        }

        why = analysed.Why;
        return analysed.Frames is { } walked && walked.TryLocate(point, out found, out why);
    }

    private string Place(CodePoint point) =>
        image.Symbolize(point.LookupAddress) is { } at ? $"{at.Name}+0x{at.Offset + (point.IsReturnAddress ? 1UL : 0):x} (0x{point.Address:x})" : $"0x{point.Address:x}";

    private string Name(ulong address) => image.Symbolize(address)?.Name ?? "";

    /// <summary>Null where neither is based on what the other is.</summary>
    private static bool? SameCfa(RegisterLocations found, DwarfCfa cfa)
    {
        BaseRule[] rules = [.. found.Cfa.Where(r => r.Register == cfa.Register && r.Indirect == cfa.Indirect)];
        return rules.Length == 0 ? null : rules.Any(r => r.Offset == cfa.Offset && r.Addend == 0);
    }

    private static bool? SamePlace(RegisterLocations found, RegisterLocation location, DwarfSlot slot)
    {
        if (!slot.IsKnown)
            return null;
        if (location.Place != RegisterPlace.OnStack)
            return false;
        if (slot.Base is null)
            return location.Base == FrameBase.Cfa && location.Offset == slot.Offset;

        // Counted from a register by DWARF: what the register is to the base is known here too.
        IReadOnlyList<BaseRule> rules = location.Base == FrameBase.Aligned ? found.Aligned : found.Cfa;
        BaseRule[] same = [.. rules.Where(r => r.Register == slot.Base && !r.Indirect)];
        return same.Length == 0 ? null : same.Any(r => r.Offset + location.Offset == slot.Offset);
    }

    private static bool? IsUnchanged(RegisterLocation location, Gpr register) =>
        location.AlsoUnchanged || (location.Place == RegisterPlace.InRegister && location.Holder == register);
}
