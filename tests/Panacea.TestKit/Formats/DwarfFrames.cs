using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.TestKit.Formats;

/// <summary>How DWARF computes the CFA.</summary>
/// <param name="Register">From which register; null: by an expression of another form.</param>
/// <param name="Offset">Bytes to add to it.</param>
/// <param name="Indirect">The sum is the address of a slot that holds the CFA.</param>
public readonly record struct DwarfCfa(Gpr? Register, int Offset, bool Indirect)
{
    /// <inheritdoc/>
    public override string ToString() => Register is null ? "an expression" : Indirect ? $"[{Register}{Offset:+0;-0;+0}]" : $"{Register}{Offset:+0;-0;+0}";
}

/// <summary>The stack slot that DWARF names for a register.</summary>
/// <param name="Offset">Bytes from the base.</param>
/// <param name="Base">The register that the offset is counted from; null: from the CFA.</param>
/// <param name="IsKnown">False for an expression of another form.</param>
public readonly record struct DwarfSlot(int Offset, Gpr? Base = null, bool IsKnown = true)
{
    /// <inheritdoc/>
    public override string ToString() => IsKnown ? $"[{(Base is null ? "Cfa" : $"{Base}")}{Offset:+0;-0;+0}]" : "an expression";
}

/// <summary>What DWARF says of one run of instructions.</summary>
/// <param name="Address">First instruction.</param>
/// <param name="Cfa">The canonical frame address.</param>
/// <param name="ReturnAddressOffset">Where the return address is, from the CFA; null where it is not there.</param>
/// <param name="Saved">Where callee-saved registers are; one that is missing is unchanged.</param>
public sealed record DwarfRow(ulong Address, DwarfCfa Cfa, int? ReturnAddressOffset, IReadOnlyDictionary<Gpr, DwarfSlot> Saved);

/// <summary>What DWARF says of one function, or of a part that the compiler moved away from it.</summary>
/// <param name="Start">First instruction.</param>
/// <param name="End">Past the last.</param>
/// <param name="Rows">By address; the first stands at <paramref name="Start"/>.</param>
public sealed record DwarfFunction(ulong Start, ulong End, IReadOnlyList<DwarfRow> Rows);

/// <summary>The compiler's own unwind tables (.debug_frame or .eh_frame) as binutils interpret them: an oracle that shares no line with what it checks.</summary>
public sealed partial class DwarfFrames : IOrcLookup
{
    private static readonly IReadOnlyDictionary<Gpr, DwarfSlot> NothingSaved = new Dictionary<Gpr, DwarfSlot>();
    private readonly List<DwarfFunction> _functions = [];

    /// <summary>The functions, by address.</summary>
    public IReadOnlyList<DwarfFunction> Functions => _functions;

    /// <summary>Reads a file with readelf.</summary>
    public static DwarfFrames Of(string elf)
    {
        var frames = new DwarfFrames();
        ILookup<ulong, string>? expressions = null;
        Run("frames-interp", elf, frames.ParseRows);
        if (frames._functions.Exists(f => f.Rows.Any(r => r.Cfa.Register is null || r.Saved.Values.Any(s => !s.IsKnown))))
            Run("frames", elf, text => expressions = Expressions(text).ToLookup(e => e.Function, e => e.Said));
        if (expressions is not null)
            frames.Resolve(expressions);
        frames._functions.Sort((a, b) => a.Start.CompareTo(b.Start));
        return frames;
    }

    /// <summary>Somewhere in the function around <paramref name="address"/>, R13 holds the CFA.</summary>
    public bool IsArgumentPointer(ulong address) => TryFindFunction(address, out DwarfFunction function) && function.Rows.Any(r => r.Cfa is { Register: Gpr.R13 });

    /// <summary>What is said of one instruction.</summary>
    public bool TryFindRow(ulong address, out DwarfRow row)
    {
        row = null!;
        if (!TryFindFunction(address, out DwarfFunction function))
            return false;
        foreach (DwarfRow candidate in function.Rows)
        {
            if (candidate.Address <= address)
                row = candidate;
        }

        return row is not null;
    }

