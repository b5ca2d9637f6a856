using System.Diagnostics;
using System.Net.Sockets;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>The measurements on one guest.</summary>
internal sealed class KernelBench(string line, BenchOptions options, WorkingServer server, ProgressLine progress)
{
    private const int QuietWindows = 10;

    private readonly List<(string Kind, string Repair, long StoppedUs)> _recovered = [];
    private readonly List<double> _gaps = [];
    private readonly List<long> _reports = [];
    private readonly List<string> _failures = [];
    private int _crashes;

    public async Task<KernelFigures> RunAsync(CancellationToken cancel)
    {
        ServerIdentity before = await server.IdentifyAsync(cancel);
        string file = Path.Combine(server.Guest.RunDirectory, "bench.rimg");
        BuiltImage image = await progress.DuringAsync($"{line}: building the repair image", _ => options.Panacea.BuildImageAsync(server.Target, file, cancel));
        GuardProcess guard = await progress.DuringAsync(
            $"{line}: arming panacea guard", _ => GuardProcess.StartAsync(options.Panacea, server.Target, server.Guest.RunDirectory, options.HealthWindow, cancel));
        (double seconds, double cpu, ProcessUsage idle) watched;
        List<double> quiet;
        ProcessUsage last;
        await using (guard)
        {
            quiet = await QuietAsync(cancel);
            watched = await progress.DuringAsync(
                $"{line}: watching the idle guard for {options.Idle.TotalSeconds:0} s", _ => IdleAsync(guard, cancel));
            await CrashAllAsync(guard, cancel);
            last = guard.Usage();
            if (_recovered.Count == _crashes && await server.IdentifyAsync(cancel) != before)
                _failures.Add("after the crashes the guest is another boot, or a workload another process");
            if (await guard.DetachAsync(cancel) is int code and not 0)
                _failures.Add($"panacea guard ended with exit code {code}");
        }

        Figures? reboots = _failures.Count > 0 ? null : await RebootsAsync(cancel);
        await CheckPromisesAsync(cancel);
        Figures? stopped = _recovered.Count == 0 ? null : Figures.Of(_recovered.Select(r => r.StoppedUs));
        return new KernelFigures
        {
            Line = line,
            Kernel = server.Guest.Image.Kernel.Release,
            Accelerator = server.Guest.Accelerator == GuestAccelerator.Kvm ? "kvm" : "tcg",
            Crashes = _crashes,
            Recovered = _recovered.Count,
            StoppedUs = stopped,
            FirstUs = _recovered.Count > 0 ? _recovered[0].StoppedUs : null,
            TenthUs = _recovered.Count > 9 ? _recovered[9].StoppedUs : null,
            Kinds = [.. _recovered.GroupBy(r => (r.Kind, r.Repair)).Select(g => new KindFigures(g.Key.Kind, g.Key.Repair, Figures.Of(g.Select(r => r.StoppedUs))))],
            ReportUs = _reports.Count == 0 ? null : Figures.Of(_reports),
            ClientGapUs = _gaps.Count == 0 ? null : Figures.Of(_gaps),
            QuietGapUs = Figures.Of(quiet),
            RebootUs = reboots,
            Ratio = stopped is null || reboots is null ? null : Math.Round(reboots.Median / stopped.Median, 1),
            ImageBytes = image.Bytes,
            ImageBuildUs = image.BuildUs,
            ImageStoppedUs = image.StoppedUs,
            ArmStoppedUs = guard.Armed.StoppedUs,
            IdleSeconds = Math.Round(watched.seconds, 2),
            IdleCpuSeconds = Math.Round(watched.cpu, 2),
            IdleResidentBytes = watched.idle.ResidentBytes,
            PeakResidentBytes = last.PeakBytes,
            Failures = _failures,
        };
    }

    /// <summary>The client's gaps with nothing happening, per window as long as the one around a crash.</summary>
    private Task<List<double>> QuietAsync(CancellationToken cancel) => progress.DuringAsync($"{line}: the client without a crash", async _ =>
    {
        var gaps = new List<double>();
        for (int i = 0; i < QuietWindows; i++)
        {
            server.Redis.TakeLongestGap();
            await Task.Delay(options.HealthWindow, cancel);
            gaps.Add(server.Redis.TakeLongestGap().TotalMicroseconds);
        }

        return gaps;
    });

    private async Task<(double Seconds, double Cpu, ProcessUsage Usage)> IdleAsync(GuardProcess guard, CancellationToken cancel)
    {
        ProcessUsage before = guard.Usage();
        long started = Stopwatch.GetTimestamp();
        await Task.Delay(options.Idle, cancel);
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        ProcessUsage after = guard.Usage();
        return (seconds, after.CpuSeconds - before.CpuSeconds, after);
    }

    private Task<bool> CrashAllAsync(GuardProcess guard, CancellationToken cancel) => progress.DuringAsync($"{line}: crashing", async report =>
    {
        for (int i = 0; i < options.Crashes; i++)
        {
            string kind = BenchOptions.Kinds[i % BenchOptions.Kinds.Count];
            report($"{line}: crash {i + 1} of {options.Crashes}, {kind}");
            _crashes++;
            GuardedCrash crash;
            try
            {
                crash = await server.CrashAsync($"echo {kind} > /dev/crashtest", guard, cancel);
            }
            catch (Exception e) when (e is TimeoutException or LabException or IOException)
            {
                _failures.Add($"crash {i + 1} ({kind}): {e.Message}");
                return false;
            }

            GuardEvent incident = crash.Incident;
            if (incident is not { Outcome: "recovered", StoppedUs: { } stopped })
            {
                _failures.Add($"crash {i + 1} ({kind}): the guard says \"{incident.Outcome}\" ({incident.Title}, repair {incident.Repair})");
                return false;
            }

            _recovered.Add((kind, incident.Repair ?? "none", stopped));
            _gaps.Add(crash.ClientGap.TotalMicroseconds);
            if (MeasuredCrash.MachineReadOf(incident.Record) is { } read)
                _reports.Add(read);
        }

        return true;
    });

    private async Task<Figures> RebootsAsync(CancellationToken cancel)
    {
        var away = new List<double>();
        for (int i = 0; i < options.Reboots; i++)
        {
            UnguardedCrash crash = await progress.DuringAsync(
                $"{line}: reboot {i + 1} of {options.Reboots} without Panacea", _ => server.CrashUnguardedAsync("echo null-write > /dev/crashtest", cancel));
            away.Add(crash.Away.TotalMicroseconds);
        }

        return Figures.Of(away);
    }

    /// <summary>Fast means nothing where something was lost.</summary>
    private async Task CheckPromisesAsync(CancellationToken cancel)
    {
        try
        {
            foreach (CheckStep check in await progress.DuringAsync($"{line}: shutting down and checking", _ => server.FinishAsync(cancel)))
            {
                if (!check.Ok)
                    _failures.Add($"{check.What}: {check.Detail}");
            }
        }
        catch (Exception e) when (_failures.Count > 0 && e is TimeoutException or LabException or IOException or SocketException)
        {
            _failures.Add($"the checks at the end could not be made: {e.Message}");
        }
    }
}
