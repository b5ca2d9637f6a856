using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The crashed function goes on where it crashed, with the registers that it should have had (<see cref="Resumption"/>); where that can't be told, the call that crashed is made again, by the nearest caller for
/// which that has a prospect: replayed over a copy of the guest's memory, its code gets past the place of the crash now, and nothing that the crashed call had already stored comes out otherwise the second time
/// (<see cref="CallReplay"/>). That is so where a race was lost that is over, where a register or a word was wrong for a moment. A bug that is still there crashes the replay, and the guest is not asked to try. What
/// the abandoned functions hold is given back before; a lock of which nobody could tell which it was the replay names.
/// </summary>
public sealed class RetryStrategy : IRepairStrategy
{
    /// <summary>Functions from the faulty one outwards that are tried, and what all replays of one crash may execute: some microseconds each hundred.</summary>
    private const int MaxFrames = 4, MaxInstructions = 12_000, MaxInstructionsOfOne = 6_000;

    /// <summary>Functions around the faulty one whose last stretch is replayed: what a wrong value led to, as a rule, is not far from where it was made.</summary>
    private const int MaxLast = 3;

    /// <summary>Places at which a CPU may have left its function's code.</summary>
    private const int MaxPlaces = 4;

    /// <summary>Ways that were no way out which are told.</summary>
    private const int MaxTried = 24;

    /// <summary>It came back to the same place so often although it was made again: by other CPUs and tasks, as those may that were on their way there when what made them crash went. Of one task, that its repair did not hold
    /// is another matter, which the session sees to.</summary>
    private const int MostRetries = 8;

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Retry;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (WhyNot(evidence) is { } why)
            return StrategyVerdict.Declines(why);
        if (LostStackPointer.Is(evidence))
            return LostStackPointer.Evaluate(evidence);
        if (ImpossibleTrap.Evaluate(evidence) is { } there)
            return there;
        StrategyVerdict? first = null;
        var tried = new List<string>();
        foreach (StrategyVerdict verdict in Calls(evidence, tried))
        {
            if (verdict.Plan is not null)
                return verdict with { Tried = Told(tried) };
            tried.Add(verdict.WhyNot!);
            first ??= verdict;
        }

