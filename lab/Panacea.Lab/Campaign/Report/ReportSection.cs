namespace Panacea.Lab.Campaign.Report;

/// <summary>A plot of a report that can show one.</summary>
internal enum ReportPlot
{
    /// <summary>None.</summary>
    None,

    /// <summary>How much is recovered, by arm.</summary>
    Recovery,

    /// <summary>What faults do, by kind: without Panacea and with it.</summary>
    Outcomes,

    /// <summary>How long guests stood still, by arm.</summary>
    Stopped,
}

/// <summary>A table. Cells are text as it came, of a guest too: escaping is for who shows it.</summary>
/// <param name="Columns">Their titles.</param>
/// <param name="Words">The first so many columns are words; the others are figures.</param>
/// <param name="Rows">One cell for each column.</param>
internal sealed record ReportTable(IReadOnlyList<string> Columns, int Words, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    /// <summary>The last cell of each row is the verdict of a goal.</summary>
    public bool HasVerdict { get; init; }
}

/// <summary>Something of which there is more to say than fits a table's row. Text as it came.</summary>
/// <param name="Title">What it is.</param>
/// <param name="Facts">What is to be said of it.</param>
internal sealed record ReportItem(string Title, IReadOnlyList<ReportFact> Facts);

/// <summary>One thing that is said.</summary>
/// <param name="Name">Of what.</param>
/// <param name="Value">What. Text as it came.</param>
/// <param name="IsCode">It is to be copied as it is: a path.</param>
internal sealed record ReportFact(string Name, string Value, bool IsCode = false);

/// <summary>A part of a report, whatever it is written in.</summary>
/// <param name="Title">Its title.</param>
/// <param name="Note">What it says, and how its figures are to be read. Text as it came.</param>
internal sealed record ReportSection(string Title, string Note)
{
    /// <summary>Its plot.</summary>
    public ReportPlot Plot { get; init; }

    /// <summary>Its tables.</summary>
    public IReadOnlyList<ReportTable> Tables { get; init; } = [];

    /// <summary>Its items.</summary>
    public IReadOnlyList<ReportItem> Items { get; init; } = [];

    /// <summary>Items that there are besides.</summary>
    public int Omitted { get; init; }
}
