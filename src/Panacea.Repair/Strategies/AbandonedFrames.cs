using System.Runtime.CompilerServices;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A lock that abandoned frames hold, as it was proved.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Address">Guest-virtual address; 0 for an RCU read-side section, which has none.</param>
/// <param name="Holder">The function that took it.</param>
/// <param name="Shown">The lock for a person: <c>mutex lock+0x8 [module]</c>.</param>
internal sealed record HeldLock(HoldingKind Kind, ulong Address, string Holder, string Shown);

/// <summary>A lock of which nobody can tell which it is that an abandoned frame holds, or whether it holds it.</summary>
/// <param name="Frame">Index of the frame.</param>
/// <param name="Holding">What was taken, by which call.</param>
/// <param name="Holder">The function that took it.</param>
/// <param name="Doubt">The sentence that says so.</param>
/// <param name="IsSure">It is held; else there are ways to where the frame stands on which it was not taken.</param>
internal sealed record UnnamedLock(int Frame, Holding Holding, string Holder, string Doubt, bool IsSure);

/// <summary>What the frames that a repair abandons hold: it has to be given back when nobody returns through them.</summary>
/// <param name="Locks">In the order in which they are to be given back: the one taken last first.</param>
/// <param name="PreemptCount">What inlined code of theirs has added to the preempt count.</param>
/// <param name="ChangedInterrupts">Some of them changed the interrupt flag and did not put it back: what it was at the outermost one's entry they do not tell.</param>
/// <param name="MayCountReference">A reference may be counted that nobody drops.</param>
/// <param name="Doubts">What can't be told; empty where the account is complete.</param>
internal sealed record AbandonedFrames(
    IReadOnlyList<HeldLock> Locks, int PreemptCount, bool ChangedInterrupts, bool MayCountReference, IReadOnlyList<string> Doubts)
{
    /// <summary>Locks of which the code and the registers do not tell which they are, or whether they are held. Each is one of <see cref="Doubts"/>, too.</summary>
    public IReadOnlyList<UnnamedLock> Unnamed { get; init; } = [];

    /// <summary>What each of the functions has added to the preempt count beside its locks is known.</summary>
    public bool IsCounted { get; init; } = true;

    /// <summary>Locks that functions further out had taken, and that have been given back for them: kinds.</summary>
    public IReadOnlyList<HoldingKind> GivenBack { get; init; } = [];

    /// <summary>Those of <see cref="Doubts"/> that are single instructions, by which a lock may have been taken.</summary>
    public IReadOnlyList<string> Atomics { get; init; } = [];

    /// <summary>Said where a journal handle is open that somebody has to end.</summary>
    internal const string OpenHandle = "a journal handle is open, and no function further out is seen to end it";

    /// <summary>What the held locks add to the preempt count.</summary>
    public int PreemptCountOfLocks => Locks.Sum(l => LockFunctions.PreemptCountOf(l.Kind));

    /// <summary>Risks of one kind that are said.</summary>
    private const int MaxDoubts = 4;

    /// <summary>", after … was given back": the middle of a sentence; empty where nothing was.</summary>
    public string Given => Locks.Count == 0 ? "" : $", after {string.Join(" and ", Locks.Select(l => l.Shown))} {(Locks.Count == 1 ? "was" : "were")} given back";

    /// <summary>Nothing can be told.</summary>
    public static AbandonedFrames Unknown(string why) => new([], 0, false, false, [why]);

    /// <summary>What all functions of the crashed stack hold: none of them comes back.</summary>
    public static AbandonedFrames All(CrashEvidence evidence) => evidence.FaultyFrame is { } faulty
        ? Of(evidence, Outermost(evidence, faulty))
        : Unknown(evidence.WhyNoFaultyFrame ?? "which functions hold what can't be told");

    /// <summary>Index of the outermost function of the crashed context.</summary>
    public static int Outermost(CrashEvidence evidence, int faulty)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        int last = faulty;
        while (last + 1 < frames.Count && frames[last + 1] is { IsTrap: false, Reliability: FrameReliability.Exact } next && next.Stack == frames[faulty].Stack)
            last++;
        return last;
    }

    /// <summary>What may stay held when none of the functions comes back, in sentences.</summary>
    public IEnumerable<string> StaysHeld(CrashEvidence evidence)
    {
        foreach (string doubt in Doubts.Take(MaxDoubts))
            yield return $"{doubt}, which then stays held";
        if (evidence.PreemptWord is { } word && word > PreemptCount + PreemptCountOfLocks)
            yield return "the task was in an atomic section: a spinlock that it held may stay locked";
    }

    /// <summary>The frames before <paramref name="outermost"/> and itself, from the faulty one outwards; those inside the faulty one do what they are told and hold nothing. Of a hang they may
    /// do anything, and one that waits for a spinlock has prepared for holding it.</summary>
    /// <param name="evidence">The crash, with a faulty frame.</param>
    /// <param name="outermost">Index of the last frame that is abandoned.</param>
    public static AbandonedFrames Of(CrashEvidence evidence, int outermost)
    {
        var locks = new List<HeldLock>();
        var doubts = new List<string>();
        var atomics = new List<string>();
        var unnamed = new List<UnnamedLock>();
        int preempt = 0;
        bool interrupts = false, reference = false, isCounted = true;
        FrameShare?[] shares = Shares.GetValue(evidence, e => new FrameShare?[e.Stack.Frames.Count]);
        IReadOnlyList<HoldingKind> given = [];
        for (int i = evidence.Hang is null ? evidence.FaultyFrame!.Value : 0; i <= outermost; i++)
        {
            FrameShare share = shares[i] ??= ShareOf(evidence, i, given);
            given = share.GivenBack;
            isCounted &= share.IsCounted;
            locks.AddRange(share.Locks);
            doubts.AddRange(share.Doubts);
            atomics.AddRange(share.Atomics);
            unnamed.AddRange(share.Unnamed);
            preempt += share.PreemptCount;
            interrupts |= share.ChangedInterrupts;
            reference |= share.MayCountReference;
        }

        OfTask(evidence, evidence.Holdings, outermost, locks, doubts);
        return new AbandonedFrames(locks, preempt, interrupts, reference, [.. doubts.Concat(atomics).Distinct()]) { Unnamed = unnamed, Atomics = atomics, GivenBack = given, IsCounted = isCounted };
    }

    /// <summary>What one frame adds to the account; see the members of <see cref="AbandonedFrames"/>.</summary>
    private sealed record FrameShare(IReadOnlyList<HeldLock> Locks, IReadOnlyList<string> Doubts, IReadOnlyList<string> Atomics, IReadOnlyList<UnnamedLock> Unnamed, int PreemptCount, bool ChangedInterrupts, bool MayCountReference)
    {
        /// <summary>What it has added to the preempt count is known.</summary>
        public bool IsCounted { get; init; } = true;

        /// <summary>What it and the frames further in have given back for those further out.</summary>
        public IReadOnlyList<HoldingKind> GivenBack { get; init; } = [];

        public static FrameShare Nothing { get; } = new([], [], [], [], 0, false, false);

        public static FrameShare Doubt(string what) => Nothing with { Doubts = [what], IsCounted = false };
    }

    /// <summary>By crash: each rung asks for the same frames, each as the outermost one in turn.</summary>
    private static readonly ConditionalWeakTable<CrashEvidence, FrameShare?[]> Shares = [];

    private static FrameShare ShareOf(CrashEvidence evidence, int i, IReadOnlyList<HoldingKind> given)
    {
        int faulty = evidence.FaultyFrame!.Value;
        StackFrame frame = evidence.Stack.Frames[i];
        if (!evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts function))
            return FrameShare.Doubt($"0x{frame.Ip:x} lies in no function");
        string name = function.Main.Name;

        // It stands where the scheduler has come back with preemption off (kernel/sched/core.c, schedule_preempt_disabled); its place in the queue is another matter.
        if (i < faulty && evidence.Hang is { Wait: not null })
            return FrameShare.Nothing with { PreemptCount = i == 0 && evidence.PreemptCount == 1 ? 1 : 0 };
        if (i < faulty && name.Contains("_lock_slowpath", StringComparison.Ordinal))
            return FrameShare.Nothing;
        if (i < faulty && LockFunctions.Find(name) is { Takes: true, IsHelper: false, Kind: not HoldingKind.Other } wanted)
            return FrameShare.Nothing with { PreemptCount = LockFunctions.PreemptCountOf(wanted.Kind), ChangedInterrupts = wanted.Interrupts != InterruptChange.None };
        if (!evidence.Holdings.TryFind(function, frame.Point, out FrameHoldings holdings, out Decline why))
            return FrameShare.Doubt($"what {name} holds can't be told: {why}");
        var locks = new List<HeldLock>();
        var doubts = new List<string>();
        var unnamed = new List<UnnamedLock>();
        if (holdings.PreemptCount is null)
            doubts.Add($"{name} may have disabled preemption");
        doubts.AddRange(holdings.Owed.Select(kind => $"{name} has given back a {NameOf(kind)} that it would take again for its caller"));
        doubts.AddRange(holdings.PerhapsGivenBack.Except(holdings.Owed).Select(kind => $"{name} may have given back a {NameOf(kind)} of its caller's"));
        if (i > 0 && WentOn(evidence, i, function) is { } doubt)
            doubts.Add(doubt);
        holdings = holdings.Without(given, out IReadOnlyList<HoldingKind> left);
        int beingGivenBack = 0;
        if (i > 0 && TryBeingGivenBack(evidence, i, function, holdings, out Holding leaving))
        {
            beingGivenBack = LockFunctions.PreemptCountOf(leaving.Kind);
            holdings = holdings with { Held = [.. holdings.Held.Where(h => h != leaving)] };
        }

        if (holdings.Held.Count + holdings.MayHold.Count > 0)
        {
            FrameRegisters.TryRecover(evidence.Analysis, evidence.Stack.Frames, i, out KnownRegisters registers, out _);
            foreach (Holding holding in holdings.Held)
                Resolve(evidence, function, frame, registers, holding, sure: true, locks, doubts, unnamed);
            foreach (Holding holding in holdings.MayHold)
                Resolve(evidence, function, frame, registers, holding, sure: false, locks, doubts, unnamed);
            locks.Reverse();
        }

        return new FrameShare(
            locks, doubts, [.. holdings.Doubts.Select(d => $"{name} may hold what it took by {d}")], unnamed, (holdings.PreemptCount ?? 0) + beingGivenBack, holdings.Interrupts is not (InterruptChange.None or InterruptChange.Restored or InterruptChange.OnAgain), holdings.MayCountReference)
        {
            GivenBack = [.. left, .. holdings.GivenBack],
            IsCounted = holdings.PreemptCount is not null,
        };
    }

    /// <summary>What it has called has jumped to the function further in, and is on no stack any more: it may have taken something before, or given it back.</summary>
    private static string? WentOn(CrashEvidence evidence, int i, in FunctionParts function)
    {
        StackFrame frame = evidence.Stack.Frames[i];
        if (frame.IsTrap || !CallSites.TryFindCallBefore(evidence.Analysis.Code, function, frame.Ip, out Kernel.Code.CallSite call) || call.Target is not { } target
            || !evidence.Analysis.Functions.TryFindFunction(evidence.Stack.Frames[i - 1].Point.LookupAddress, out FunctionParts inner) || inner.Main.Start == target
            || !evidence.Analysis.Functions.TryFindFunction(target, out FunctionParts called) || called.Main.Start != target
            || !evidence.Holdings.TryFindEnds(called, out IReadOnlyList<FunctionEnd> ends, out _))
            return null;
        return ends.Any(e => e.JumpsTo == inner.Main.Start && !e.Holdings.IsBalanced) ? $"{called.Main.Name}, which {function.Main.Name} has called, may have taken or given back something before it went on in {inner.Main.Name}" : null;
    }

    /// <summary>The function that it has called is one that gives a lock back, has cleared its word, and has not taken off yet what the lock has added to the preempt count (include/linux/spinlock_api_smp.h, __raw_spin_unlock()).</summary>
    private static bool TryBeingGivenBack(CrashEvidence evidence, int i, in FunctionParts function, FrameHoldings holdings, out Holding leaving)
    {
        leaving = default;
        StackFrame frame = evidence.Stack.Frames[i];
        if (frame.IsTrap || evidence.LocationOf(evidence.Stack.Frames[i - 1])?.Name is not { } inner || LockFunctions.Find(inner) is not { Takes: false, IsHelper: false } release || LockFunctions.PreemptCountOf(release.Kind) == 0)
            return false;
        for (int k = holdings.Held.Count - 1; k >= 0; k--)
        {
            if (holdings.Held[k].Kind != release.Kind)
                continue;
            leaving = holdings.Held[k];
            FrameRegisters.TryRecover(evidence.Analysis, evidence.Stack.Frames, i, out KnownRegisters registers, out _);
            try
            {
                return TryAddress(evidence, function, frame, registers, leaving, out ulong address) && IsHeld(evidence, leaving.Kind, address) == false;
            }
            catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
            {
                return false;
            }
        }

        return false;
    }

    /// <summary>Which lock it is, by the code and the registers.</summary>
    private static bool TryAddress(CrashEvidence evidence, FunctionParts function, StackFrame frame, KnownRegisters registers, Holding holding, out ulong address)
    {
        ulong? Read(ulong at) => evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _) ? value : null;
        List<ulong?> named = [.. holding.Calls.Select(call => LockArguments.TryFind(evidence.Analysis, function, frame.Point, registers, holding with { Call = call }, Read, out ulong found) ? found : (ulong?)null).Distinct()];
        address = named is [{ } only] ? only : 0;
        return address != 0;
    }

    /// <summary>What task_struct says that the task holds and none of the abandoned frames is seen to have taken: functions that have come back may have taken it for them.</summary>
    private static void OfTask(CrashEvidence evidence, HoldingsAnalysis analysis, int outermost, List<HeldLock> locks, List<string> doubts)
    {
        if (!evidence.IsTasksOwn)
            return;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;

        // A plug lies in the frame of whoever began it.
        if (OfTask(evidence, HoldingKind.Plug) is { } plug && !locks.Exists(l => l.Kind == HoldingKind.Plug) && frames[outermost].Cfa is { } end && plug < end && plug >= frames[0].Sp)
            locks.Add(new HeldLock(HoldingKind.Plug, plug, evidence.LocationOf(frames[outermost])?.Name ?? "it", NameOf(HoldingKind.Plug)));
        if (OfTask(evidence, HoldingKind.Journal) is null || locks.Exists(l => l.Kind == HoldingKind.Journal))
            return;
        for (int i = outermost + 1; i < frames.Count && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            if (evidence.Analysis.Functions.TryFindFunction(frames[i].Point.LookupAddress, out FunctionParts function) && analysis.TryFind(function, frames[i].Point, out FrameHoldings holdings, out _)
                && holdings.Held.Any(h => h.Kind == HoldingKind.Journal))
                return;
        }

        doubts.Add(OpenHandle);
    }

    /// <summary>What a member of task_struct points to; null where that is nothing, or can't be read.</summary>
    private static ulong? OfTask(CrashEvidence evidence, HoldingKind kind)
    {
        if (evidence.Task is not { } task || LockFunctions.TaskMemberOf(kind) is not { } member)
            return null;
        try
        {
            return evidence.Kernel.Read(task.Address, member) is > 0 and var pointer ? pointer : null;
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return null;
        }
    }

    private static void Resolve(
        CrashEvidence evidence, in FunctionParts function, StackFrame frame, in KnownRegisters registers, in Holding holding, bool sure, List<HeldLock> locks, List<string> doubts,
        List<UnnamedLock> unnamed)
    {
        string name = function.Main.Name;
        if (holding.Kind == HoldingKind.Rcu)
        {
            if (sure)
                locks.Add(new HeldLock(holding.Kind, 0, name, "an RCU read-side section"));
            else
                doubts.Add($"{name} may be in an RCU read-side section");
            return;
        }

        if (holding.Kind == HoldingKind.Other)
        {
            doubts.Add($"{name} may hold what it took through {holding.Function}, which Panacea does not know to give back");
            return;
        }

        if (LockFunctions.TaskMemberOf(holding.Kind) is not null)
        {
            if (!evidence.IsTasksOwn || OfTask(evidence, holding.Kind) is not { } own)
            {
                if (sure)
                    doubts.Add($"{name} should hold a {NameOf(holding.Kind)}, and its task says otherwise");
            }
            else if (sure)
            {
                locks.Add(new HeldLock(holding.Kind, own, name, NameOf(holding.Kind)));
            }
            else
            {
                doubts.Add($"{name} may hold a {NameOf(holding.Kind)}");
            }

            return;
        }

        if (!TryAddress(evidence, function, frame, registers, holding, out ulong address))
        {
            string doubt = $"{name} may hold a lock that it took through {holding.Function}; which can't be told";
            doubts.Add(doubt);
            unnamed.Add(new UnnamedLock(frame.Index, holding, name, doubt, sure));
            return;
        }

        string shown = $"{NameOf(holding.Kind)} {evidence.Kernel.Image.Symbolize(address)?.ToString() ?? $"0x{address:x}"}";
        bool? held;
        try
        {
            held = IsHeld(evidence, holding.Kind, address);
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            doubts.Add($"{name} may hold {shown}, which can't be read: {e.Message}");
            return;
        }

        if (held == true && (sure || ProvesOwner(holding.Kind)))
            locks.Add(new HeldLock(holding.Kind, address, name, shown));
        else if (sure)
            doubts.Add($"{name} should hold {shown}, and the lock says otherwise");
        else if (held != false)
        {
            doubts.Add($"{name} may hold {shown}");
            unnamed.Add(new UnnamedLock(frame.Index, holding, name, $"{name} may hold {shown}", IsSure: false));
        }
    }

    /// <summary>The kind for a person.</summary>
    internal static string NameOf(HoldingKind kind) => kind switch
    {
        HoldingKind.Mutex => "mutex",
        HoldingKind.RwsemRead or HoldingKind.RwsemWrite => "rw_semaphore",
        HoldingKind.Semaphore => "semaphore",
        HoldingKind.Spinlock or HoldingKind.SpinlockBh => "spinlock",
        HoldingKind.Journal => "journal handle",
        HoldingKind.Plug => "block plug",
        _ => "rwlock",
    };

    /// <summary>Kinds whose own word says which task holds them.</summary>
    internal static bool ProvesOwner(HoldingKind kind) => kind is HoldingKind.Mutex or HoldingKind.RwsemWrite;

    /// <summary>Nothing in the lock says that it is somebody else's.</summary>
    internal static bool MayBeTheirs(CrashEvidence evidence, HoldingKind kind, ulong address)
    {
        try
        {
            return !ProvesOwner(kind) || IsHeld(evidence, kind, address) == true;
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return false;
        }
    }

    /// <summary>What the lock's own words say: held (by the crashed task, where they tell by whom), or not.</summary>
    private static bool? IsHeld(CrashEvidence evidence, HoldingKind kind, ulong address)
    {
        LinuxKernel kernel = evidence.Kernel;
        ulong task = evidence.Task?.Address ?? 0;
        switch (kind)
        {
            case HoldingKind.Mutex:
                return task != 0 && Kernel.Subsystems.Locks.Mutex(kernel, address, TargetLimits.Default).Owner == task;
            case HoldingKind.RwsemWrite:
                LockState written = Kernel.Subsystems.Locks.RwSemaphore(kernel, address, TargetLimits.Default);
                return task != 0 && written is { OwnerIsHint: false, IsHeld: true } && written.Owner == task;
            case HoldingKind.RwsemRead:
                return Kernel.Subsystems.Locks.RwSemaphore(kernel, address, TargetLimits.Default).Readers > 0;
            case HoldingKind.Semaphore:
                return true;
            case HoldingKind.Spinlock or HoldingKind.SpinlockBh:
                // The lowest byte of the word is 1 while it is held (include/asm-generic/qspinlock_types.h), 3 where a virtual CPU sleeps until it is given back (kernel/locking/qspinlock_paravirt.h, _Q_SLOW_VAL).
                return (Word(kernel, address) & 0xff) is 1 or 3;
            case HoldingKind.RwlockWrite or HoldingKind.RwlockWriteBh:
                // 0xff in the lowest byte for a writer, readers from bit 9 on (include/asm-generic/qrwlock.h).
                return (Word(kernel, address) & 0xff) == 0xff;
            default:
                return Word(kernel, address) >> 9 != 0;
        }
    }

    private static uint Word(LinuxKernel kernel, ulong address) => kernel.Space.ReadUInt32(new VirtualAddress(address), "lock");
}
