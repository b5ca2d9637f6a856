using Iced.Intel;
using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The crashed function goes on where it crashed, with the registers that it should have had. A replay of the call from its entry, over a copy of memory, comes by the place of the crash: what it has in registers and on
/// its stack there is what the code makes of memory as it is now. Where that differs from what the CPU had, the CPU was wrong (a register that a mistake has changed, a value read while it was wrong). Nothing
/// is done twice, nothing is given back, nothing is lost.
/// </summary>
internal static class Resumption
{
    /// <summary>Values that may differ where the code comes by the place of the crash more often than once: a mistake changes one, and what was computed from it.</summary>
    private const int MaxDifferences = 2;

    /// <summary>Stretches that are tried, each shorter than the one before.</summary>
    private const int MaxStretches = 4;

    /// <summary>Instructions looked at for one that reads a flag.</summary>
    private const int MaxFlagReach = 32;

    /// <summary>Differences that are named.</summary>
    private const int MaxShown = 4;

    /// <summary>Replays the call of one frame's function up to the place of the crash.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="index">The frame.</param>
    /// <param name="most">Instructions that may be executed.</param>
    /// <param name="left">Takes off those that were.</param>
    /// <param name="isStillThere">The replay has crashed as the call did: so it would if it were made again.</param>
    /// <returns>A plan, or why there is none: then the call may still be made again.</returns>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, int index, int most, ref int left, out bool isStillThere)
    {
        isStillThere = false;
        string function = evidence.LocationOf(evidence.Stack.Frames[index])?.Name ?? $"the function at 0x{evidence.Stack.Frames[index].Ip:x}";
        if (evidence.Hang is not null || evidence.Point.Symbol != "oops_end")
            return StrategyVerdict.Declines("no instruction has trapped");
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, index, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"the state in which {function} was called can't be proved: {decline}");
        if (!CallReplay.TryRun(Input(evidence, index, state, most), out ReplayResult replay, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        left -= replay.Instructions + 1;
        isStillThere = replay.Verdict == ReplayVerdict.Crashes && replay.At == evidence.Crash.Ip;
        if (replay.Verdict != ReplayVerdict.Passes)
            return StrategyVerdict.Declines($"{function}, called again over a copy of memory, {replay.Why} at {evidence.Kernel.Image.Symbolize(replay.At)?.ToString() ?? $"0x{replay.At:x}"}{(isStillThere ? ": what made it crash is still there" : "")}");
        if (Choose(evidence, replay) is not { } point)
            return StrategyVerdict.Declines($"{function} comes by the place of the crash {replay.Points.Count} times or more: which of them the crash was in can't be told");
        return Plan(evidence, point, replay, $"{function}, from its entry");
    }

    /// <summary>Replays what one frame's function has done since its last call: that is less, and needs to know less.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="index">The frame.</param>
    /// <param name="most">Instructions that may be executed.</param>
    /// <param name="left">Takes off those that were.</param>
    /// <returns>A plan, or why there is none.</returns>
    public static StrategyVerdict EvaluateLast(CrashEvidence evidence, int index, int most, ref int left)
    {
        StackFrame frame = evidence.Stack.Frames[index];
        if (evidence.Hang is not null || evidence.Point.Symbol != "oops_end" || !evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts function))
            return StrategyVerdict.Declines("no instruction has trapped");
        ulong end = frame.Ip;
        if (!frame.IsTrap && (!CallSites.TryFindCallBefore(evidence.Analysis.Code, function, frame.Ip, out CallSite call) || (end = call.Address) == 0))
            return StrategyVerdict.Declines("the call can't be found in its caller's code");
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, index, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"where {function.Main.Name} returns to can't be told: {decline}");
        ReplayInput input = Input(evidence, index, state, most);
        KnownRegisters registers = default;
        if (frame.IsTrap)
            registers = KnownRegisters.All(evidence.Crash.Gpr);
        else
            FrameRegisters.TryRecover(evidence.Analysis, evidence.Stack.Frames, index, out registers, out _);
        var derived = DerivedValues.Of(Derivation(evidence, input), function);
        bool isPutRight = PutRight(evidence, derived, end, ref registers);
        ReplayResult? replay = null;
        ulong after = 0;
        for (int attempt = 0; attempt < MaxStretches; attempt++)
        {
            KnownRegisters from = registers;
            ulong start = end;
            if (LastStretch.TryFind(evidence.Analysis.Code, function, evidence.Analysis.Hints, end, out LastStretch stretch, after))
            {
                start = stretch.Start;
                foreach (Gpr written in stretch.Written)
                    from[written] = null;

                // Near where the function begins there is what it was called with.
                foreach (DerivedValue one in (derived?.Find(start, KnownRegisters.Arguments.ToArray().Where(r => !frame.IsTrap || stretch.Written.Contains(r))) ?? []).Where(d => !d.IsLoaded))
                    from[one.Register] = one.Value;
                CallReplay.Learn(input, start, end, ref from);
            }
            else if (!isPutRight)
            {
                break;
            }

            replay = CallReplay.RunPart(input with { Interrupts = InterruptsAt(evidence, function, start, input.Interrupts) }, start, from, isDone: true);
            left -= replay.Instructions + 1;

            // What depends on the result of the call before, as a branch on it, need not be executed again: less of it may be enough.
            if (replay.Verdict != ReplayVerdict.Unknown || replay.At < start || replay.At >= end)
                break;
            after = replay.At;
        }

