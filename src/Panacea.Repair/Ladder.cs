using System.Diagnostics;
using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Repair.Strategies;
using Panacea.Target;

namespace Panacea.Repair;

/// <summary>What came of one rung.</summary>
[JsonConverter(typeof(KebabEnumConverter<RungVerdict>))]
public enum RungVerdict
{
    /// <summary>It was the repair.</summary>
    Taken,

    /// <summary>It was chosen, and could not be carried through: errors say why.</summary>
    NotApplied,

    /// <summary>It does not apply to this crash.</summary>
    Declined,

    /// <summary>It may not be used on this guest: by the mode, the policy or the limit of repairs. It was not asked.</summary>
    NotAllowed,

    /// <summary>It did not hold before on the same task or at the same place. It was not asked again.</summary>
    FailedBefore,

    /// <summary>Its plan was tried on a copy of the machine, and the copy did not live.</summary>
    FailedRehearsal,
}

/// <summary>Why a rung is not asked.</summary>
/// <param name="Verdict"><see cref="RungVerdict.NotAllowed"/>, <see cref="RungVerdict.FailedBefore"/> or, of one whose plan is not used, <see cref="RungVerdict.FailedRehearsal"/>.</param>
/// <param name="Why">In words that begin with those of the verdict: <c>not allowed: by policy rungs</c>.</param>
public sealed record RungBar(RungVerdict Verdict, string Why)
{
    /// <summary>The rung is asked after all where no other one has a plan: it has helped each time for a while, and without it there is only the panic.</summary>
    public bool IsLiftedAtLast { get; init; }
}

/// <summary>What one rung said of a crash.</summary>
/// <param name="Kind">The rung.</param>
/// <param name="Verdict">Its plan, or why it has none.</param>
/// <param name="Bar">Why it was not asked; null where it was.</param>
public sealed record LadderVerdict(RepairKind Kind, StrategyVerdict Verdict, RungBar? Bar = null)
{
    /// <summary>How long it thought about it, while the guest stood still; zero where it was not asked.</summary>
    public TimeSpan Took { get; init; }
}

/// <summary>The rungs in order, the one that loses least first.</summary>
public static class Ladder
{
    /// <summary>All strategies.</summary>
    public static IReadOnlyList<IRepairStrategy> All { get; } = [new SettingStrategy(), new HealStrategy(), new RetryStrategy(), new ErrorReturnStrategy(), new UnwindStrategy(), new KillBySignalStrategy(), new KillStrategy(), new FreezeStrategy()];

    /// <summary>Asks the rungs in order until one has a plan.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="bars">Which rungs may not be used, and why: the guard's mode and policy, and what has failed on this crash before. Null for one that may.</param>
    /// <param name="verdicts">What each rung said, the chosen one last; a rung of several strategies that may not be used stands there once.</param>
    /// <returns>The plan, or null where no rung has one.</returns>
    public static RepairPlan? Choose(CrashEvidence evidence, Func<RepairKind, CrashEvidence, RungBar?> bars, out IReadOnlyList<LadderVerdict> verdicts)
    {
        var climb = new LadderClimb(evidence, bars);
        RepairPlan? plan = climb.Next();
        verdicts = climb.Said;
        return plan;
    }

    /// <summary>Further plans of a rung; none where it fails by itself.</summary>
    internal static IReadOnlyList<StrategyVerdict> AskMore(IRepairStrategy strategy, CrashEvidence evidence)
    {
        const int most = 8;
        try
        {
            return [.. strategy.Alternatives(evidence).Take(most).Select(v => OnTrack.Warn(evidence, v))];
        }
        catch (Exception e) when (IsConfusion(e))
        {
            return [];
        }
    }

    private static bool IsConfusion(Exception e) =>
        e is GuestMemoryException or KernelShapeException or OverflowException or ArgumentException or InvalidOperationException or IndexOutOfRangeException or KeyNotFoundException;

