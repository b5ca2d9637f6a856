using System.Diagnostics;
using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Bench.Overhead;

/// <summary>
/// What an armed guard takes from the work of a healthy guest. In each round the same guest works four times for a window: without a guard, twice with one, and without (ABBA), so that what the host does besides, and
/// what changes slowly, bears on both sides alike.
/// </summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class OverheadBench(BenchOptions options, ProgressLine progress)
{
    // After a guard has come or gone: what that takes is paid once, not while it guards.
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(0.5), Limit = TimeSpan.FromMinutes(1);

    /// <summary>What there is to choose from.</summary>
    public static IReadOnlyList<GuestService> All { get; } = [GuestService.Arithmetic, .. GuestService.All];

    private IReadOnlyList<GuestService> Services => options.Services ?? All;

    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<OverheadReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        var work = new List<OverheadFigures>();
        var idle = new List<IdleFigures>();
        foreach (string line in options.Lines)
        {
            var spec = new GuestSpec { Line = line, Start = [.. Services.SelectMany(s => s.Starts).Distinct()] };
            await using Guest guest = await progress.DuringAsync($"booting Debian's {line} kernel", report => Guest.StartAsync(spec, report, cancel));
            await using (GuardProcess guard = await GuardAsync(guest, cancel))
                idle.Add(new IdleFigures(line, await progress.DuringAsync($"{line}: watching the guard of an idle guest", _ => WatchAsync(guard, cancel))));
            foreach (GuestService service in Services)
                work.Add(await progress.DuringAsync($"{line}: {service.Name}", report => MeasureAsync(line, guest, service, report, cancel)));
        }

        string command = string.Create(
            CultureInfo.InvariantCulture, $"./panacea bench overhead --rounds {options.Rounds} --kernels {string.Join(',', options.Lines)}{options.NamedServices(All)} --update-docs");
        return new OverheadReport { At = DateTimeOffset.UtcNow, Command = command, Host = host, Work = work, Idle = idle };
    }

    private async Task<OverheadFigures> MeasureAsync(string line, Guest guest, GuestService service, Action<string> report, CancellationToken cancel)
    {
        var rounds = new List<Round>();
        GuardFootprint? footprint = null;
        var failures = new List<string>();
        try
        {
            await using ServiceClient client = await ServiceClient.StartAsync(service, guest, Limit, cancel);
            for (int i = 0; i < options.Rounds; i++)
            {
                report($"{line}: {service.Name}, round {i + 1} of {options.Rounds}");
                rounds.Add(await RoundAsync(guest, client, cancel));
            }

            await using GuardProcess guard = await GuardAsync(guest, cancel);
            report($"{line}: {service.Name}, watching the guard");
            footprint = await WatchAsync(guard, cancel);
            if (client.Connections != 1)
                failures.Add("the client's connection broke");
            if (guard.HasDied)
                failures.Add("the guest crashed or hung");
        }
        catch (Exception e) when (e is TimeoutException or IOException or LabException)
        {
            failures.Add(e.Message);
        }
        finally
        {
            await service.EndAsync(guest, cancel);
        }

        return rounds.Count == 0
            ? new OverheadFigures(line, service.Name, service.Summary, null, null, null, footprint, failures)
            : new OverheadFigures(
                line, service.Name, service.Summary, Figures.Of(rounds.Select(r => r.Without)).Median, MedianInterval.Of(rounds.Select(r => r.ByTime)), MedianInterval.Of(rounds.Select(r => r.ByProcessor)), footprint, failures);
    }

    private async Task<Round> RoundAsync(Guest guest, ServiceClient client, CancellationToken cancel)
    {
        (double Time, double Processor) first = await WindowAsync(guest, client, cancel), second, third, fourth;
        await using (await GuardAsync(guest, cancel))
        {
            await Task.Delay(Settle, cancel);
            second = await WindowAsync(guest, client, cancel);
            third = await WindowAsync(guest, client, cancel);
        }

        await Task.Delay(Settle, cancel);
        fourth = await WindowAsync(guest, client, cancel);
        return new Round((first.Time + fourth.Time) / 2, (second.Time + third.Time) / (first.Time + fourth.Time), (second.Processor + third.Processor) / (first.Processor + fourth.Processor));
    }

    /// <summary>Operations per second, and per second of QEMU's processor time.</summary>
    private async Task<(double Time, double Processor)> WindowAsync(Guest guest, ServiceClient client, CancellationToken cancel)
    {
        ServiceMark before = client.Mark;
        TimeSpan used = CpuClock.Of(guest.Pid);
        long started = Stopwatch.GetTimestamp();
        await Task.Delay(options.Window, cancel);
        double share = (CpuClock.Of(guest.Pid) - used) / Stopwatch.GetElapsedTime(started);
        double rate = client.Mark.RateSince(before) ?? throw new TimeoutException($"no operation was acknowledged within {options.Window.TotalSeconds:0.#} s");
        return (rate, rate / share);
    }

    private async Task<GuardFootprint> WatchAsync(GuardProcess guard, CancellationToken cancel)
    {
        // What arming has left to do is over by then.
        await Task.Delay(Settle * 4, cancel);
        return await GuardFootprint.WatchAsync(guard, options.Idle, cancel);
    }

    private Task<GuardProcess> GuardAsync(Guest guest, CancellationToken cancel) => GuardProcess.StartAsync(options.Panacea, $"qmp:{guest.QmpPath}", guest.RunDirectory, options.HealthWindow, cancel);

    /// <param name="Without">Operations a second without a guard.</param>
    /// <param name="ByTime">With one over without.</param>
    /// <param name="ByProcessor">The same per processor time.</param>
    private readonly record struct Round(double Without, double ByTime, double ByProcessor);
}
