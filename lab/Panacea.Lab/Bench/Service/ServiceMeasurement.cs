using Panacea.Lab.Guests;
using Panacea.Lab.Matrix;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Bench.Service;

/// <summary>The measurements of one service on one kernel.</summary>
internal sealed class ServiceMeasurement(string line, MeasuredService service, IReadOnlyList<MatrixCell> crashes, BenchOptions options, ProgressLine progress)
{
    private const int Steps = 3;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1), AwayLimit = TimeSpan.FromMinutes(4), QuietWindow = TimeSpan.FromSeconds(1), SnapshotAge = TimeSpan.FromSeconds(5);

    private readonly List<double> _quiet = [];
    private readonly List<string> _failures = [];

    /// <summary>Measures with Panacea, with reboots, with a snapshot, in that order.</summary>
    /// <exception cref="LabException">A guest does not boot.</exception>
    public async Task<ServiceFigures> RunAsync(CancellationToken cancel)
    {
        // A kernel as servers have it: it panics on an oops, and reboots a second after that. What a snapshot is restored from is the smaller the better for the alternative.
        var spec = new GuestSpec { Line = line, MemoryMiB = 384, DiskMiB = 64, Memory = GuestMemoryBacking.SharedFile, PanicTimeout = 1, Start = service.Starts };
        IReadOnlyList<CrashFigures> guarded = [];
        (Figures? Gap, Figures? Lost) reboot = (null, null), restored = (null, null);
        Guest? guest = await progress.DuringAsync($"{Named}: booting", report => Guest.StartAsync(spec, report, cancel));
        try
        {
            await using (ServiceClient client = await ServiceClient.StartAsync(service, guest, Limit, cancel))
            {
                guarded = await progress.DuringAsync($"{Named}: crashes", report => GuardedAsync(guest, client, report, cancel));
                if (_failures.Count == 0)
                    reboot = await progress.DuringAsync($"{Named}: reboots", report => RebootsAsync(guest, client, report, cancel));
            }

            if (_failures.Count == 0)
            {
                Guest first = guest;
                guest = null;
                restored = await progress.DuringAsync($"{Named}: snapshots", report => RestoresAsync(first, report, cancel));
            }
        }
        catch (Exception e) when (e is TimeoutException or IOException or LabException)
        {
            _failures.Add(e.Message);
        }
        finally
        {
            if (guest is not null)
                await guest.DisposeAsync();
        }

        return new ServiceFigures
        {
            Line = line, Service = service.Name, Operation = service.Summary, Crashes = guarded, QuietGapUs = _quiet.Count > 0 ? Figures.Of(_quiet) : null, RebootGapUs = reboot.Gap, RebootLost = reboot.Lost,
            SnapshotGapUs = restored.Gap, SnapshotLost = restored.Lost, SnapshotAgeSeconds = SnapshotAge.TotalSeconds, Failures = _failures,
        };
    }

    private string Named => $"{line}, {service.Name}";

    private async Task<IReadOnlyList<CrashFigures>> GuardedAsync(Guest guest, ServiceClient client, Action<string> report, CancellationToken cancel)
    {
        List<Seen>[] seen = [.. crashes.Select(_ => new List<Seen>())];
        int made = 0;

        // Before the guard: what was not there when it learned the kernel is learned a second time.
        await guest.RunAsync(MatrixCell.SetUp, Limit, cancel);
        await using (GuardProcess guard = await GuardProcess.StartAsync(options.Panacea, $"qmp:{guest.QmpPath}", guest.RunDirectory, options.HealthWindow, cancel))
        {
            for (; made < options.Rounds * crashes.Count && _failures.Count == 0; made++)
            {
                MatrixCell cell = crashes[made % crashes.Count];
                report($"{Named}: {cell.Name}, {(made / crashes.Count) + 1} of {options.Rounds}");
                client.TakeLongestGap();
                await Task.Delay(QuietWindow, cancel);
                _quiet.Add(client.TakeLongestGap().TotalMicroseconds);
                try
                {
                    if (await CrashAsync(guest, guard, client, cell, cancel) is { } one)
                        seen[made % crashes.Count].Add(one);
                }
                catch (Exception e) when (e is TimeoutException or IOException or LabException)
                {
                    _failures.Add($"{cell.Name}: {e.Message}");
                }
            }
        }

        return [.. crashes.Select((cell, i) => new CrashFigures(
            cell.Name, (made / crashes.Count) + (i < made % crashes.Count ? 1 : 0), seen[i].Count, [.. seen[i].Select(s => s.Repair).Distinct()],
            seen[i].Count > 0 ? Figures.Of(seen[i].Select(s => s.StoppedUs)) : null, seen[i].Count > 0 ? Figures.Of(seen[i].Select(s => s.GapUs)) : null))];
    }

    /// <summary>Null where it was not recovered from; the reason is among the failures.</summary>
    private async Task<Seen?> CrashAsync(Guest guest, GuardProcess guard, ServiceClient client, MatrixCell cell, CancellationToken cancel)
    {
        await client.WaitAsync(Steps, Limit, cancel);
        ServiceMark before = client.Mark;
        client.TakeLongestGap();
        MeasuredCrash crash = await MeasuredCrash.MakeAsync(guest, guard, cell.Command, Limit, cancel);
        if (!crash.IsRecovered)
        {
            _failures.Add($"{cell.Name}: {crash.Failure}");
            return null;
        }

        await client.WaitAsync(1, Limit, cancel);
        TimeSpan gap = client.TakeLongestGap();
        ServiceMark after = client.Mark;
        if (client.Connections != 1)
            _failures.Add($"{cell.Name}: the client's connection broke");
        if (service.Keeps && after.Number - before.Number != after.Operations - before.Operations)
            _failures.Add($"{cell.Name}: {after.Operations - before.Operations} operations were acknowledged, from number {before.Number} to {after.Number}");
        return new Seen(crash.Incident.Repair ?? "none", crash.Incident.StoppedUs!.Value, gap.TotalMicroseconds);
    }

    /// <summary>The same crash with nobody to repair it: the kernel panics, and the machine reboots.</summary>
    private async Task<(Figures? Gap, Figures? Lost)> RebootsAsync(Guest guest, ServiceClient client, Action<string> report, CancellationToken cancel)
    {
        var alternative = new Alternative(service, client);
        for (int i = 0; i < options.Reboots; i++)
        {
            report($"{Named}: reboot {i + 1} of {options.Reboots}");
            await guest.RunAsync(MatrixCell.SetUp, Limit, cancel);
            await client.WaitAsync(Steps, Limit, cancel);
            await alternative.CrashAsync(guest, "RESET", crashes[0].Command, () => Task.FromResult<Guest?>(null), cancel);
        }

        return alternative.Figures();
    }

    /// <summary>The same crash with a snapshot that the VM is set back to as soon as QEMU tells of the panic.</summary>
    private async Task<(Figures? Gap, Figures? Lost)> RestoresAsync(Guest first, Action<string> report, CancellationToken cancel)
    {
        report($"{Named}: taking the snapshot");
        await first.RunAsync(MatrixCell.SetUp, Limit, cancel);
        using GuestSnapshot snapshot = await GuestSnapshot.TakeAsync(first, cancel);
        Guest guest = await snapshot.StartAsync(cancel);
        try
        {
            await using ServiceClient client = await ServiceClient.StartAsync(service, guest, Limit, cancel);
            var alternative = new Alternative(service, client);
            for (int i = 0; i < options.Reboots; i++)
            {
                report($"{Named}: set back {i + 1} of {options.Reboots}");
                await Task.Delay(SnapshotAge, cancel);
                await alternative.CrashAsync(guest, "GUEST_PANICKED", crashes[0].Command, async () =>
                {
                    await guest.DisposeAsync();
                    return guest = await snapshot.StartAsync(cancel);
                }, cancel);
            }

            return alternative.Figures();
        }
        finally
        {
            await guest.DisposeAsync();
        }
    }

    /// <param name="Repair">The repair.</param>
    /// <param name="StoppedUs">Standstill.</param>
    /// <param name="GapUs">The client's.</param>
    private sealed record Seen(string Repair, long StoppedUs, double GapUs);

    /// <summary>What one does without Panacea. The client is told at once that its server is gone, which a client in the field has to find out.</summary>
    private sealed class Alternative(MeasuredService service, ServiceClient client)
    {
        private readonly List<double> _gaps = [], _lost = [];

        public async Task CrashAsync(Guest guest, string seenBy, string command, Func<Task<Guest?>> replace, CancellationToken cancel)
        {
            Task over = guest.Monitor.NextEventAsync(seenBy);
            client.TakeLongestGap();
            using var done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            Task<GuestCommandResult> crash = guest.RunAsync(command, AwayLimit, done.Token);
            try
            {
                await over.WaitAsync(Limit, cancel);
                (long last, int connections) = (client.Mark.Number, client.Connections);
                client.Reconnect(await replace());
                await client.WaitForConnectionAsync(connections + 1, AwayLimit, cancel);
                _gaps.Add(client.TakeLongestGap().TotalMicroseconds);
                _lost.Add(Math.Max(0, last + 1 - client.FirstOfConnection));
            }
            finally
            {
                await done.CancelAsync();
                await Task.WhenAny(crash);
            }
        }

        public (Figures? Gap, Figures? Lost) Figures() => _gaps.Count == 0 ? (null, null) : (Bench.Figures.Of(_gaps), service.Keeps ? Bench.Figures.Of(_lost) : null);
    }
}
