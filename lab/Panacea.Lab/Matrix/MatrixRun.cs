using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Matrix;

/// <summary>What became of a cell.</summary>
/// <param name="Cell">The cell.</param>
/// <param name="Title">The guard's title of the crash; null where it saw none.</param>
/// <param name="Repair">The rung used.</param>
/// <param name="Outcome">The guard's own word: recovered, declined, failed; null where it had none.</param>
/// <param name="Lost">What the guard says was lost.</param>
/// <param name="StoppedUs">Microseconds for which the guest stood still.</param>
/// <param name="ProcessSurvived">The process that hit the crash went on; null where the context has none.</param>
/// <param name="Ladder">What each rung said, the one used last, and the top of the stack.</param>
/// <param name="Failures">What the guest could not do afterwards, and what else was not as it should be; empty where the cell is recovered.</param>
/// <param name="Seconds">How long the cell took, looking included.</param>
public sealed record MatrixResult(
    MatrixCell Cell, string? Title, string? Repair, string? Outcome, IReadOnlyList<string> Lost, long? StoppedUs, bool? ProcessSurvived, IReadOnlyList<string> Ladder,
    IReadOnlyList<string> Failures, double Seconds)
{
    /// <summary>The guest lives, and the guard says so.</summary>
    public bool IsRecovered => Outcome == "recovered" && Failures.Count == 0;
}

