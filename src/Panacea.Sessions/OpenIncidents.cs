using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions.Policy;

namespace Panacea.Sessions;

/// <summary>Incidents between the resume and the record: those whose guest's health is being watched, and those that wait only for what is being read of the machine.</summary>
/// <param name="builder">Makes the records.</param>
/// <param name="sink">Where they go.</param>
/// <param name="options">For how long health is watched, and how often the guest may be repaired.</param>
/// <param name="elapsed">How long ago a moment of the session's clock was.</param>
internal sealed class OpenIncidents(IncidentBuilder builder, ISessionSink sink, GuardOptions options, Func<long, TimeSpan> elapsed)
{
    /// <summary>How often one task may run into the same place within the health window before the next rung is tried.</summary>
    private const int MaxRepeats = 3;

    /// <summary>How often a rung may be used at one place of interrupts within the health window where no other has a plan: what they come upon there may be of several tasks, each of which has to get past it once.</summary>
    private const int MaxRepeatsAtLast = 12;

    /// <summary>Functions whose returns are counted.</summary>
    private const int MaxReturned = 1024;

    private readonly List<PendingIncident> _open = [];
    private readonly Queue<long> _repairs = new();
    private readonly Dictionary<(ulong Task, int Pid, RepairKind Kind), string> _failed = [];

    // When each function was made to return, by its address.
    private readonly Dictionary<ulong, Queue<long>> _returns = [];

    private readonly EarlierHelp _helped = new();

    /// <summary>There are some.</summary>
    public bool Any => _open.Count > 0;

    private IEnumerable<PendingIncident> Watched => _open.Where(p => p.Settled is null);

    /// <summary>Somebody reads the guest's structures at this moment.</summary>
    public bool IsCheckingUp => _open.Exists(p => p.CheckUp is { IsRunning: true });

    /// <summary>A kernel is still read through.</summary>
    public bool Use(ArmedKernel? kernel) => _open.Exists(p => p.Kernel == kernel);

    /// <summary>Another kernel runs now: what failed on a task of the last one says nothing.</summary>
    public void Forget()
    {
        _failed.Clear();
        _returns.Clear();
        _helped.Clear();
    }

    /// <summary>How often a function has been made to return of late: within <see cref="GuardOptions.RepairLimitWindow"/>.</summary>
    public int ReturnsOf(ReturnedFunction function)
    {
        if (!_returns.TryGetValue(function.Entry, out Queue<long>? times))
            return 0;
        while (times.TryPeek(out long oldest) && elapsed(oldest) >= options.RepairLimitWindow)
            times.Dequeue();
        return times.Count;
    }

    /// <summary>How often the guest was repaired, of the incidents that are being watched, after it had come to the same place in the same way.</summary>
    public int RepairsOf(CrashEvidence evidence) => Watched.Count(p => p.Stop.Applied is not null && p.IsRepeatedBy(evidence));

    /// <summary>It is the last time that a rung is used at this place, and there is nobody whom the next one could take out.</summary>
    public bool IsLastTry(RepairKind kind, CrashEvidence evidence) => !evidence.IsTasksOwn && Watched.Count(p => p.Repair == kind && p.IsRepeatedBy(evidence)) == MaxRepeats - 1;

    /// <summary>It has a fuse now: what comes after that begins to count anew.</summary>
    public void ForgetReturnsOf(ulong entry) => _returns.Remove(entry);

    /// <summary>Repairs of late: within <see cref="GuardOptions.RepairLimitWindow"/>.</summary>
    public int RepairsInWindow
    {
        get
        {
            while (_repairs.TryPeek(out long oldest) && elapsed(oldest) >= options.RepairLimitWindow)
                _repairs.Dequeue();
            return _repairs.Count;
        }
    }

    /// <summary>The guest has been repaired as often as it may be.</summary>
    public bool IsLimitReached => options.RepairLimit > 0 && RepairsInWindow >= options.RepairLimit;

    /// <summary>Why a rung may not be used: it has failed on the task that stands there now, or the guest may not be repaired once more. Null where it may.</summary>
    public RungBar? WhyNot(RepairKind kind, CrashEvidence evidence)
    {
        if (IsLimitReached)
            return new RungBar(RungVerdict.NotAllowed, $"not allowed: by the repair limit, {RepairsInWindow} repair{(RepairsInWindow == 1 ? "" : "s")} within {Durations.Format(options.RepairLimitWindow)}");
        if (evidence is { IsTasksOwn: true, Task: { } task } && _failed.TryGetValue((task.Address, task.Pid, kind), out string? id))
            return new RungBar(RungVerdict.FailedBefore, $"failed before on this task, in incident {id}");
        if (kind == RepairKind.Heal && evidence.Hang is { } hang && _helped.InVain(hang) is { } vain)
            return new RungBar(RungVerdict.FailedBefore, $"failed before, in incident {vain}: nothing of it has got on");
        if (Watched.FirstOrDefault(p => p.Repair == kind && p.Undid(evidence)) is { } undone)
            return new RungBar(RungVerdict.FailedBefore, $"failed before on this task, in incident {undone.Id}: it has died again before it was back in user space");
        int uses = Watched.Count(p => p.Repair == kind && p.IsRepeatedBy(evidence));
        return uses < MaxRepeats ? null : new RungBar(RungVerdict.FailedBefore, $"failed before: used {uses} times at this place within the health window, and it was come to again")
        {
            IsLiftedAtLast = !evidence.IsTasksOwn && uses < MaxRepeatsAtLast,
        };
    }