    /// <summary>A rung that guest memory has confused is no reason not to try the next.</summary>
    internal static StrategyVerdict Ask(IRepairStrategy strategy, CrashEvidence evidence)
    {
        // The CPU stands where it is to call what helps: it is not to be led away from there.
        if (evidence.Hang is { IsOfNobody: true } && strategy.Kind != RepairKind.Heal)
            return StrategyVerdict.Declines("what does not get on is no function of this stack");
        try
        {
            return OnTrack.Warn(evidence, strategy.Evaluate(evidence));
        }
        catch (Exception e) when (IsConfusion(e))
        {
            return StrategyVerdict.Declines($"the rung itself failed: {e.GetType().Name}: {e.Message}");
        }
    }
}

/// <summary>Asks the rungs in order, from plan to plan.</summary>
/// <param name="evidence">The crash.</param>
/// <param name="bars">Which rungs may not be used, and why; see <see cref="Ladder.Choose"/>.</param>
public sealed class LadderClimb(CrashEvidence evidence, Func<RepairKind, CrashEvidence, RungBar?> bars)
{
    private readonly CrashEvidence _evidence = OnTrack.Of(evidence);
    private readonly List<LadderVerdict> _said = new(Ladder.All.Count);
    private readonly Queue<IRepairStrategy> _lifted = [];
    private IReadOnlyList<StrategyVerdict> _alternatives = [];
    private IRepairStrategy? _last;
    private int _next, _alternative = -1;

    /// <summary>What each rung has said so far; a rung of several strategies that may not be used stands there once, one that had several plans once for each.</summary>
    public IReadOnlyList<LadderVerdict> Said => [.. _said];

    /// <summary>The next plan: another one of the rung that had the last, or of the next rung that has one. Null where there is none. Its rung stands last in <see cref="Said"/>.</summary>
    public RepairPlan? Next()
    {
        if (NextAlternative() is { } another)
            return another;
        while (_next < Ladder.All.Count)
        {
            IRepairStrategy strategy = Ladder.All[_next++];
            if (bars(strategy.Kind, _evidence) is { } bar)
            {
                if (_said.Count == 0 || _said[^1].Kind != strategy.Kind)
                    _said.Add(new LadderVerdict(strategy.Kind, StrategyVerdict.Declines(bar.Why), bar));
                if (bar.IsLiftedAtLast)
                    _lifted.Enqueue(strategy);
            }
            else if (Asked(strategy) is { } plan)
            {
                return plan;
            }
        }

        while (!_said.Exists(v => v.Verdict.Plan is not null) && _lifted.TryDequeue(out IRepairStrategy? strategy))
        {
            if (Asked(strategy) is { } plan)
                return plan;
        }

        return null;
    }

    private RepairPlan? Asked(IRepairStrategy strategy)
    {
        long started = Stopwatch.GetTimestamp();
        StrategyVerdict verdict = Ladder.Ask(strategy, _evidence);
        _said.Add(new LadderVerdict(strategy.Kind, verdict) { Took = Stopwatch.GetElapsedTime(started) });
        (_last, _alternative) = (strategy, -1);
        return verdict.Plan;
    }

    /// <summary>Asked for only when there has been a plan, and it was not good enough.</summary>
    private RepairPlan? NextAlternative()
    {
        if (_last is null || _said[^1].Verdict.Plan is null)
            return null;
        if (_alternative < 0)
            (_alternatives, _alternative) = (Ladder.AskMore(_last, _evidence), 0);
        if (_alternative >= _alternatives.Count)
            return null;
        StrategyVerdict verdict = _alternatives[_alternative++];
        _said.Add(new LadderVerdict(_last.Kind, verdict));
        return verdict.Plan;
    }

    /// <summary>Another plan stands for that of the last rung that had one.</summary>
    public void Refine(RepairPlan plan) => _said[^1] = _said[^1] with { Verdict = StrategyVerdict.Applies(plan) };
}
