using System.Diagnostics;
using System.Net.Sockets;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Tour;

/// <summary>The tour: a server at work, three crashes under Panacea's guard, one without, and the proof that nothing was lost.</summary>
/// <param name="options">How.</param>
/// <param name="view">Where it is shown.</param>
public sealed class TourRun(TourOptions options, ITourView view)
{
    private readonly List<TourStep> _steps = [];
    private readonly long _started = Stopwatch.GetTimestamp();
    private long? _firstCrashUs;

    /// <summary>Runs the whole tour.</summary>
    /// <returns>Its last step; <see cref="SummaryStep.Ok"/> says whether everything was as expected.</returns>
    /// <exception cref="LabException">The lab itself could not be set up.</exception>
    public async Task<SummaryStep> RunAsync(CancellationToken cancel = default)
    {
        await SetUpAsync(cancel);
        string? ended = null;
        try
        {
            await GoAsync(cancel);
        }
        catch (Exception e) when (e is LabException or TimeoutException or IOException or SocketException)
        {
            ended = $"the tour ended early: {e.Message}";
        }

        SummaryStep summary = SummaryStep.Of(_steps, ended, _firstCrashUs, Since(_started));
        view.Show(summary);
        return summary;
    }

    /// <summary>What the tour needs on the host, asked for once, and the guest's parts.</summary>
    private async Task SetUpAsync(CancellationToken cancel)
    {
        // The question must not be asked from under a spinner.
        bool yes = options.AssumeYes;
        IReadOnlyList<Prerequisite> missing = Prerequisites.Missing(PrerequisiteUse.Guests);
        if (!yes && missing.Count > 0)
            yes = options.Ask?.Invoke(missing) == true;
        await view.DuringAsync("looking for what the tour needs", async report =>
        {
            await Prerequisites.EnsureAsync(PrerequisiteUse.Guests, yes, null, report, cancel);
            return await GuestBuilder.GetAsync(options.Line, report, cancel);
        });
    }

    private async Task GoAsync(CancellationToken cancel)
    {
        long boot = Stopwatch.GetTimestamp();
        Guest guest = await view.DuringAsync($"booting Debian's {options.Line} kernel", report => Guest.StartAsync(options.Guest, report, cancel));
        await using (guest)
        {
            Show(new GuestStep(
                guest.Image.Kernel.Release, guest.Accelerator == GuestAccelerator.Kvm ? "kvm" : "tcg", guest.Spec.Vcpus, guest.Spec.MemoryMiB, guest.QmpPath,
                guest.BootAttempts, Since(boot)));
            await using WorkingServer server = await view.DuringAsync("putting the guest to work", _ => WorkingServer.StartAsync(guest, cancel));
            await TourAsync(server, cancel);
        }
    }

    private async Task TourAsync(WorkingServer server, CancellationToken cancel)
    {
        ServerIdentity before = await server.IdentifyAsync(cancel);
        string file = Path.Combine(server.Guest.RunDirectory, "guest.rimg");
        await server.Redis.WaitForAnswersAsync(20, TimeSpan.FromMinutes(1), cancel);
        Show(new WorkStep(server.Guest.RedisPort, before.RedisPid, before.CounterPid, Microseconds(server.Redis.TakeLongestGap())));

        BuiltImage image = await view.DuringAsync("building the repair image", _ => options.Panacea.BuildImageAsync(server.Target, file, cancel));
        Show(new ImageStep($"panacea image build {server.Target} -o {Path.GetFileName(file)}", image.Bytes, image.BuildUs, image.StoppedUs));

        await GuardedAsync(server, cancel);
        Show(await StillThereAsync(server, before, cancel));

        UnguardedCrash alone = await view.DuringAsync(
            "the same crash without Panacea; waiting for the reboot", _ => server.CrashUnguardedAsync(TourCrash.NullWrite.Command, cancel));
        Show(TourCrash.NullWrite.Judge(4, alone));

        foreach (CheckStep check in await view.DuringAsync("shutting the guest down and checking what was promised", _ => server.FinishAsync(cancel)))
            Show(check);
    }

    private async Task GuardedAsync(WorkingServer server, CancellationToken cancel)
    {
        long start = Stopwatch.GetTimestamp();
        await using GuardProcess guard = await view.DuringAsync(
            "arming panacea guard", _ => GuardProcess.StartAsync(options.Panacea, server.Target, server.Guest.RunDirectory, options.HealthWindow, cancel));
        Show(new GuardStep(guard.CommandLine, guard.Armed.Kernel ?? "", guard.Armed.StoppedUs ?? 0, Since(start)));

        int number = 0;
        foreach (TourCrash crash in TourCrash.Guarded)
        {
            number++;
            int reconnects = server.Redis.Status.Reconnects;
            GuardedCrash result = await view.DuringAsync($"crash {number}: {crash.Shown}", _ => server.CrashAsync(crash.Command, guard, cancel));
            CrashStep step = crash.Judge(number, result, server.Redis.Status.Reconnects - reconnects);
            _firstCrashUs ??= Since(_started);
            Show(step);
            if (step.Outcome != "recovered")
                throw new LabException($"crash {number} was not recovered from, so that what would follow shows nothing");
        }

        Show(new DetachStep(await view.DuringAsync("letting go of the guest", _ => guard.DetachAsync(cancel))));
    }

    /// <summary>After the guarded crashes: the same boot, the same processes, their memory as they left it.</summary>
    private static async Task<CheckStep> StillThereAsync(WorkingServer server, ServerIdentity before, CancellationToken cancel)
    {
        ServerIdentity now = await server.IdentifyAsync(cancel);
        CounterStatus counter = await CounterStatus.ReadAsync(server.Guest, cancel);
        RedisLoadStatus redis = server.Redis.Status;
        var wrong = new List<string>(redis.Anomalies);
        if (now.BootId != before.BootId)
            wrong.Add("the guest has rebooted");
        if (now.RedisPid != before.RedisPid || now.CounterPid != before.CounterPid)
            wrong.Add("a workload is another process than before");
        if (counter.Damaged > 0)
            wrong.Add($"{counter.Damaged} words of the counter's memory are damaged");
        if (redis.Reconnects > 0)
            wrong.Add($"the client's connection broke {redis.Reconnects} times");
        return WorkingServer.Check(
            "after the guarded crashes the server is the same", wrong, $"no reboot, redis and counter (count {counter.Count:N0}) run on, memory intact, connection kept");
    }

    private void Show(TourStep step)
    {
        _steps.Add(step);
        view.Show(step);
    }

    private static long Since(long timestamp) => Microseconds(Stopwatch.GetElapsedTime(timestamp));

    private static long Microseconds(TimeSpan time) => (long)time.TotalMicroseconds;
}