        if (first is not null)
            return first with { Tried = Told(tried.Where(t => t != first.WhyNot)) };
        return StrategyVerdict.Declines("no function on the stack was called by one that could call it again");
    }

    /// <inheritdoc/>
    public IEnumerable<StrategyVerdict> Alternatives(CrashEvidence evidence) => WhyNot(evidence) is not null || LostStackPointer.Is(evidence) ? [] : Calls(evidence, []).Where(v => v.Plan is not null).Skip(1);

    private static string? WhyNot(CrashEvidence evidence) =>
        UnwindStrategy.WhyNotLedAway(evidence) is { } why ? why
        : UsedUpStack.Is(evidence) && !LostStackPointer.Is(evidence) ? "the stack is used up: the same call would use it up again"
        : evidence.Hang is { Wait: not null } ? "it waits for a lock: the same call would wait again"
        : evidence.EarlierRepairs >= MostRetries ? $"the guest has come back to this place {evidence.EarlierRepairs} times"
        : null;

    /// <summary>The same for each place at which the CPU may have left its function's code, where it has.</summary>
    private static IEnumerable<StrategyVerdict> Calls(CrashEvidence evidence, List<string> tried) =>
        evidence.LeftCodeAt is null ? CallsOf(evidence, tried) : OnTrack.Places(evidence).Take(MaxPlaces).SelectMany(e => CallsOf(e, tried));

    private static List<string> Told(IEnumerable<string> tried) => [.. tried.Distinct().Take(MaxTried)];

    /// <summary>The calls on the stack, from the faulty function's outwards, as far as they can be made again.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="tried">Gets why the ways that need no call were none.</param>
    private static IEnumerable<StrategyVerdict> CallsOf(CrashEvidence evidence, List<string> tried)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        int left = MaxInstructions, faulty = evidence.FaultyFrame!.Value;
        bool goesOn = false, isDispatched = false;
        for (int i = faulty; i + 1 < frames.Count && i < faulty + MaxFrames && left > 0; i++)
        {
            if (frames[i + 1].Reliability != FrameReliability.Exact || frames[i + 1].IsTrap || frames[i + 1].Stack != frames[faulty].Stack)
                yield break;

            if (i == faulty && Found(NullAgain.Evaluate(evidence, Math.Min(left, MaxInstructionsOfOne), ref left), tried) is { } once)
                yield return once;

            // Where it can go on, it can from every function further out, in the same way.
            StrategyVerdict? still = null;
            if (!goesOn)
            {
                StrategyVerdict resumed = Resumption.Evaluate(evidence, i, Math.Min(left, MaxInstructionsOfOne), ref left, out bool isStillThere);
                if (resumed.Plan is not null)
                {
                    goesOn = true;
                    yield return resumed;
                }
                else if (isStillThere)
                {
                    still = resumed;
                }
                else
                {
                    tried.Add(resumed.WhyNot!);
                }
            }

            if (!goesOn && i <= faulty + MaxLast && left > 0 && Found(Resumption.EvaluateLast(evidence, i, Math.Min(left, MaxInstructionsOfOne), ref left), tried) is { } last)
            {
                goesOn = true;
                yield return last;
            }

            // Who fills or copies a block is not to blame, and can do so again: all of it, where it was to.
            if (!goesOn && i == 1 && faulty == 1 && left > 0 && IsBlock(evidence, frames[0]) && frames[1].Stack == frames[0].Stack && Call(evidence, 0, ref left) is { Plan: not null } filled)
                yield return filled;

            // A switch of tasks is done by half, a task that ends is half gone: what they call can be called again, they can't.
            string name = Boundaries.WithoutSuffix(evidence.LocationOf(frames[i])?.Name ?? "");
            if (name is "__schedule" or "do_exit" or "make_task_dead" or "kthread" || evidence.LocationOf(frames[i + 1])?.Name is "ret_from_fork" or "ret_from_fork_asm")
                yield break;

            // What has just crashed would again. What was replayed to go on may have used up what may be executed.
            if (still is not null)
                yield return still;
            else if (left > 0)
                yield return Call(evidence, i, ref left);

            // Whoever dispatches has called what is wrong perhaps, or with what is wrong; who has called him has nothing to do with it.
            if (isDispatched)
                yield break;
            isDispatched = ReturnCandidate.BoundaryAbove(evidence, i) is not null;
        }
    }

    /// <summary>It has a plan; else why it has none is kept.</summary>
    private static StrategyVerdict? Found(StrategyVerdict verdict, List<string> tried)
    {
        if (verdict.Plan is null)
            tried.Add(verdict.WhyNot!);
        return verdict.Plan is null ? null : verdict;
    }

    private static bool IsBlock(CrashEvidence evidence, StackFrame frame) => evidence.LocationOf(frame)?.Name is { } name && BlockFunctions.Find(name) is not null;

    private static StrategyVerdict Call(CrashEvidence evidence, int index, ref int left)
    {
        StackFrame frame = evidence.Stack.Frames[index];
        string function = evidence.LocationOf(frame)?.Name ?? $"the function at 0x{frame.Ip:x}";
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, index, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"the state in which {function} was called can't be proved: {decline}");
        AbandonedFrames abandoned = AbandonedFrames.Of(evidence, index);
        Boundary? boundary = ReturnCandidate.BoundaryAbove(evidence, index);
        Surroundings around = boundary is { } b ? new Surroundings(b.Interrupts, b.PreemptCount) : Surroundings.Of(evidence, index, abandoned);
        if ((around.Interrupts ?? (abandoned.ChangedInterrupts ? null : evidence.Crash.InterruptsEnabled)) is not { } interrupts)
            return StrategyVerdict.Declines($"whether interrupts were on where {function} was called can't be told");

        // Single instructions that may have taken something are looked at in the replay, like every other store; and so is a journal handle, which a function that begins it a second time counts in its own memory.
        var unnamed = abandoned.Unnamed.ToList();
        if (abandoned.Doubts.Except([.. abandoned.Atomics, AbandonedFrames.OpenHandle, .. unnamed.Select(u => u.Doubt)]).FirstOrDefault() is { } doubt)
            return StrategyVerdict.Declines($"{doubt}, which nobody would give back");
        int held = abandoned.PreemptCount + abandoned.PreemptCountOfLocks + unnamed.Sum(u => LockFunctions.PreemptCountOf(u.Holding.Kind));
        uint? outside = evidence.PreemptWord is { } word && word >= held && unnamed.TrueForAll(u => u.IsSure) ? (uint)(word - held) : null;
        ReplayInput input = Replays.Of(evidence, index, state, Math.Min(left, MaxInstructionsOfOne)) with
        {
            Interrupts = interrupts,
            Released = [.. abandoned.Locks.Select(l => l.Address)],
            Unproved = [.. unnamed.SelectMany(u => u.Holding.Calls.Select(call => (u.Frame, call)))],
            PreemptCount = evidence.PreemptCountAddress is { } count && outside is { } value ? (count, value) : null,
            MustReturn = evidence.Hang is not null,
            Parameters = evidence.Mended is null ? null : evidence.Kernel.Image.Types.ParameterCount(function),
            IsRepeatable = evidence.Hang is null && IsBlock(evidence, frame),
        };
        if (!CallReplay.TryRun(input, out ReplayResult replay, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        left -= replay.Instructions + 1;
        string where = evidence.Kernel.Image.Symbolize(replay.At)?.ToString() ?? $"0x{replay.At:x}";
        switch (replay.Verdict)
        {
            case ReplayVerdict.Crashes:
                return StrategyVerdict.Declines($"{function}, called again over a copy of memory, {replay.Why} at {where}: what made it crash is still there");
            case ReplayVerdict.DoneAlready:
                return StrategyVerdict.Declines($"{function} can't be called a second time: at {where} it {replay.Why}, and may have written there before it crashed");
            case ReplayVerdict.Unknown:
                return StrategyVerdict.Declines($"{function}, called again over a copy of memory, {replay.Why} at {where}: whether it gets past the crash can't be told");
        }

        if (!TryName(evidence, unnamed, replay, out List<HeldLock> named, out whyNot))
            return StrategyVerdict.Declines(whyNot);
        abandoned = abandoned with { Locks = [.. named, .. abandoned.Locks] };
        return Plan(evidence, state, function, interrupts, boundary, abandoned, named, replay);
    }

    /// <summary>Each lock that nobody could name has to be one that the replay has taken by the same call, and has to be held now.</summary>
    private static bool TryName(CrashEvidence evidence, List<UnnamedLock> unnamed, ReplayResult replay, out List<HeldLock> named, out string whyNot)
    {
        (named, whyNot) = ([], "");
        foreach (UnnamedLock one in unnamed)
        {
            (int Frame, ulong Call, ulong Address, bool IsHeld) found = replay.Locks.FirstOrDefault(l => l.Frame == one.Frame && one.Holding.Calls.Contains(l.Call));

            // On the way that it takes now it takes a lock that is free: it had not taken it, or not on that way.
            if (!one.IsSure && found is { Address: not 0, IsHeld: false })
                continue;

            // Who holds a spinlock, or reads, is not told by its word, so a trylock may have failed; and of what a helper takes, the first may not be what it comes back with.
            bool mayHaveFailed = LockFunctions.Find(one.Holding.Function)?.When != TakenWhen.Always && !AbandonedFrames.ProvesOwner(one.Holding.Kind);
            if (found.IsHeld && (one.Holding.Argument < 0 || (!one.IsSure && mayHaveFailed) || !AbandonedFrames.MayBeTheirs(evidence, one.Holding.Kind, found.Address)))
            {
                whyNot = $"{one.Doubt}; called again, it takes one at 0x{found.Address:x}, which somebody else may hold";
                return false;
            }

            if (!found.IsHeld)
            {
                whyNot = found.Address == 0 ? $"{one.Doubt}, nor by calling it again" : $"{one.Holder}, called again, takes a lock at 0x{found.Address:x} that is free: which it has taken before can't be told";
                return false;
            }

            named.Add(new HeldLock(one.Holding.Kind, found.Address, one.Holder, $"{AbandonedFrames.NameOf(one.Holding.Kind)} {evidence.Kernel.Image.Symbolize(found.Address)?.ToString() ?? $"0x{found.Address:x}"}"));
        }

        return true;
    }

    private static StrategyVerdict Plan(
        CrashEvidence evidence, ReturnState state, string function, bool interrupts, Boundary? boundary, AbandonedFrames abandoned, List<HeldLock> named, ReplayResult replay)
    {
        // Its return address lies where it was pushed.
        Landing landing = Landing.OfReturn(state, null, interrupts, boundary?.PreemptCount, abandoned) with
        {
            Rip = replay.Entry,
            Rsp = unchecked(state.Rsp - 8),
            Arguments = replay.Arguments,
            CallStack = abandoned.Locks.Any(l => l.Kind == HoldingKind.Plug) ? ReturnPlan.StackBelow(evidence) : null,
        };
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        string caller = evidence.Kernel.Image.Symbolize(state.Rip)?.ToString() ?? $"0x{state.Rip:x}";
        var risks = new List<string> { "what the call had done before it crashed in a way that its code does not show is done again" };
        risks.AddRange(named.Select(l => $"{l.Shown} is given back because {l.Holder}, called again, takes it, and somebody holds it"));
        if (!replay.HasReturned)
            risks.Add($"the replay ends behind the place of the crash, where it {replay.Why}");
        return StrategyVerdict.Applies(plan with
        {
            Kind = RepairKind.Retry,
            Confidence = !replay.HasReturned || named.Count > 0 ? Confidence.Medium : Confidence.High,
            Explanation = $"{function} is called again, for {caller}{abandoned.Given}: over a copy of memory it gets past the crash ({replay.Instructions} instructions)",
            Lost = [],
            Risks = risks,
        });
    }
}
