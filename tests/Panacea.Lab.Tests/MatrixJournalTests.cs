using Panacea.Lab.Matrix;

namespace Panacea.Lab.Tests;

/// <summary>A run of the matrix that was interrupted goes on, and does not mix what does not belong together.</summary>
public sealed class MatrixJournalTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("panacea-journal").FullName;

    public void Dispose() => Directory.Delete(_directory, true);

    [Fact]
    public void What_was_run_is_there_again()
    {
        string path = Path.Combine(_directory, "journal"), program = Program("one");
        var cell = new MatrixCell("null-write", "timer");
        MatrixResult result = new(cell, "title", "unwind", "recovered", ["a request"], 4_000, null, ["unwind: done"], ["fork: status 1"], 3.5);
        BaselineResult dead = new(cell, true, true, null, []), lives = new(cell, false, false, true, ["left"]);
        MatrixJournal journal = MatrixJournal.Open(path, program);
        Assert.Null(journal.Guarded("6.1", cell));
        journal.Add("6.1", result, 2);
        journal.Add("6.1", dead, 1);
        journal.Add("6.1", lives, 1);

        MatrixJournal again = MatrixJournal.Open(path, program);
        Assert.Equivalent(result, again.Guarded("6.1", cell), strict: true);
        Assert.Equivalent(dead, again.Unguarded("6.1", cell, true), strict: true);
        Assert.Equivalent(lives, again.Unguarded("6.1", cell, false), strict: true);
        Assert.Equal(2, again.Boots("6.1"));
        Assert.Null(again.Guarded("6.12", cell));
        Assert.Null(again.Guarded("6.1", new MatrixCell("bug", "timer")));
        Assert.Equal(3, File.ReadAllLines(path).Length);
    }

    [Fact]
    public void Another_executable_begins_another_one()
    {
        string path = Path.Combine(_directory, "journal");
        var cell = new MatrixCell("bug", "irq");
        MatrixJournal.Open(path, Program("one")).Add("6.1", new BaselineResult(cell, true, true, null, []), 1);
        MatrixJournal another = MatrixJournal.Open(path, Program("two"));
        Assert.NotNull(another.Unguarded("6.1", cell, true));
        another.Add("6.1", new MatrixResult(cell, "title", "unwind", "recovered", [], 4_000, null, [], [], 1), 0);
        Assert.NotNull(MatrixJournal.Open(path, Program("two")).Guarded("6.1", cell));
        Assert.Contains("another executable", Assert.Throws<LabException>(() => MatrixJournal.Open(path, Program("one"))).Message, StringComparison.Ordinal);
        File.WriteAllText(path, "no json\n");
        Assert.Contains("is no journal", Assert.Throws<LabException>(() => MatrixJournal.Open(path, Program("one"))).Message, StringComparison.Ordinal);
    }

    private string Program(string text)
    {
        string path = Path.Combine(_directory, text);
        File.WriteAllText(path, text);
        return path;
    }
}
