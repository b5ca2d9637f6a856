namespace Panacea.Kernel.Holdings;

/// <summary>A lock of the caller that was given back.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Call">Guest-virtual address of the call, and one more for the second of two that it gives back.</param>
internal readonly record struct GivenLock(HoldingKind Kind, ulong Call);

/// <summary>What is held before an instruction, on all ways or on some from the function's entry to there. Never changed: each step makes another one.</summary>
/// <param name="Held">On all ways, in the order in which it was taken.</param>
/// <param name="May">On some ways only, or taken by a call whose result decides.</param>
/// <param name="GivenBack">Locks of the caller that were given back, on some way: kinds.</param>
/// <param name="Perhaps">Of those: on some ways only.</param>
/// <param name="Preempt">What inlined code has added to the preempt count.</param>
/// <param name="IsPreemptKnown">That is the same on all ways.</param>
/// <param name="Interrupts">What has become of the interrupt flag.</param>
/// <param name="Outer">What it was outside each of the sections in which locks are held that have turned interrupts off, the outermost first.</param>
/// <param name="Doubts">Instructions by which something may have been taken.</param>
/// <param name="Reference">An atomic count may have been raised.</param>
internal sealed record HoldingState(
    IReadOnlyList<Holding> Held, IReadOnlyList<Holding> May, IReadOnlyList<GivenLock> GivenBack, IReadOnlyList<GivenLock> Perhaps, int Preempt, bool IsPreemptKnown, InterruptChange Interrupts, IReadOnlyList<InterruptChange> Outer, IReadOnlyList<string> Doubts, bool Reference)
{
    private const int MaxDoubts = 8;

    /// <summary>Things held at once; more is a loop that takes without giving back.</summary>
    private const int MaxHeld = 32;

    /// <summary>Where a function begins.</summary>
    public static HoldingState Entry { get; } = new([], [], [], [], 0, true, InterruptChange.None, [], [], false);

    /// <summary>The account for others.</summary>
    public FrameHoldings ToHoldings() => new(Held, May, IsPreemptKnown ? Preempt : null, Interrupts, Doubts, Reference) { GivenBack = [.. GivenBack.Select(g => g.Kind)], PerhapsGivenBack = [.. Perhaps.Select(g => g.Kind).Distinct()] };

    /// <summary>After a call of a lock function.</summary>
    /// <param name="at">Guest-virtual address of the call.</param>
    /// <param name="name">The function.</param>
    /// <param name="function">What it does.</param>
    /// <param name="isSame">Two calls, by their addresses, are made with the same argument.</param>
    public HoldingState Call(ulong at, string name, LockFunction function, Func<ulong, ulong, bool> isSame)
    {
        HoldingState state = function.Preempt == 0 ? this : this with { Preempt = Preempt + function.Preempt };
        if (!function.Takes)
            return function.Preempt != 0 ? state : function.Also is { } second ? state.Give(at, function, isSame).Give(at + 1, function with { Kind = second, Interrupts = InterruptChange.None }, isSame) : state.Give(at, function, isSame);
        var holding = new Holding(function.Kind, at, name, function.Argument) { Pair = function.Pair };
        state = state.Take(holding, function, isSame);
        return function.Also is { } also ? state.Take(holding with { Kind = also, Argument = LockFunction.Inner - 1 }, function with { Kind = also, Interrupts = InterruptChange.None }, isSame) : state;
    }

    /// <summary>What holds on the way that is taken when the result of a call is known to be zero, or not to be.</summary>
    /// <param name="call">Guest-virtual address of the call.</param>
    /// <param name="when">What is known of its result.</param>
    /// <param name="function">What the called function does.</param>
    public HoldingState Decide(ulong call, TakenWhen when, LockFunction function)
    {
        if (function.When is TakenWhen.Sometimes or TakenWhen.Always)
            return this;
        List<Holding> decided = [.. May.Where(h => h.Call == call)];
        if (decided.Count == 0)
            return this;
        HoldingState state = this with { May = [.. May.Where(h => h.Call != call)] };
        if (when == function.When)
            return state with { Held = [.. Held, .. decided], Interrupts = function.Interrupts == InterruptChange.None ? Interrupts : function.Interrupts };

        // It has left the interrupt flag as it was.
        return function.Interrupts != InterruptChange.None && Outer.Count > 0 ? state with { Interrupts = Outer[^1], Outer = [.. Outer.SkipLast(1)] } : state;
    }

    /// <summary>What holds where some of what was taken is known not to be.</summary>
    public HoldingState Without(Func<Holding, bool> taken) => this with { Held = [.. Held.Where(h => !taken(h))], May = [.. May.Where(h => !taken(h))] };

    /// <summary>One doubt more.</summary>
    public HoldingState Doubt(string what) => Doubts.Count >= MaxDoubts || Doubts.Contains(what) ? this : this with { Doubts = [.. Doubts, what] };

    /// <summary>It says the same.</summary>
    public bool IsSame(HoldingState other) => Preempt == other.Preempt && IsPreemptKnown == other.IsPreemptKnown && Interrupts == other.Interrupts && Reference == other.Reference
        && Held.SequenceEqual(other.Held) && May.SequenceEqual(other.May) && GivenBack.SequenceEqual(other.GivenBack) && Perhaps.SequenceEqual(other.Perhaps) && Outer.SequenceEqual(other.Outer) && Doubts.SequenceEqual(other.Doubts);

    /// <summary>What holds where two ways meet; null where nothing changes for this one.</summary>
    public HoldingState? Merge(HoldingState other)
    {
        HoldingState merged = MergeHeld(other);
        foreach (GivenLock given in other.GivenBack)
        {
            if (!merged.GivenBack.Contains(given))
                merged = merged with { GivenBack = [.. merged.GivenBack, given] };
        }

        foreach (GivenLock perhaps in GivenBack.Except(other.GivenBack).Concat(other.GivenBack.Except(GivenBack)).Concat(other.Perhaps))
        {
            if (!merged.Perhaps.Contains(perhaps))
                merged = merged with { Perhaps = [.. merged.Perhaps, perhaps] };
        }

        if (merged.IsPreemptKnown && (!other.IsPreemptKnown || other.Preempt != Preempt))
            merged = merged with { IsPreemptKnown = false };
        if (merged.Interrupts != other.Interrupts && merged.Interrupts != InterruptChange.Unknown)
            merged = merged with { Interrupts = Restores(merged.Interrupts, other.Interrupts, Outer.Count > 0 && other.Outer.Count > 0) };

        // Where ways differ in how deep they are, or in what is outside, that is known no longer.
        if (!Outer.SequenceEqual(other.Outer))
        {
            IReadOnlyList<InterruptChange> outer = [.. Outer.Zip(other.Outer, (a, b) => a == b ? a : InterruptChange.Unknown)];
            if (!outer.SequenceEqual(Outer))
                merged = merged with { Outer = outer };
        }

        foreach (string doubt in other.Doubts)
            merged = merged.Doubt(doubt);
        if (other.Reference && !merged.Reference)
            merged = merged with { Reference = true };
        return ReferenceEquals(merged, this) ? null : merged;
    }

    /// <summary>What is held on both ways is held: also where it was taken by one call on the one way and by another on the other.</summary>
    private HoldingState MergeHeld(HoldingState other)
    {
        List<Holding> theirs = [.. other.Held];
        List<Holding> held = [], may = [.. May];
        bool changed = false;
        foreach (Holding mine in Held)
        {
            int at = theirs.FindIndex(h => mine.Covers(h));
            if (at < 0)
                at = theirs.FindIndex(h => h.Kind == mine.Kind && h.Pair == mine.Pair && !Held.Any(m => m.Covers(h)));
            if (at >= 0)
            {
                held.Add(mine.Or(theirs[at]));
                theirs.RemoveAt(at);
                changed |= held[^1] != mine;
                continue;
            }

            changed = true;
            if (!may.Contains(mine))
                may.Add(mine);
        }

        foreach (Holding their in theirs.Concat(other.May))
        {
            if (held.Contains(their) || may.Exists(h => h.Covers(their)) || may.Count >= MaxHeld)
                continue;
            may.Add(their);
            changed = true;
        }

        return changed ? this with { Held = held, May = may } : this;
    }

    private HoldingState Take(in Holding holding, LockFunction function, Func<ulong, ulong, bool> isSame)
    {
        // Whether one that may fail has turned them off is known when its result is looked at.
        HoldingState state = function.Interrupts == InterruptChange.None ? this : this with { Interrupts = function.When == TakenWhen.Always ? function.Interrupts : InterruptChange.Unknown, Outer = Outer.Count < MaxHeld ? [.. Outer, Interrupts] : Outer };

        // What it had given back for its caller is its caller's again. Whether another one is, is not known where the code does not show that it is another.
        ulong call = holding.Call;
        List<GivenLock> given = [.. GivenBack.Where(g => g.Kind == function.Kind)];
        if (given.Exists(g => isSame(g.Call, call)) && function.When == TakenWhen.Always)
            return state with { GivenBack = [.. GivenBack.Where(g => g.Kind != function.Kind || !isSame(g.Call, call))], Perhaps = [.. Perhaps.Where(g => g.Kind != function.Kind || !isSame(g.Call, call))] };
        if (given.Count > 0)
            state = state with { Perhaps = [.. Perhaps, .. given.Where(g => !Perhaps.Contains(g))] };
        if (Held.Contains(holding) || May.Contains(holding) || Held.Count + May.Count >= MaxHeld)
            return state;
        return function.When == TakenWhen.Always ? state with { Held = [.. Held, holding] } : state with { May = [.. May, holding] };
    }

    /// <summary>Gives back what of that kind was taken with the same argument, or the only one there is. Where there are several, and the code does not show which, each may be the one.</summary>
    private HoldingState Give(ulong at, LockFunction function, Func<ulong, ulong, bool> isSame)
    {
        HoldingState state = this;
        if (function.Interrupts != InterruptChange.None)
        {
            state = this with
            {
                Interrupts = Outer.Count == 0 ? function.Interrupts : function.Interrupts == InterruptChange.Restored ? Outer[^1] : Outer[^1] is InterruptChange.Off or InterruptChange.Unknown ? InterruptChange.On : InterruptChange.OnAgain,
                Outer = Outer.Count > 0 ? [.. Outer.SkipLast(1)] : Outer,
            };
        }

        if (state.TryStrike(at, function.Kind, function.Pair, isSame, out HoldingState without))
            return without;

        // Bottom halves turned off or on by themselves, and the lock taken or given back with the other of its two functions.
        if (Other(function.Kind) is { } kin && (LockFunctions.PreemptCountOf(kin) > LockFunctions.PreemptCountOf(function.Kind) || Preempt > 0 || !IsPreemptKnown) && state.TryStrike(at, kin, null, isSame, out without))
            return without with { Preempt = without.Preempt + LockFunctions.PreemptCountOf(kin) - LockFunctions.PreemptCountOf(function.Kind) };
        var given = new GivenLock(function.Kind, at);
        return IsLock(function.Kind) && !GivenBack.Contains(given) ? state with { GivenBack = [.. GivenBack, given] } : state;
    }

    private bool TryStrike(ulong at, HoldingKind kind, string? pair, Func<ulong, ulong, bool> isSame, out HoldingState without)
    {
        List<Holding> candidates = [.. Held.Concat(May).Where(h => h.Kind == kind && h.Pair == pair)];
        List<Holding> same = candidates.Count > 1 ? [.. candidates.Where(h => h.Calls.Any(call => isSame(call, at)))] : candidates;
        if (candidates.Count == 0)
        {
            without = this;
            return false;
        }

        Holding gone = same.Count == 1 ? same[0] : Held.LastOrDefault(h => h.Kind == kind && h.Pair == pair, candidates[^1]);
        HoldingState rest = Without(h => h == gone);
        if (same.Count != 1)
        {
            List<Holding> unsure = [.. rest.Held.Where(h => h.Kind == kind && h.Pair == pair)];
            rest = rest with { Held = [.. rest.Held.Except(unsure)], May = [.. rest.May, .. unsure.Where(h => !rest.May.Contains(h))] };
        }

        without = rest;
        return true;
    }

    /// <summary>The kind of the same lock with bottom halves off, or without; null where there is none.</summary>
    private static HoldingKind? Other(HoldingKind kind) => kind switch
    {
        HoldingKind.Spinlock => HoldingKind.SpinlockBh,
        HoldingKind.SpinlockBh => HoldingKind.Spinlock,
        HoldingKind.RwlockRead => HoldingKind.RwlockReadBh,
        HoldingKind.RwlockReadBh => HoldingKind.RwlockRead,
        HoldingKind.RwlockWrite => HoldingKind.RwlockWriteBh,
        HoldingKind.RwlockWriteBh => HoldingKind.RwlockWrite,
        _ => null,
    };

    /// <summary>Sections, handles and plugs are not passed on from one function to another so.</summary>
    private static bool IsLock(HoldingKind kind) => kind is not (HoldingKind.Rcu or HoldingKind.Journal or HoldingKind.Plug or HoldingKind.Other);

    /// <summary>local_irq_restore is a conditional STI: on one way it is on again, on the other it stays off, as it was: off, where that is within a section of a lock that has turned them off. Where a lock was taken
    /// with interrupts on for sure, they are on again behind it.</summary>
    private static InterruptChange Restores(InterruptChange a, InterruptChange b, bool isWithin) => (a, b) switch
    {
        (InterruptChange.Off, InterruptChange.On) or (InterruptChange.On, InterruptChange.Off) => isWithin ? InterruptChange.Off : InterruptChange.Restored,
        (InterruptChange.None or InterruptChange.Restored or InterruptChange.OnAgain, InterruptChange.None or InterruptChange.Restored or InterruptChange.OnAgain) => InterruptChange.Restored,
        (InterruptChange.On, InterruptChange.OnAgain) or (InterruptChange.OnAgain, InterruptChange.On) => InterruptChange.On,
        _ => InterruptChange.Unknown,
    };
}
