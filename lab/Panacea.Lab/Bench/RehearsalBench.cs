using System.Globalization;
using System.Text.Json;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>How long a guest stands still while repairs are tried on copies of it, for guests of different sizes, beside the same crash without rehearsals.</summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class RehearsalBench(BenchOptions options, ProgressLine progress)
{
    /// <summary>Crashes of lab/crashtest/crashtest.c, each with the plans that it takes.</summary>
    private static readonly (string Crash, int Plans)[] Crashes = [("null-write", 1), ("stubborn", 2), ("stubborn-twice", 3)];

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<RehearsalReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        var rows = new List<RehearsalFigures>();
        foreach (string line in options.Lines)
        {
            foreach (int memory in options.MemoryMiB)
                rows.AddRange(await GuestAsync(line, memory, cancel));
        }

        string command = string.Create(CultureInfo.InvariantCulture, $"./panacea bench rehearsal --crashes {options.Crashes} --kernels {string.Join(',', options.Lines)} --update-docs");
        return new RehearsalReport { At = DateTimeOffset.UtcNow, Command = command, Host = host, Rows = rows };
    }

    private async Task<List<RehearsalFigures>> GuestAsync(string line, int memory, CancellationToken cancel)
    {
        var spec = new GuestSpec { Line = line, MemoryMiB = memory, Memory = GuestMemoryBacking.SharedMemfd, Start = ["redis", "counter"] };
        await using Guest guest = await progress.DuringAsync($"booting Debian's {line} kernel with {memory} MiB", report => Guest.StartAsync(spec, report, cancel));
        var rows = new List<RehearsalFigures>();
        await using (GuardProcess guard = await GuardAsync(guest, [], cancel))
            rows.Add(await progress.DuringAsync($"{line}, {memory} MiB: {Crashes[0].Crash} without rehearsals", _ => MeasureAsync(guest, guard, line, memory, Crashes[0].Crash, 0, cancel)));
        await using (GuardProcess guard = await GuardAsync(guest, ["--rehearse=always"], cancel))
        {
            foreach ((string crash, int plans) in Crashes)
                rows.Add(await progress.DuringAsync($"{line}, {memory} MiB: {crash} with rehearsals", _ => MeasureAsync(guest, guard, line, memory, crash, plans, cancel)));
        }

        return rows;
    }

    private Task<GuardProcess> GuardAsync(Guest guest, IReadOnlyList<string> more, CancellationToken cancel) =>
        GuardProcess.StartAsync(options.Panacea, $"qmp:{guest.QmpPath}", guest.RunDirectory, options.HealthWindow, more, cancel);

    private async Task<RehearsalFigures> MeasureAsync(Guest guest, GuardProcess guard, string line, int memory, string crash, int plans, CancellationToken cancel)
    {
        var stopped = new List<long>();
        var each = new List<long>();
        var failures = new List<string>();
        for (int i = 0; i < options.Crashes; i++)
        {
            guard.DropEvents();
            await guest.RunAsync($"echo {crash} > /dev/crashtest", Limit, cancel);
            GuardEvent incident = await guard.NextAsync("incident", Limit, cancel);
            using var record = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(incident.Record ?? "", "incident.json"), cancel));
            JsonElement rehearsal = record.RootElement.GetProperty("rehearsal");
            JsonElement[] tried = rehearsal.ValueKind == JsonValueKind.Object ? [.. rehearsal.GetProperty("plans").EnumerateArray()] : [];
            string[] verdicts = [.. tried.Select(t => t.GetProperty("verdict").GetString() ?? "")];
            string[] expected = [.. Enumerable.Range(1, plans).Select(n => n == plans ? "lives" : "dies")];
            if (incident.Outcome != "recovered" || !verdicts.SequenceEqual(expected))
                failures.Add($"{incident.Outcome} after {(verdicts.Length == 0 ? "no rehearsal" : string.Join(", ", verdicts))}");
            if (incident is not { Outcome: "recovered", StoppedUs: { } us })
                continue;
            stopped.Add(us);
            each.AddRange(tried.Select(t => t.GetProperty("took_us").GetInt64()));
        }

        return new RehearsalFigures(line, memory, crash, plans, stopped.Count > 0 ? Figures.Of(stopped) : null, each.Count > 0 ? Figures.Of(each) : null, failures);
    }
}
