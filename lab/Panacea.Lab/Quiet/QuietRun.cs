using System.Diagnostics;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Quiet;

/// <summary>What a guard has said of a healthy guest.</summary>
/// <param name="Guest">The guest: its kernel line and what it does.</param>
/// <param name="Time">For how long it was guarded.</param>
/// <param name="Alarms">Deaths, incidents and warnings: none is right.</param>
/// <param name="Failures">What the guest could not do at the end.</param>
public sealed record QuietResult(string Guest, TimeSpan Time, IReadOnlyList<string> Alarms, IReadOnlyList<string> Failures);

/// <summary>
/// Guards healthy guests for a long time and listens for false alarms: an idle one and a busy one, whose QEMUs have both vCPUs on one of the host's processors. Of each four minutes, one is as it is, in one the guest
/// has half of that processor, one is as it is, and in one the host is suspended for a while.
/// </summary>
/// <param name="panacea">The executable.</param>
/// <param name="progress">Told what happens.</param>
public sealed class QuietRun(PanaceaProgram panacea, Action<string> progress)
{
    private static readonly TimeSpan Phase = TimeSpan.FromMinutes(1), Suspension = TimeSpan.FromSeconds(20), ProbeLimit = TimeSpan.FromMinutes(1);

    /// <summary>Work for every vCPU, in the kernel and in user space: processes, files, memory, pipes.</summary>
    private const string Busy = """
        for worker in 1 2 3; do
          ( while :; do
              for i in 1 2 3 4 5 6 7 8; do /bin/true; done
              dd if=/dev/urandom of=/data/busy.$worker bs=64k count=16 conv=fsync 2> /dev/null
              cat /data/busy.$worker | md5sum > /dev/null
              dd if=/dev/zero of=/tmp/busy.$worker bs=1M count=16 2> /dev/null; rm /tmp/busy.$worker
            done ) > /dev/null 2>&1 < /dev/null &
        done
        """;

    /// <summary>Guards an idle and a busy guest of a kernel line at once.</summary>
    public async Task<IReadOnlyList<QuietResult>> RunAsync(string line, TimeSpan time, CancellationToken cancel = default) =>
        await Task.WhenAll(GuardAsync(line, isBusy: false, time, cancel), GuardAsync(line, isBusy: true, time, cancel));

    private async Task<QuietResult> GuardAsync(string line, bool isBusy, TimeSpan time, CancellationToken cancel)
    {
        string name = $"{line} {(isBusy ? "busy" : "idle")}";
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, Start = ["redis", "counter"] }, progress, cancel);
        await using GuardProcess guard = await GuardProcess.StartAsync(panacea, $"qmp:{guest.QmpPath}", guest.RunDirectory, TimeSpan.FromSeconds(1), cancel);
        HostStarvation.Pin(guest.Pid, isBusy ? 0 : 1);
        if (isBusy)
            await guest.RunAsync(Busy, ProbeLimit, cancel);
        guard.DropEvents();
        long started = Stopwatch.GetTimestamp();
        var alarms = new List<string>();
        for (int phase = 0; Stopwatch.GetElapsedTime(started) < time; phase++)
        {
            progress($"{name}: {Stopwatch.GetElapsedTime(started).TotalMinutes:0} min, {alarms.Count} alarms");
            switch (phase % 4)
            {
                case 1:
                    await HostStarvation.HalveAsync(guest.Pid, Phase, cancel);
                    break;
                case 3:
                    await HostStarvation.SuspendAsync(guest.Pid, Suspension, cancel);
                    await Task.Delay(Phase - Suspension, cancel);
                    break;
                default:
                    await Task.Delay(Phase, cancel);
                    break;
            }

            foreach (GuardEvent e in guard.TakeEvents())
            {
                alarms.Add($"after {Stopwatch.GetElapsedTime(started).TotalMinutes:0} min: {e.Event} {e.Title ?? e.Message}");
                progress($"{name}: {alarms[^1]}");
            }
        }

        TimeSpan guarded = Stopwatch.GetElapsedTime(started);
        IReadOnlyList<LifeSign> signs = await LivingGuest.ProbeAsync(guest, ProbeLimit, cancel);
        return new QuietResult(name, guarded, alarms, [.. signs.Where(s => s.Failure is not null).Select(s => $"{s.Name}: {s.Failure}")]);
    }
}
