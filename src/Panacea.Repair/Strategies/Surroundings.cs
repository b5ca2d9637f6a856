using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>What must hold where an abandoned function returns to, as far as the frames around it tell.</summary>
/// <param name="Interrupts">The interrupt flag; null where it can't be told.</param>
/// <param name="PreemptCount">The CPU's preempt count; null where it can't be told.</param>
internal sealed record Surroundings(bool? Interrupts, uint? PreemptCount)
{
    /// <summary>Looks outwards from frame <paramref name="index"/> to the nearest place where flag and count are known, and at what the frames on the way have done to them.</summary>
    public static Surroundings Of(CrashEvidence evidence, int index, AbandonedFrames abandoned)
    {
        // In the usual case nothing was changed, and nothing has to be found out.
        if (!abandoned.ChangedInterrupts && evidence.PreemptWord is { } word && word == abandoned.PreemptCount + abandoned.PreemptCountOfLocks)
            return new Surroundings(!evidence.Crash.InterruptsEnabled && AreInterruptsOn(evidence, index) ? true : null, null);
        HoldingsAnalysis analysis = evidence.Holdings;
        bool? interrupts = null;
        int? count = 0;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        IReadOnlyList<HoldingKind> given = abandoned.GivenBack;
        for (int i = index + 1; i < frames.Count && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            // Nothing is held there.
            if (!evidence.Analysis.Functions.TryFindFunction(frames[i].Point.LookupAddress, out FunctionParts function))
                break;
            if (IsWayIn(function.Main.Name))
                return new Surroundings(interrupts ?? true, count is { } c ? (uint)Math.Max(0, c) : null);
            if (frames[i].IsTrap || !analysis.TryFind(function, frames[i].Point, out FrameHoldings holdings, out _))
                break;
            interrupts ??= HadOn(evidence, i, function.Main.Name);
            interrupts ??= holdings.Interrupts switch { InterruptChange.Off => false, InterruptChange.On or InterruptChange.OnAgain => true, _ => null };
            if (holdings.Interrupts == InterruptChange.Unknown && interrupts is null)
                break;
            holdings = holdings.Without(given, out IReadOnlyList<HoldingKind> left);
            given = [.. left, .. holdings.GivenBack];
            count = count is { } sum && holdings is { PreemptCount: { } inline, MayHold.Count: 0, Doubts.Count: 0 } ? sum + inline + holdings.Held.Sum(h => LockFunctions.PreemptCountOf(h.Kind)) : null;
            if (ReturnCandidate.BoundaryAbove(evidence, i) is { } boundary)
                return new Surroundings(interrupts ?? boundary.Interrupts, count is { } s && boundary.PreemptCount is { } b ? (uint)Math.Max(0, s + b) : null);
        }

        // Handlers of interrupts are called with interrupts off (kernel/irq/handle.c; commit e58aa3d2d0cc, "genirq: Run irq handlers with interrupts disabled"), and one that had turned them on would show.
        return new Surroundings(interrupts ?? (evidence is { Context: CrashContext.Hardirq, Crash.InterruptsEnabled: false } ? false : null), null);
    }

    /// <summary>
    /// Whether a task had interrupts on where frame <paramref name="index"/>'s function was called: no function further out has turned them off, and no lock is held whose function may have. A crash with interrupts
    /// off says nothing of that: a mistake may have left them off.
    /// </summary>
    public static bool AreInterruptsOn(CrashEvidence evidence, int index)
    {
        if (!evidence.IsTasksOwn || evidence.PreemptWord is not { } word)
            return false;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        long count = 0;
        bool areOn = false;
        IReadOnlyList<HoldingKind> given = [];
        for (int i = evidence.FaultyFrame ?? 0; i < frames.Count && frames[i].Reliability == FrameReliability.Exact && frames[i].Stack == frames[index].Stack; i++)
        {
            if (!evidence.Analysis.Functions.TryFindFunction(frames[i].Point.LookupAddress, out FunctionParts function))
                return false;

            // A lock that is not accounted for shows in the count.
            if (i > index && (IsWayIn(function.Main.Name) || (function.Main.Name == "exc_page_fault" && RegsOf(evidence, i) is { IsUserMode: true })))
                return count == word;
            if ((i > index && frames[i].IsTrap) || !evidence.Holdings.TryFind(function, frames[i].Point, out FrameHoldings holdings, out _))
                return false;
            holdings = holdings.Without(given, out IReadOnlyList<HoldingKind> left);
            given = [.. left, .. holdings.GivenBack];
            count += (holdings.PreemptCount ?? 0) + holdings.Held.Sum(h => LockFunctions.PreemptCountOf(h.Kind));
            if (i <= index || areOn)
                continue;
            bool? had = HadOn(evidence, i, function.Main.Name);
            if (had is null ? holdings.Interrupts is InterruptChange.Off or InterruptChange.Unknown : had == false)
                return false;
            areOn = had == true || holdings.Interrupts is InterruptChange.On or InterruptChange.OnAgain;
        }

        return false;
    }

    /// <summary>
    /// Functions that are known to call others with interrupts on or off: what deals with a page fault turns them on where they were on when the fault came (do_user_addr_fault(), arch/x86/mm/fault.c),
    /// and the entry of an interrupt never does, whatever its handler has done (arch/x86/include/asm/idtentry.h, DEFINE_IDTENTRY_SYSVEC). Null for all others.
    /// </summary>
    private static bool? HadOn(CrashEvidence evidence, int index, string function) =>
        function == "do_user_addr_fault" ? RegsOf(evidence, index)?.InterruptsEnabled
        : function == "common_interrupt" || function.StartsWith("sysvec_", StringComparison.Ordinal) ? false : null;

    /// <summary>The registers of what was interrupted, by the way in on which frame <paramref name="index"/> lies; null where they are not there.</summary>
    private static PtRegs? RegsOf(CrashEvidence evidence, int index)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = index + 1; i < frames.Count; i++)
        {
            if (frames[i].Reliability != FrameReliability.Exact || frames[i].IsTrap)
                return frames[i].Regs;
        }

        return evidence.Stack.UserRegs;
    }

    /// <summary>The ways in from user space begin with interrupts on, or turn them on before anything else (arch/x86/entry/common.c), and so do kernel threads.</summary>
    private static bool IsWayIn(string function) => function is "do_syscall_64" or "do_int80_syscall_32" or "do_fast_syscall_32" or "ret_from_fork" or "ret_from_fork_asm";
}
