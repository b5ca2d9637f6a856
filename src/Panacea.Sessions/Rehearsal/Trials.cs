using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Sessions.Rehearsal;

/// <summary>The trials of one crash, run beside the session's thread, which waits for them and no longer than it may.</summary>
internal sealed class Trials(RehearsalPolicy policy, ICloneSource clones, ArmedKernel kernel, TargetLimits limits, CrashEvidence evidence, DeathPoint point)
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly Lock _gate = new();
    private readonly List<RehearsedPlan> _tried = [];
    private readonly HashSet<IGuestClone> _running = [];
    private (RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder)? _decided;
    private string? _whyNot;
    private bool _isAbandoned;

    private long Deadline => _started + (long)(policy.Budget.TotalSeconds * Stopwatch.Frequency);

    private bool IsOver => Volatile.Read(ref _isAbandoned) || Stopwatch.GetTimestamp() >= Deadline;

    /// <summary>Tries plan after plan until a copy lives. Throws nothing.</summary>
    public void Run(RepairPlan first, IReadOnlyList<LadderVerdict> ladder, Func<(RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder)> more)
    {
        try
        {
            using IClonesOfAMoment moment = clones.Freeze();
            Climb(moment, first, ladder, more);
        }
        catch (Exception e)
        {
            // What fails here says nothing of any plan.
            lock (_gate)
                _whyNot = e is TargetException ? e.Message : $"{e.GetType().Name}: {e.Message}";
        }
    }

    /// <summary>Ends what still runs: its time is over.</summary>
    public void Abandon()
    {
        Volatile.Write(ref _isAbandoned, true);
        lock (_gate)
        {
            foreach (IGuestClone clone in _running)
                Discard(clone);
            _running.Clear();
        }
    }

    /// <summary>What came of it.</summary>
    /// <param name="why">Why it was rehearsed.</param>
    /// <param name="first">The ladder's plan.</param>
    /// <param name="ladder">What each rung said at first.</param>
    /// <param name="ended">It has come to an end; else it hangs somewhere.</param>
    public RehearsalResult Result(string why, RepairPlan first, IReadOnlyList<LadderVerdict> ladder, bool ended)
    {
        lock (_gate)
        {
            RehearsedPlan[] tried = [.. _tried];
            string? whyNot = ended ? _whyNot : $"the rehearsal did not come to an end within {policy.Budget.TotalMilliseconds:0} ms";
            var record = new RehearsalRecord(why, tried, (long)Stopwatch.GetElapsedTime(_started).TotalMicroseconds, whyNot);
            return _decided is { } decided ? new RehearsalResult(decided.Plan, Marked(decided.Ladder, tried), record) : new RehearsalResult(first, ladder, record);
        }
    }

    private void Climb(IClonesOfAMoment moment, RepairPlan first, IReadOnlyList<LadderVerdict> ladder, Func<(RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder)> more)
    {
        RepairPlan? plan = first;
        int count = 0;
        var all = new List<RepairPlan>();
        while (plan is not null && count < policy.Plans && !IsOver)
        {
            // Where cores allow, the next plans are tried while this one is.
            var batch = new List<(RepairPlan Plan, IReadOnlyList<LadderVerdict> Ladder)> { (plan, ladder) };
            while (batch.Count < Math.Min(clones.AtOnce, policy.Plans - count) && more() is { Plan: { } next } said)
                batch.Add((next, said.Ladder));
            all.AddRange(batch.Select(b => b.Plan));
            RehearsedPlan[] results = RunAll([.. batch.Select(b => b.Plan)], moment);
            count += results.Length;
            lock (_gate)
                _tried.AddRange(results);
            int lives = Array.FindIndex(results, r => r.Verdict == TrialVerdict.Lives);
            if (lives >= 0)
            {
                Decide(batch[lives].Plan, batch[lives].Ladder);
                return;
            }

            if (Volatile.Read(ref _isAbandoned))
                return;
            (plan, ladder) = more();

            // No copy has lived so far: a plan of which nothing was seen is as good as it was before, and so is one that was not tried.
            int unknown = _tried.FindIndex(t => t.Verdict == TrialVerdict.Unknown);
            Decide(unknown >= 0 ? all[unknown] : plan, ladder);
        }
    }

    private void Decide(RepairPlan? plan, IReadOnlyList<LadderVerdict> ladder)
    {
        lock (_gate)
            _decided = (plan, ladder);
    }

    /// <summary>What failed on a copy says so.</summary>
    private static IReadOnlyList<LadderVerdict> Marked(IReadOnlyList<LadderVerdict> ladder, RehearsedPlan[] tried) =>
        [.. ladder.Select(v => Array.Find(tried, t => t.Repair == v.Kind && t.Explanation == v.Verdict.Plan?.Explanation && t.Verdict is TrialVerdict.Dies or TrialVerdict.Stands) is { } failed
            ? v with { Bar = new RungBar(RungVerdict.FailedRehearsal, $"failed on a copy: {string.Join("; ", failed.Seen)}") } : v)];

    private RehearsedPlan[] RunAll(RepairPlan[] plans, IClonesOfAMoment moment)
    {
        var results = new RehearsedPlan[plans.Length];
        if (plans.Length == 1)
            results[0] = RunOne(plans[0], moment);
        else
            Parallel.For(0, plans.Length, new ParallelOptions { MaxDegreeOfParallelism = plans.Length }, i => results[i] = RunOne(plans[i], moment));
        return results;
    }

    private RehearsedPlan RunOne(RepairPlan plan, IClonesOfAMoment moment)
    {
        long started = Stopwatch.GetTimestamp();
        (TrialVerdict Verdict, IReadOnlyList<string> Seen) result;
        IGuestClone? clone = null;
        try
        {
            clone = moment.Start();
            lock (_gate)
                _running.Add(clone);
            result = IsOver ? (TrialVerdict.Unknown, ["the time was over"]) : new PlanTrial(kernel, limits).Run(clone, evidence, point, plan, Deadline);
        }
        catch (Exception e)
        {
            // A rehearsal that fails by itself says nothing of the plan.
            result = (TrialVerdict.Unknown, [e is TargetException ? e.Message : $"{e.GetType().Name}: {e.Message}"]);
        }

        if (clone is not null)
            End(clone);
        return new RehearsedPlan(plan.Kind, plan.Explanation, result.Verdict, result.Seen, (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds);
    }

    private void End(IGuestClone clone)
    {
        bool isOurs;
        lock (_gate)
            isOurs = _running.Remove(clone);
        if (isOurs)
            Discard(clone);
    }

    /// <summary>Its end is nothing that the guest has to wait for.</summary>
    private static void Discard(IGuestClone clone) => ThreadPool.UnsafeQueueUserWorkItem(
        static c =>
        {
            try
            {
                c.Dispose();
            }
            catch (Exception e) when (e is TargetException or IOException or InvalidOperationException)
            {
                // It is killed when this process ends at the latest.
            }
        },
        clone, preferLocal: false);
}