    /// <summary>Opens one. One that is settled is closed as soon as nothing is being read of the machine any more.</summary>
    public void Add(PendingIncident incident)
    {
        if (incident.Stop.Applied is not null)
            _repairs.Enqueue(incident.WatchStartedTicks);
        if (incident.Stop is { Applied: not null, Evidence.Hang.Stall: { } stall })
            _helped.Add(stall, incident.Id);
        if (incident.Stop is { Applied.Returned: { Module: not null } returned, Fuse: null })
            CountReturn(returned.Entry, incident.WatchStartedTicks);
        if (incident.Stop is { Evidence: not null, Lost: null })
            FailEarlier(incident);
        if (incident is { Settled: { } settled, Stop.Lost: not null })
            Close(incident, settled.Outcome, settled.Why, null);
        else
            _open.Add(incident);
    }

    private void CountReturn(ulong entry, long at)
    {
        // Another function each time, which only a guest that lies can go on with: it is not kept for long.
        if (_returns.Count >= MaxReturned)
            _returns.Clear();
        if (!_returns.TryGetValue(entry, out Queue<long>? times))
            _returns[entry] = times = new Queue<long>();
        times.Enqueue(at);
        if (times.Count > PolicyLimits.MaxFuseAfter)
            times.Dequeue();
    }

    /// <summary>Closes those that are due.</summary>
    public void Look()
    {
        foreach (PendingIncident incident in Watched.Where(p => elapsed(p.WatchStartedTicks) - p.Paused >= options.HealthWindow).ToList())
        {
            HealthResult health = incident.Watch!.Look();
            if (!health.Verified && incident.Stop.Evidence?.Hang?.Timer is { } timer)
                _helped.Add(timer, incident.Id);
            Close(
                incident, health.Verified ? IncidentOutcome.Recovered : IncidentOutcome.Failed,
                health.Verified ? "all vCPUs tick, the scheduler runs, and nothing died again" : health.Standing is { } standing ? $"it has not helped: {standing}" : "the guest does not live after the repair", health);
        }

        foreach (PendingIncident incident in _open.Where(p => p.Settled is not null && p.Aftermath is not { IsDone: false }).ToList())
            Close(incident, incident.Settled!.Value.Outcome, incident.Settled.Value.Why, null);
    }

    /// <summary>The guest stood still for its operator: that time does not count.</summary>
    public void Pause(TimeSpan time)
    {
        foreach (PendingIncident incident in _open)
            incident.Paused += time;
    }

    /// <summary>The guest stands: check-ups are told to end, and not waited for.</summary>
    public void CancelCheckUps()
    {
        foreach (PendingIncident incident in _open)
            incident.CheckUp?.Cancel();
    }

    /// <summary>Before memory goes: nobody may be reading it. Readers end at their next read.</summary>
    public void EndReading()
    {
        foreach (PendingIncident incident in _open)
        {
            incident.Aftermath?.Revoke();
            incident.CheckUp?.Finish();
        }
    }

    /// <summary>Closes them all: those whose health is not verified yet have failed.</summary>
    /// <param name="reason">Why it can't be verified.</param>
    public void CloseAll(string reason)
    {
        foreach (PendingIncident incident in _open.ToList())
            Close(incident, incident.Settled?.Outcome ?? IncidentOutcome.Failed, incident.Settled?.Why ?? reason, null);
    }

    /// <summary>The task that was repaired died again before it got back to user space: that repair did not hold, and its rung is not tried on that task again.</summary>
    private void FailEarlier(PendingIncident now)
    {
        foreach (PendingIncident earlier in Watched.Where(p => p.Undid(now.Stop.Evidence!)).ToList())
        {
            if (earlier.Stop.Evidence is { IsTasksOwn: true, Task: { } task })
                _failed[(task.Address, task.Pid, earlier.Repair)] = earlier.Id;
            Close(earlier, IncidentOutcome.Failed,
                $"{(now.Stop.Evidence?.Hang is { IsOfNobody: true } ? "it stands again" : "the guest died again")} ({now.Report?.Title ?? now.Stop.Point.Symbol}) before health was verified", earlier.Watch?.Look());
        }
    }

    private void Close(PendingIncident incident, IncidentOutcome outcome, string reason, HealthResult? health)
    {
        _open.Remove(incident);
        Incident record = builder.Close(incident, outcome, reason, health);
        sink.OnEvent(IncidentBuilder.EventOf(record, sink.Store(record)));
    }
}
