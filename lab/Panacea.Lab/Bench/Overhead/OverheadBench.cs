using System.Diagnostics;
using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;
using Panacea.Target.Qemu;

namespace Panacea.Lab.Bench.Overhead;

/// <summary>
/// What an armed guard takes from the work of a healthy guest. In each round the same guest works for windows: without a guard, twice with one, and without (ABBA), so that what the host does besides, and what changes
/// slowly, bears on both sides alike; then twice with the same breakpoints and nobody who guards, and without: what of it is QEMU's own price for breakpoints.
/// </summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class OverheadBench(BenchOptions options, ProgressLine progress)
{
    // After a guard has come or gone: what that takes is paid once, not while it guards.
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(0.5), Limit = TimeSpan.FromMinutes(1), LongestWindow = TimeSpan.FromSeconds(3);

    /// <summary>What there is to choose from.</summary>
    public static IReadOnlyList<MeasuredService> All { get; } = [MeasuredService.Arithmetic, .. MeasuredService.All];

    private IReadOnlyList<MeasuredService> Services => options.Services ?? All;

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
            foreach (MeasuredService service in Services)
                work.Add(await progress.DuringAsync($"{line}: {service.Name}", report => MeasureAsync(line, guest, service, report, cancel)));
        }

        string command = string.Create(
            CultureInfo.InvariantCulture, $"./panacea bench overhead --rounds {options.Rounds} --kernels {string.Join(',', options.Lines)}{options.NamedServices(All)} --update-docs");
        return new OverheadReport { At = DateTimeOffset.UtcNow, Command = command, Host = host, Work = work, Idle = idle };
    }

    private async Task<OverheadFigures> MeasureAsync(string line, Guest guest, MeasuredService service, Action<string> report, CancellationToken cancel)
    {
        var rounds = new List<Round>();
        GuardFootprint? footprint = null;
        var failures = new List<string>();
        try
        {
            await using ServiceClient client = await ServiceClient.StartAsync(service, guest, Limit, cancel);
            ulong[] deathPoints = await DeathPointsAsync(guest, cancel);
            TimeSpan window = await WindowOfAsync(client, cancel);
            for (int i = 0; i < options.Rounds; i++)
            {
                report($"{line}: {service.Name}, round {i + 1} of {options.Rounds}");
                rounds.Add(await RoundAsync(guest, client, window, deathPoints, cancel));
            }

            await using GuardProcess guard = await GuardAsync(guest, cancel);
            report($"{line}: {service.Name}, watching the guard");
            footprint = await WatchAsync(guard, cancel);
            if (client.Connections != 1)
                failures.Add("the client's connection broke");
            if (guard.Deaths > 0)
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
            ? new OverheadFigures(line, service.Name, service.Summary, null, null, null, null, footprint, failures)
            : new OverheadFigures(
                line, service.Name, service.Summary, Figures.Of(rounds.Select(r => r.Without)).Median, MedianInterval.Of(rounds.Select(r => r.ByTime)), MedianInterval.Of(rounds.Select(r => r.ByProcessor)),
                MedianInterval.Of(rounds.Select(r => r.Breakpoints)), footprint, failures);
    }

    private async Task<Round> RoundAsync(Guest guest, ServiceClient client, TimeSpan window, ulong[] deathPoints, CancellationToken cancel)
    {
        Rate first = await WindowAsync(guest, client, window, cancel), second, third;
        Rate[] guarded, armed;
        await using (await GuardAsync(guest, cancel))
        {
            await Task.Delay(Settle, cancel);
            guarded = [await WindowAsync(guest, client, window, cancel), await WindowAsync(guest, client, window, cancel)];
        }

        await Task.Delay(Settle, cancel);
        second = await WindowAsync(guest, client, window, cancel);
        using (QemuTarget target = QemuTarget.Attach(new QemuTargetSpec(guest.QmpPath, 0)))
        {
            target.ArmBreakpoints(deathPoints);
            target.Stopped?.Resume();
            await Task.Delay(Settle, cancel);
            armed = [await WindowAsync(guest, client, window, cancel), await WindowAsync(guest, client, window, cancel)];
            target.Disarm();
        }

        await Task.Delay(Settle, cancel);
        third = await WindowAsync(guest, client, window, cancel);
        return new Round(
            (first.Time + second.Time + third.Time) / 3, (guarded[0].Time + guarded[1].Time) / (first.Time + second.Time), (guarded[0].Processor + guarded[1].Processor) / (first.Processor + second.Processor),
            (armed[0].Processor + armed[1].Processor) / (second.Processor + third.Processor));
    }

    /// <summary>Long enough for some operations.</summary>
    private async Task<TimeSpan> WindowOfAsync(ServiceClient client, CancellationToken cancel)
    {
        const int some = 20;
        ServiceMark before = client.Mark;
        await client.WaitAsync(some / 4, Limit, cancel);
        TimeSpan needed = TimeSpan.FromSeconds(some / client.Mark.RateSince(before)!.Value);
        return needed < options.Window ? options.Window : needed < LongestWindow ? needed : LongestWindow;
    }

    /// <summary>Where the guard has its breakpoints, by the guest's own /proc/kallsyms.</summary>
    private static async Task<ulong[]> DeathPointsAsync(Guest guest, CancellationToken cancel)
    {
        string symbols = (await guest.RunAsync("grep -E ' (oops_end|panic|vpanic)$' /proc/kallsyms", Limit, cancel)).Output;
        return [.. symbols.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => Convert.ToUInt64(line.Split(' ')[0], 16))];
    }

    /// <summary>Operations per second, and per second of QEMU's processor time.</summary>
    private static async Task<Rate> WindowAsync(Guest guest, ServiceClient client, TimeSpan window, CancellationToken cancel)
    {
        ServiceMark before = client.Mark;
        TimeSpan used = CpuClock.Of(guest.Pid);
        long started = Stopwatch.GetTimestamp();
        await Task.Delay(window, cancel);
        double share = (CpuClock.Of(guest.Pid) - used) / Stopwatch.GetElapsedTime(started);
        double rate = client.Mark.RateSince(before) ?? throw new TimeoutException($"no operation was acknowledged within {window.TotalSeconds:0.#} s");
        return new Rate(rate, rate / share);
    }

    private async Task<GuardFootprint> WatchAsync(GuardProcess guard, CancellationToken cancel)
    {
        // What arming has left to do is over by then.
        await Task.Delay(Settle * 4, cancel);
        return await GuardFootprint.WatchAsync(guard, options.Idle, cancel);
    }

    private Task<GuardProcess> GuardAsync(Guest guest, CancellationToken cancel) => GuardProcess.StartAsync(options.Panacea, $"qmp:{guest.QmpPath}", guest.RunDirectory, options.HealthWindow, cancel);

    /// <param name="Time">Operations a second.</param>
    /// <param name="Processor">Operations per second of QEMU's processor time.</param>
    private readonly record struct Rate(double Time, double Processor);

    /// <param name="Without">Operations a second without a guard.</param>
    /// <param name="ByTime">With one over without.</param>
    /// <param name="ByProcessor">The same per processor time.</param>
    /// <param name="Breakpoints">With breakpoints alone over without, per processor time.</param>
    private readonly record struct Round(double Without, double ByTime, double ByProcessor, double Breakpoints);
}
