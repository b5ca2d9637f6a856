using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Lab.Bench;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Matrix;

/// <summary>One guest that crashed many times in a row.</summary>
/// <param name="Kernel">The release.</param>
/// <param name="Results">Each crash, in order.</param>
/// <param name="Before">What the guest had in use before the first.</param>
/// <param name="Accounts">What it had in use after each tenth, with how many there had been.</param>
/// <param name="Boots">Guests that it took: more than one is a failure.</param>
public sealed record Endurance(string Kernel, IReadOnlyList<MatrixResult> Results, GuestAccounts Before, IReadOnlyList<(int Crashes, GuestAccounts Accounts)> Accounts, int Boots);

/// <summary>Crashes one guest in many different cells, one after the other, with its workloads at work, and keeps account of what it has in use.</summary>
/// <param name="line">The kernel line.</param>
/// <param name="panacea">The executable.</param>
/// <param name="progress">Told what happens.</param>
/// <param name="evidence">Directory for reports on guests that did not live after a crash; null for none.</param>
public sealed class EnduranceRun(string line, PanaceaProgram panacea, Action<string> progress, string? evidence = null)
{
    /// <summary>Cells are taken from all over the matrix, in an order that is always the same; those that leave a task asleep for ever are left out, for it has to stay.</summary>
    private const int Stride = 97;

    private const int AccountEvery = 10;

    /// <summary>Cells that come first and are not counted: caches of the kernel's own fill with the first crash of a kind.</summary>
    private const int WarmUp = 5;

    /// <summary>Runs it.</summary>
    /// <param name="crashes">How often it crashes.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<Endurance> RunAsync(int crashes, CancellationToken cancel = default)
    {
        MatrixCell[] cells = [.. MatrixCell.All.Where(c => c.Context != "init" && !c.IsSetting)];
        await using var run = new MatrixRun(MatrixRun.Spec(line), panacea, progress, evidence);
        for (int i = 0; i < WarmUp; i++)
            await run.RunAsync(cells[(crashes + i) * Stride % cells.Length], cancel);
        if (run.Guest is null)
            throw new LabException("the guest did not live through the first crashes");
        string kernel = run.Guest.Image.Kernel.Release;
        int boots = run.Boots;
        GuestAccounts before = await GuestAccounts.ReadAsync(run.Guest, cancel);
        var results = new List<MatrixResult>();
        var accounts = new List<(int, GuestAccounts)>();
        for (int i = 0; i < crashes; i++)
        {
            MatrixResult result = await run.RunAsync(cells[i * Stride % cells.Length], cancel);
            results.Add(result);
            progress($"{line} {i + 1,3} {result.Cell.Name,-34}{result.Outcome ?? "nothing",-11}{result.Repair,-14}{string.Join("; ", result.Failures)}");
            if (run.Guest is { } guest && ((i + 1) % AccountEvery == 0 || i + 1 == crashes))
                accounts.Add((i + 1, await GuestAccounts.ReadAsync(guest, cancel)));
        }

        return new Endurance(kernel, results, before, accounts, run.Boots - boots + 1);
    }

    /// <summary>The result as a section of docs/recovery-matrix.md.</summary>
    public static string Section(IReadOnlyList<Endurance> runs)
    {
        var text = new StringBuilder("## Crashes in a row\n\n");
        text.Append("One guest crashes in cells from all over the matrix, one after the other, redis and a counter at work, and is probed after each. What it has in use is read before the first (after a\n");
        text.Append("few that are not counted) and after each tenth, caches dropped. What a crash may leave behind stands in its incident: what an abandoned function had allocated is never freed.\n\n");
        foreach (Endurance run in runs)
        {
            int recovered = run.Results.Count(r => r.IsRecovered);
            text.Append(CultureInfo.InvariantCulture, $"**{run.Kernel}**: {recovered} of {run.Results.Count} recovered, on {(run.Boots == 1 ? "one guest" : $"{run.Boots} guests")}; ");
            text.Append(CultureInfo.InvariantCulture, $"stopped {BenchRows.Time(Figures.Of([.. run.Results.Where(r => r.StoppedUs is not null).Select(r => r.StoppedUs!.Value)]).Median)} median, {run.Results.Count(r => r.Repair == "kill")} processes killed.\n\n");
            text.Append("| after | processes | threads | open files | available | unreclaimable slab | kernel stacks |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
            foreach ((int crashes, GuestAccounts a) in ((int, GuestAccounts)[])[(0, run.Before), .. run.Accounts])
                text.Append(CultureInfo.InvariantCulture, $"| {crashes} | {a.Processes} | {a.Threads} | {a.Files} | {a.AvailableKiB} KiB | {a.SlabKiB} KiB | {a.StacksKiB} KiB |\n");
            foreach (MatrixResult failed in run.Results.Where(r => !r.IsRecovered))
                text.Append(CultureInfo.InvariantCulture, $"\nnot recovered: {failed.Cell.Name}: {Safe.Markdown(string.Join("; ", failed.Failures))}\n");
            text.Append('\n');
        }

        return text.ToString();
    }
}
