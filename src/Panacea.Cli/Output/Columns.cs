using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Output;

/// <summary>Rows as aligned columns without frames, as <c>ps</c> writes them: good to read and good for <c>awk</c>. Cells go through <see cref="Safe"/>.</summary>
internal sealed class Columns(params (string Heading, bool Right)[] columns)
{
    private readonly List<string[]> _rows = [];

    /// <summary>Adds a row; as many cells as there are columns. The last column is never padded.</summary>
    public void Add(params string?[] cells)
    {
        if (cells.Length != columns.Length)
            throw new ArgumentException($"{cells.Length} cells for {columns.Length} columns");
        _rows.Add([.. cells.Select(cell => Safe.Text(cell) is { Length: > 0 } text ? text : "-")]);
    }

    /// <summary>Writes heading and rows.</summary>
    public void WriteTo(TextWriter to, Paint paint)
    {
        int[] widths = [.. columns.Select((column, i) => _rows.Aggregate(column.Heading.Length, (most, row) => Math.Max(most, row[i].Length)))];
        to.WriteLine(paint.Bold(Format([.. columns.Select(column => column.Heading)], widths)));
        foreach (string[] row in _rows)
            to.WriteLine(Format(row, widths));
    }

    private string Format(string[] cells, int[] widths)
    {
        var line = new StringBuilder();
        for (int i = 0; i < cells.Length; i++)
        {
            bool last = i == cells.Length - 1;
            if (i > 0)
                line.Append("  ");
            line.Append(columns[i].Right ? cells[i].PadLeft(widths[i]) : last ? cells[i] : cells[i].PadRight(widths[i]));
        }

        return line.ToString();
    }
}