    /// <summary>The function, or the part of one, around an address.</summary>
    public bool TryFindFunction(ulong address, out DwarfFunction function)
    {
        function = null!;
        int low = 0, high = _functions.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_functions[middle].Start <= address)
                low = middle + 1;
            else
                high = middle;
        }

        if (low == 0 || address >= _functions[low - 1].End)
            return false;
        function = _functions[low - 1];
        return true;
    }

    /// <summary>The same as the kernel would have it: only what ORC can say.</summary>
    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        entry = default;
        if (!TryFindRow(instruction, out DwarfRow row) || row.Cfa is not { Register: Gpr.Rsp or Gpr.Rbp, Indirect: false })
            return false;
        bool saved = row.Saved.TryGetValue(Gpr.Rbp, out DwarfSlot bp);
        if (saved && bp is not { IsKnown: true, Base: null })
            return false;
        entry = new OrcEntry(row.Cfa.Register == Gpr.Rsp ? OrcRegister.Sp : OrcRegister.Bp, (short)row.Cfa.Offset,
            saved ? OrcRegister.PrevSp : OrcRegister.Undefined, (short)bp.Offset, OrcType.Call, Signal: false);
        return true;
    }

    private static void Run(string what, string elf, Action<TextReader> parse)
    {
        using Process process = Process.Start(new ProcessStartInfo("readelf")
        {
            ArgumentList = { $"--debug-dump={what}", "-W", elf },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        parse(process.StandardOutput);
        process.WaitForExit();
    }

    private void ParseRows(TextReader text)
    {
        // A function of which nothing is said but its bounds is as its CIE says.
        var common = new Dictionary<string, List<DwarfRow>>(StringComparer.Ordinal);
        List<DwarfRow> rows = [], inherited = [];
        (ulong Start, ulong End)? function = null;
        string[] columns = [];
        while (text.ReadLine() is { } line)
        {
            if (line.Contains(" FDE ", StringComparison.Ordinal))
            {
                Finish();
                string[] ends = After(line, "pc=").Split("..");
                function = (Hex(ends[0]), Hex(ends[1]));
                inherited = common[After(line, "cie=")];
                rows = [];
            }
            else if (line.Contains(" CIE ", StringComparison.Ordinal))
            {
                Finish();
                function = null;
                common[line.Split(' ')[0]] = rows = [];
            }
            else if (line.Contains("LOC", StringComparison.Ordinal) && line.Contains("CFA", StringComparison.Ordinal))
            {
                columns = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[2..];
            }
            else if (line.Length > 16 && char.IsAsciiHexDigit(line[0]) && line[16] == ' ')
            {
                rows.Add(Row(line, columns));
            }
        }

        Finish();

        void Finish()
        {
            if (function is not { } range)
                return;
            if (rows.Count == 0)
                rows = [.. inherited.Select(r => r with { Address = range.Start })];
            _functions.Add(new DwarfFunction(range.Start, range.End, rows));
        }
    }

    private static DwarfRow Row(string line, string[] columns)
    {
        string[] cells = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Dictionary<Gpr, DwarfSlot>? saved = null;
        int? returnAddress = null;
        for (int i = 0; i < columns.Length && i + 2 < cells.Length; i++)
        {
            string cell = cells[i + 2];
            bool fromCfa = cell[0] == 'c' && int.TryParse(cell[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _);
            int offset = fromCfa ? int.Parse(cell[1..], CultureInfo.InvariantCulture) : 0;
            if (columns[i] == "ra")
                returnAddress = fromCfa ? offset : null;
            else if (CalleeSaved(columns[i]) is { } register && cell is not ("u" or "s"))
                (saved ??= [])[register] = new DwarfSlot(offset, null, fromCfa);
        }

        int sign = cells[1].AsSpan().IndexOfAny('+', '-');
        DwarfCfa cfa = sign < 0 ? default : new DwarfCfa(General(cells[1][..sign]), int.Parse(cells[1][sign..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture), false);
        return new DwarfRow(Hex(cells[0]), cfa, returnAddress, saved ?? NothingSaved);
    }

    /// <summary>The table says only that there is an expression; what it is stands in the list of instructions. A function that has several for one thing can't be told apart here.</summary>
    private void Resolve(ILookup<ulong, string> expressions)
    {
        for (int i = 0; i < _functions.Count; i++)
        {
            DwarfFunction function = _functions[i];
            if (!expressions.Contains(function.Start))
                continue;
            string[] said = [.. expressions[function.Start].Distinct()];
            Match[] bases = [.. said.Select(s => CfaExpression().Match(s)).Where(m => m.Success)];
            DwarfCfa cfa = said.Count(s => s.Contains("def_cfa_expression", StringComparison.Ordinal)) == 1 && bases.Length == 1
                ? new DwarfCfa(General(bases[0].Groups[1].Value), Number(bases[0].Groups[2]), true) : default;
            ILookup<Gpr?, DwarfSlot> slots = said.Select(s => SlotExpression().Match(s)).Where(m => m.Success)
                .ToLookup(m => CalleeSaved(m.Groups[1].Value), m => new DwarfSlot(Number(m.Groups[3]), General(m.Groups[2].Value)));
            _functions[i] = function with
            {
                Rows = [.. function.Rows.Select(row => row with
                {
                    Cfa = row.Cfa.Register is null ? cfa : row.Cfa,
                    Saved = row.Saved.ToDictionary(s => s.Key, s => s.Value.IsKnown || slots[s.Key].Count() != 1 ? s.Value : slots[s.Key].Single()),
                })],
            };
        }
    }

    private static IEnumerable<(ulong Function, string Said)> Expressions(TextReader text)
    {
        var found = new List<(ulong, string)>();
        ulong function = 0;
        while (text.ReadLine() is { } line)
        {
            if (line.Contains(" FDE ", StringComparison.Ordinal))
                function = Hex(After(line, "pc=").Split("..")[0]);
            else if (line.Contains("_expression", StringComparison.Ordinal))
                found.Add((function, line.Trim()));
        }

        return found;
    }

    private static string After(string line, string mark) => line[(line.IndexOf(mark, StringComparison.Ordinal) + mark.Length)..].Split(' ')[0];

    private static Gpr? CalleeSaved(string name) => General(name) is { } register and (Gpr.Rbx or Gpr.Rbp or Gpr.R12 or Gpr.R13 or Gpr.R14 or Gpr.R15) ? register : null;

    private static Gpr? General(string name) => Enum.TryParse(name, ignoreCase: true, out Gpr register) && !char.IsAsciiDigit(name[0]) ? register : null;

    private static int Number(Group text) => int.Parse(text.ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^DW_CFA_def_cfa_expression \(DW_OP_breg\d+ \((\w+)\): (-?\d+); DW_OP_deref\)$")]
    private static partial Regex CfaExpression();

    [GeneratedRegex(@"^DW_CFA_expression: r\d+ \((\w+)\) \(DW_OP_breg\d+ \((\w+)\): (-?\d+)\)$")]
    private static partial Regex SlotExpression();
}