        if (replay is null)
            return StrategyVerdict.Declines($"{function.Main.Name} has done nothing since its last call");
        if (replay.Verdict != ReplayVerdict.Passes || replay.Points.Count == 0)
            return StrategyVerdict.Declines($"{function.Main.Name}, replayed from its last call, {replay.Why} at {evidence.Kernel.Image.Symbolize(replay.At)?.ToString() ?? $"0x{replay.At:x}"}");
        return Plan(evidence, replay.Points[0], replay, $"{function.Main.Name}, from its last call");
    }

    /// <summary>The interrupt flag at an instruction of a function, as its code has left it since it was called; null where that can't be told.</summary>
    private static bool? InterruptsAt(CrashEvidence evidence, in FunctionParts function, ulong at, bool? called) =>
        !evidence.Holdings.TryFind(function, CodePoint.Trap(at), out FrameHoldings holdings, out _) ? null : holdings.Interrupts switch
        {
            InterruptChange.Off => false,
            InterruptChange.On or InterruptChange.OnAgain => true,
            InterruptChange.None or InterruptChange.Restored => called,
            _ => null,
        };

    /// <summary>Gives registers what the function's code has put into them: a callee may not have given them back as they were.</summary>
    /// <returns>One of them held something else.</returns>
    private static bool PutRight(CrashEvidence evidence, DerivedValues? derived, ulong at, ref KnownRegisters registers)
    {
        bool isChanged = false;
        foreach (DerivedValue one in derived?.Find(at, KnownRegisters.CalleeSaved.ToArray()) ?? [])
        {
            // What was read before may be another now: only what can't be right gives way to it.
            ulong? now = registers[one.Register];
            if (now == one.Value || (one.IsLoaded && (now is null || IsMemory(evidence, now.Value) || !IsMemory(evidence, one.Value))))
                continue;
            registers[one.Register] = one.Value;
            isChanged = true;
        }

        return isChanged;
    }

    private static DerivationInput Derivation(CrashEvidence evidence, ReplayInput input) => new()
    {
        Code = input.Analysis.Code,
        Hints = input.Analysis.Hints,
        Space = input.Space,
        Cache = input.Cache,
        GsBase = input.GsBase,
        Task = input.Task,
        Arguments = CallReplay.ArgumentsOf(input).ToDictionary(a => a.Register),
        IsPinned = !evidence.Crash.InterruptsEnabled || evidence.PreemptWord is > 0,
    };

    private static bool IsMemory(CrashEvidence evidence, ulong address) => new VirtualAddress(address).IsKernelHalf && evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(address), out _, out _);

    /// <summary>Handlers of interrupts are called with interrupts off (commit e58aa3d2d0cc, "genirq: Run irq handlers with interrupts disabled"), and functions of a task with interrupts on where nobody has turned
    /// them off, whatever a mistake has made of the flag since.</summary>
    private static ReplayInput Input(CrashEvidence evidence, int index, ReturnState state, int most) => Replays.Of(evidence, index, state, most) with
    {
        KeepsLocks = true,
        Task = evidence.Task?.Address ?? 0,
        Interrupts = evidence.Context == CrashContext.Hardirq ? false : (evidence.Crash.InterruptsEnabled && evidence.IsTasksOwn) || Surroundings.AreInterruptsOn(evidence, index) ? true : null,
    };

    /// <summary>The time that it came by which was the one that crashed.</summary>
    private static ReplayPoint? Choose(CrashEvidence evidence, ReplayResult replay)
    {
        // Where it had come by there before, what it stored then would be there the second time, too.
        if (replay.Points.Count == 1 && (!replay.IsRepeated || replay.HasReturned || replay.Arrivals > 1))
            return replay.Points[0];
        var ordered = replay.Points.Select(p => (Point: p, Differences: Differences(evidence, p).Count)).OrderBy(p => p.Differences).Take(2).ToList();
        return ordered.Count > 0 && ordered[0].Differences <= MaxDifferences && (ordered.Count == 1 || ordered[1].Differences > ordered[0].Differences) ? ordered[0].Point : null;
    }

    /// <summary>What differs, for a person: registers, and words of the stack.</summary>
    private static List<string> Differences(CrashEvidence evidence, ReplayPoint point)
    {
        var differences = new List<string>();
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
        {
            if (register != Gpr.Rsp && Compares(evidence, point, register) && point.Registers.TryGet(register, out ulong value) && value != evidence.Crash.Gpr[register])
                differences.Add($"{register.ToString().ToLowerInvariant()} 0x{value:x} instead of 0x{evidence.Crash.Gpr[register]:x}");
        }

        if (point.Interrupts is { } interrupts && interrupts != evidence.Crash.InterruptsEnabled)
            differences.Add($"interrupts {(interrupts ? "on instead of off" : "off instead of on")}");
        differences.AddRange(point.Stack.Select(s => $"{s.Bytes.Length} bytes of its stack at 0x{s.Address:x} as they should be"));
        return differences;
    }

    /// <summary>Between a branch and the trap behind it a message may have been printed: what a call may change tells nothing there.</summary>
    private static bool Compares(CrashEvidence evidence, ReplayPoint point, Gpr register) => point.Ip == evidence.Crash.Ip || KnownRegisters.CalleeSaved.Contains(register);

    private static StrategyVerdict Plan(CrashEvidence evidence, ReplayPoint point, ReplayResult replay, string how)
    {
        if (NeedsFlags(evidence, point.Ip))
            return StrategyVerdict.Declines("flags that were lost are looked at");
        var registers = new List<(Gpr, ulong)>();
        for (Gpr register = Gpr.Rcx; register <= Gpr.R15; register++)
        {
            if (register != Gpr.Rsp)
                registers.Add((register, point.Registers[register] ?? evidence.Crash.Gpr[register]));
        }

        var landing = new Landing(
            point.Ip, point.StackPointer, registers, WritableRegister.Rax, point.Registers[Gpr.Rax] ?? evidence.Crash.Gpr[Gpr.Rax], point.Interrupts ?? evidence.Crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []));
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        string where = evidence.Kernel.Image.Symbolize(point.Ip)?.ToString() ?? $"0x{point.Ip:x}";
        List<string> differences = Differences(evidence, point);
        string with = differences.Count == 0 ? "" : $" with {string.Join(", ", differences.Take(MaxShown))}{(differences.Count > MaxShown ? $" and {differences.Count - MaxShown} more" : "")}";
        var risks = new List<string> { "what wrong values had led to elsewhere before the crash stays" };
        if (!replay.HasReturned)
            risks.Add($"the replay ends behind the place of the crash, where it {replay.Why}");
        return StrategyVerdict.Applies(plan with
        {
            Kind = RepairKind.Retry,
            Confidence = replay.HasReturned ? Confidence.High : Confidence.Medium,
            Explanation = $"{where} goes on{with}: over a copy of memory {how}, comes by so ({replay.Instructions} instructions)",
            Writes = [.. point.Stack.Select(s => new PlannedWrite(new VirtualAddress(s.Address), s.Bytes, "stack as the code leaves it")), .. plan.Writes],
            Lost = [],
            Risks = risks,
        });
    }

    /// <summary>What is executed from there on may look at an arithmetic flag that was set before; also where that can't be told. AF nothing looks at in 64-bit mode.</summary>
    internal static bool NeedsFlags(CrashEvidence evidence, ulong from)
    {
        var pending = new Stack<(ulong At, RflagsBits Old)>([(from, RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.CF | RflagsBits.PF)]);
        var seen = new HashSet<(ulong, RflagsBits)>();
        byte[] code = new byte[15];
        for (int step = 0; pending.TryPop(out (ulong At, RflagsBits Old) here); step++)
        {
            if (!seen.Add(here))
                continue;
            int length = code.Length;
            while (length > 0 && !evidence.Kernel.Image.TryReadCode(here.At, code.AsSpan(..length)))
                length--;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(code, 0, length));
            decoder.IP = here.At;
            decoder.Decode(out Instruction instruction);
            if (step >= MaxFlagReach || instruction.IsInvalid || (instruction.RflagsRead & here.Old) != 0)
                return true;
            RflagsBits old = here.Old & ~instruction.RflagsModified;
            switch (instruction.FlowControl)
            {
                // No function passes flags on (System V ABI).
                case FlowControl.Call or FlowControl.IndirectCall or FlowControl.Return:
                    break;
                case var _ when old == RflagsBits.None:
                    break;
                case FlowControl.Next:
                    pending.Push((instruction.NextIP, old));
                    break;
                case FlowControl.UnconditionalBranch:
                    pending.Push((instruction.NearBranchTarget, old));
                    break;
                case FlowControl.ConditionalBranch:
                    pending.Push((instruction.NextIP, old));
                    pending.Push((instruction.NearBranchTarget, old));
                    break;
                default:
                    return true;
            }
        }

        return false;
    }
}