/// <summary>Runs cells one after the other on one guarded guest; a guest that does not live after a cell is replaced.</summary>
/// <param name="spec">The guests (<see cref="Spec"/>).</param>
/// <param name="panacea">The executable.</param>
/// <param name="progress">Told what happens.</param>
/// <param name="evidence">Directory for reports on guests that did not live after a cell; null for none.</param>
public sealed partial class MatrixRun(GuestSpec spec, PanaceaProgram panacea, Action<string> progress, string? evidence = null) : IAsyncDisposable
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(1), CellLimit = TimeSpan.FromSeconds(40), ProbeLimit = TimeSpan.FromSeconds(20), EvidenceLimit = TimeSpan.FromSeconds(60);

    private Guest? _guest;
    private GuardProcess? _guard;
    private bool _looksForHangs, _hasRun;

    /// <summary>The guest of the last cell; null before the first.</summary>
    public Guest? Guest => _guest;

    /// <summary>Guests booted so far.</summary>
    public int Boots { get; private set; }

    /// <summary>The guests of the matrix.</summary>
    public static GuestSpec Spec(string line) => new() { Line = line, Start = ["redis", "counter"], QemuArguments = ["-device", "edu"] };

    /// <summary>Runs one cell.</summary>
    public async Task<MatrixResult> RunAsync(MatrixCell cell, CancellationToken cancel = default)
    {
        if (cell.NeedsFreshGuest && _hasRun)
            await EndAsync();
        await MakeReadyAsync(looksForHangs: !cell.IsSetting, cancel);
        _hasRun = true;
        long started = Stopwatch.GetTimestamp(), console = _guest!.Console.Mark();
        var failures = new List<string>();
        GuestCommandResult? answer = null;
        GuardEvent? said = null;
        using var done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        try
        {
            _guard!.DropEvents();
            Task<GuestCommandResult> crash = _guest!.RunAsync(cell.Command, CellLimit, done.Token);
            if (cell.MonitorCommand is { } outside)
            {
                answer = await crash;
                await _guest.Monitor.HumanAsync(outside, done.Token);
            }

            // A command may come back before what it has set off.
            said = await _guard.NextAsync(["resumed", "incident"], CellLimit, done.Token);
            answer ??= await crash.WaitAsync(ProbeLimit, cancel);
        }
        catch (Exception e) when (e is TimeoutException or LabException or IOException)
        {
            failures.Add(said is null ? $"no incident: {e.Message}{(answer is null ? "" : $" ({answer.Output.Trim()})")}" : $"the crashing command did not come back: {e.Message}");
        }
        finally
        {
            await done.CancelAsync();
        }

        // The guest is looked at as soon as it goes on, while the guard looks too.
        if (said is null or { Event: "resumed" } or { Outcome: "recovered" })
        {
            if (cell.Undo is { } undo)
                failures.AddRange(await UndoAsync(undo, cancel));
            failures.AddRange(await CellProbe.RunAsync(_guest!, said?.Repair == "freeze" || cell.LeavesSleeper, ProbeLimit, cancel));
        }

        GuardEvent? incident = said is { Event: "resumed", Id: var id } ? await EndOfIncidentAsync(id, failures, cancel) : said;
        try
        {
            await _guard!.WaitUntilClosedAsync(CellLimit, cancel);
        }
        catch (TimeoutException e)
        {
            failures.Add(e.Message);
        }

        if (incident?.Outcome == "recovered" && !cell.IsComplaint)
            failures.AddRange(Complaints(_guest!.Console.TextFrom(console)));
        if (cell.IsToBeHealed && incident?.Outcome == "recovered" && incident.Repair != "heal")
            failures.Add($"not healed, but: {incident.Repair}");
        IReadOnlyList<string> ladder = LadderOf(incident);
        if (failures.Count > 0 && evidence is not null)
            failures.Add(await ReportAsync(cell, evidence, cancel));
        bool? survived = !cell.HasProcess ? null : answer is { } a && a.Status < 128;

        // A guest with a thread that sleeps for ever is not like the others any more.
        if (incident?.Outcome != "recovered" || incident.Repair == "freeze" || cell.LeavesSleeper || failures.Count > 0)
            await EndAsync();
        return new MatrixResult(
            cell, incident?.Title, incident?.Repair, incident?.Outcome, incident?.Lost ?? [], incident?.StoppedUs, survived, ladder, failures, Math.Round(Stopwatch.GetElapsedTime(started).TotalSeconds, 1));
    }

    /// <summary>What the kernel says of a CPU that was not left as it has to be: that RCU takes it for idle while it works (kernel/context_tracking.c), or a task that sleeps or ends with something held that must not be.</summary>
    internal static IReadOnlyList<string> Complaints(string console) => [.. Complaint().Matches(console).Select(m => $"the kernel says: {m.Value.Trim()}").Distinct()];

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await EndAsync();

    /// <summary>A guest, and a guard that is as the cell asks for.</summary>
    private async Task MakeReadyAsync(bool looksForHangs, CancellationToken cancel)
    {
        if (_guest is null)
        {
            progress($"{spec.Line}: booting");
            Boots++;
            _guest = await Guest.StartAsync(spec, progress, cancel);

            // The driver is there before the guard: code that is damaged before it was learned can't be healed.
            if (await _guest.RunAsync(MatrixCell.SetUp, ProbeLimit, cancel) is { Succeeded: false } setUp)
                throw new LabException($"the driver can't be loaded: {setUp.Output.Trim()}");
        }

        if (_guard is { } other && _looksForHangs != looksForHangs)
        {
            _guard = null;
            await other.DisposeAsync();
        }

        _guard ??= await GuardProcess.StartAsync(panacea, $"qmp:{_guest.QmpPath}", _guest.RunDirectory, Window, looksForHangs ? [] : ["--hangs", "off"], cancel);
        _looksForHangs = looksForHangs;
    }

    private async Task<GuardEvent?> EndOfIncidentAsync(string? id, List<string> failures, CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                GuardEvent incident = await _guard!.NextAsync(["incident"], CellLimit, cancel);
                if (incident.Id == id)
                    return incident;
            }
        }
        catch (Exception e) when (e is TimeoutException or LabException)
        {
            failures.Add($"the incident has no end: {e.Message}");
            return null;
        }
    }

    private async Task<IReadOnlyList<string>> UndoAsync(string command, CancellationToken cancel)
    {
        try
        {
            return await _guest!.RunAsync(command, ProbeLimit, cancel) is { Succeeded: false } failed ? [$"{command}: {failed.Output.Trim()}"] : [];
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            return [$"{command}: {e.Message}"];
        }
    }

    /// <summary>What the guest's tasks and CPUs are at, from a dump of its memory: a guest that is only slow is told from one that stands.</summary>
    private async Task<string> ReportAsync(MatrixCell cell, string directory, CancellationToken cancel)
    {
        Directory.CreateDirectory(directory);
        string report = Path.Combine(directory, $"{spec.Line}-{cell.Name}.txt"), dump = Path.Combine(directory, $"{spec.Line}-{cell.Name}.elf");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(EvidenceLimit);
        try
        {
            await _guest!.Monitor.ExecuteAsync("dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{Path.GetFullPath(dump)}" });
            var text = new StringBuilder();
            foreach (string look in (string[])["runq", "timers", "locks", "ps", "bt --all", "dmesg"])
                text.Append(CultureInfo.InvariantCulture, $"== {look}\n").Append((await HostCommand.RunAsync(panacea.Path, ["inspect", dump, .. look.Split(' ')], null, limit.Token)).Output).Append('\n');
            await File.WriteAllTextAsync(report, text.ToString(), cancel);
            return $"see {report}";
        }
        catch (Exception e) when (e is LabException or IOException or TimeoutException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return $"nothing more is known of it: {e.Message}";
        }
        finally
        {
            File.Delete(dump);
        }
    }

    /// <summary>Read from the record on disk, which goes with the guest.</summary>
    private static IReadOnlyList<string> LadderOf(GuardEvent? incident)
    {
        string file = Path.Combine(incident?.Record ?? "", "incident.json");
        if (incident?.Record is null || !File.Exists(file))
            return [];
        using var record = JsonDocument.Parse(File.ReadAllBytes(file));
        List<string> said = [.. record.RootElement.GetProperty("ladder").EnumerateArray().Select(step => $"{step.GetProperty("repair").GetString()}: {step.GetProperty("explanation").GetString()}")];
        if (record.RootElement.TryGetProperty("report", out JsonElement report) && report.ValueKind == JsonValueKind.Object)
            said.Add("stack: " + string.Join(" ← ", report.GetProperty("stack").EnumerateArray().Take(8).Select(f => f.GetProperty("location").GetProperty("function").GetString() + (f.GetProperty("reliable").GetBoolean() ? "" : "?"))));
        if (record.RootElement.TryGetProperty("errors", out JsonElement errors) && errors.ValueKind == JsonValueKind.Array)
            said.AddRange(errors.EnumerateArray().Select(e => $"error: {e.GetString()}"));
        return said;
    }

    private async Task EndAsync()
    {
        if (_guard is { } guard)
            await guard.DisposeAsync();
        if (_guest is { } guest)
            await guest.DisposeAsync();
        (_guard, _guest, _hasRun) = (null, null, false);
    }

    [GeneratedRegex(@"WARNING: [^\r\n]* at kernel/(context_tracking\.c|rcu/|softirq\.c)[^\r\n]*|BUG: (scheduling while atomic|workqueue leaked|sleeping function called)[^\r\n]*|exited with (irqs disabled|preempt_count)[^\r\n]*")]
    private static partial Regex Complaint();
}
