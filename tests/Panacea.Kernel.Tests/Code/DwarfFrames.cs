using System.Diagnostics;
using System.Globalization;
using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.Kernel.Tests.Code;

/// <summary>What DWARF says of one run of instructions.</summary>
/// <param name="Address">First instruction.</param>
/// <param name="CfaRegister">"rsp", "rbp", or "exp" for an expression.</param>
/// <param name="CfaOffset">Bytes.</param>
/// <param name="Saved">Where callee-saved registers are, as offsets from the CFA; a register that is missing is unchanged; null: by an expression.</param>
internal sealed record DwarfRow(ulong Address, string CfaRegister, int CfaOffset, IReadOnlyDictionary<Gpr, int?> Saved);

/// <summary>The compiler's own unwind tables as binutils interpret them: an oracle that shares no line with what it checks.</summary>
internal sealed class DwarfFrames : IOrcLookup
{
    private readonly List<(ulong Start, ulong End, List<DwarfRow> Rows)> _functions = [];

    public static DwarfFrames Of(string elf)
    {
        var frames = new DwarfFrames();
        using Process process = Process.Start(new ProcessStartInfo("readelf")
        {
            ArgumentList = { "--debug-dump=frames-interp", "-W", elf },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        frames.Parse(process.StandardOutput);
        process.WaitForExit();
        frames._functions.Sort((a, b) => a.Start.CompareTo(b.Start));
        return frames;
    }

    /// <summary>Somewhere in the function around <paramref name="address"/>, R13 holds the CFA.</summary>
    public bool IsArgumentPointer(ulong address) => TryFindFunction(address, out List<DwarfRow> rows) && rows.Exists(r => r.CfaRegister == "r13");

    public bool TryFindRow(ulong address, out DwarfRow row)
    {
        row = null!;
        if (!TryFindFunction(address, out List<DwarfRow> rows))
            return false;
        foreach (DwarfRow candidate in rows)
        {
            if (candidate.Address <= address)
                row = candidate;
        }

        return row is not null;
    }

    private bool TryFindFunction(ulong address, out List<DwarfRow> rows)
    {
        rows = [];
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
        rows = _functions[low - 1].Rows;
        return true;
    }

    /// <summary>The same as the kernel would have it: only what ORC can say.</summary>
    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        entry = default;
        if (!TryFindRow(instruction, out DwarfRow row) || row.CfaRegister is not ("rsp" or "rbp"))
            return false;
        bool saved = row.Saved.TryGetValue(Gpr.Rbp, out int? bp);
        if (saved && bp is null)
            return false;
        entry = new OrcEntry(row.CfaRegister == "rsp" ? OrcRegister.Sp : OrcRegister.Bp, (short)row.CfaOffset,
            saved ? OrcRegister.PrevSp : OrcRegister.Undefined, (short)bp.GetValueOrDefault(), OrcType.Call, Signal: false);
        return true;
    }

    private void Parse(TextReader text)
    {
        List<DwarfRow>? rows = null;
        Gpr?[] columns = [];
        while (text.ReadLine() is { } line)
        {
            if (line.Contains(" FDE ", StringComparison.Ordinal))
            {
                string range = line[(line.IndexOf("pc=", StringComparison.Ordinal) + 3)..];
                string[] ends = range.Split("..");
                _functions.Add((Hex(ends[0]), Hex(ends[1].Split(' ')[0]), rows = []));
            }
            else if (line.Contains(" CIE ", StringComparison.Ordinal))
            {
                rows = null;
            }
            else if (line.Contains("LOC", StringComparison.Ordinal) && line.Contains("CFA", StringComparison.Ordinal))
            {
                columns = [.. line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(2).Select(Column)];
            }
            else if (rows is not null && line.Length > 16 && char.IsAsciiHexDigit(line[0]) && line[16] == ' ')
            {
                rows.Add(Row(line, columns));
            }
        }
    }

    private static DwarfRow Row(string line, Gpr?[] columns)
    {
        string[] cells = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int plus = cells[1].IndexOf('+');
        var saved = new Dictionary<Gpr, int?>();
        for (int i = 0; i < columns.Length && i + 2 < cells.Length; i++)
        {
            string cell = cells[i + 2];
            if (columns[i] is not { } register || cell is "u" or "s")
                continue;
            saved[register] = cell.StartsWith('c') && int.TryParse(cell[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int at) ? at : null;
        }

        return new DwarfRow(Hex(cells[0]), plus < 0 ? cells[1] : cells[1][..plus],
            plus < 0 ? 0 : int.Parse(cells[1][(plus + 1)..], CultureInfo.InvariantCulture), saved);
    }

    private static Gpr? Column(string name) => name switch
    {
        "rbx" => Gpr.Rbx,
        "rbp" => Gpr.Rbp,
        "r12" => Gpr.R12,
        "r13" => Gpr.R13,
        "r14" => Gpr.R14,
        "r15" => Gpr.R15,
        _ => null,
    };

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
