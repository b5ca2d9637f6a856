using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>Where a repair leads the crashed CPU to, and with what.</summary>
/// <param name="Rip">Where it goes on.</param>
/// <param name="Rsp">Its stack pointer there.</param>
/// <param name="CalleeSaved">RBX, RBP, R12 to R15 there; those that are not given keep what the abandoned code has in them.</param>
/// <param name="Register">The register that carries a result or an argument.</param>
/// <param name="Value">Its value.</param>
/// <param name="Interrupts">The interrupt flag there.</param>
/// <param name="PreemptCount">The CPU's preempt count there; null where it is what abandoned frames leave of it when what they took is given back.</param>
/// <param name="Abandoned">What the abandoned frames hold.</param>
internal sealed record Landing(
    ulong Rip, ulong Rsp, IReadOnlyList<(Gpr Register, ulong Value)> CalleeSaved, WritableRegister Register, ulong Value, bool Interrupts, uint? PreemptCount, AbandonedFrames Abandoned)
{
    /// <summary>Where the functions that give something back have their frames, below what is not to be overwritten; null where that is right below <see cref="Rsp"/>, in the abandoned frames.</summary>
    public ulong? CallStack { get; init; }

    /// <summary>Arguments of the function that it goes on with, other than <see cref="Register"/>.</summary>
    public IReadOnlyList<(Gpr Register, ulong Value)> Arguments { get; init; } = [];

    /// <summary>Memory to be written when everything has been given back, before it goes on.</summary>
    public IReadOnlyList<PlannedWrite> AtEnd { get; init; } = [];

    /// <summary>The flags that code looks at are there as of the crash; otherwise they are as at a function's entry.</summary>
    public bool KeepsFlags { get; init; }

    /// <summary>The return of an abandoned function to its caller.</summary>
    /// <param name="state">Registers and stack as they are when it has just returned.</param>
    /// <param name="result">Its result; null where it has none.</param>
    /// <param name="interrupts">The interrupt flag there.</param>
    /// <param name="preemptCount">See <see cref="PreemptCount"/>.</param>
    /// <param name="abandoned">What the abandoned frames hold.</param>
    public static Landing OfReturn(ReturnState state, ulong? result, bool interrupts, uint? preemptCount, AbandonedFrames abandoned)
    {
        var saved = new List<(Gpr, ulong)>();
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            saved.Add((register, state.CalleeSaved[register]!.Value));
        return new Landing(state.Rip, state.Rsp, saved, WritableRegister.Rax, result ?? 0, interrupts, preemptCount, abandoned);
    }
}

/// <summary>
/// Makes the writes that lead a crashed CPU somewhere else. Locks that the abandoned frames hold are given back by the kernel's own functions, which the guest itself runs: the CPU goes to such
/// a function as if it had been called from where it is to go on; it comes back there, where it is stopped and sent to the next one, and at last goes on.
/// </summary>
internal static class ReturnPlan
{
    private const ulong TrapFlag = 1 << 8, InterruptFlag = 1 << 9, ResumeFlag = 1 << 16;

    /// <summary>Locks that are given back: each takes a stop.</summary>
    private const int MaxCalls = 64;

    private const string Arrival = "the return from the trap";

    /// <summary>The plan's writes, registers and further steps; kind, explanation, losses and risks are the caller's.</summary>
    /// <returns>False where it can't be done, and why.</returns>
    public static bool TryMake(CrashEvidence evidence, Landing target, out RepairPlan plan, out string whyNot)
    {
        plan = new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = [], Registers = [], Lost = [], Risks = [] };
        foreach (ulong stackPointer in (ulong[])[target.Rsp, target.CallStack ?? target.Rsp, evidence.Vcpu.Gpr[Gpr.Rsp]])
        {
            if (!CanBeStack(stackPointer))
            {
                whyNot = $"the stack pointer 0x{stackPointer:x} is none of a kernel's stack";
                return false;
            }
        }

        if (!SpinWait.TryLeave(evidence, out IReadOnlyList<PlannedWrite> leave, out whyNot) || !TryCalls(evidence, target.Abandoned.Locks, out List<(ulong Function, HeldLock Lock)> calls, out whyNot) || !TryPreemptCount(evidence, target, out PlannedWrite? count, out whyNot))
            return false;
        if (!HasRoom(evidence, target, out whyNot))
            return false;
        int vcpu = evidence.Vcpu.Vcpu;
        List<PlannedWrite> writes = [.. leave, .. count is null ? [] : new[] { count }, .. UsedUpStack.Mend(evidence)];
        var steps = new List<PlannedContinuation>();
        ulong atCrash = evidence.Point.Symbol == "oops_end" ? evidence.Crash.Flags : evidence.Vcpu.Rflags;
        ulong atEnd = ((target.KeepsFlags ? atCrash & ~(TrapFlag | ResumeFlag) : ReturnState.CleanFlags(atCrash)) & ~InterruptFlag) | (target.Interrupts ? InterruptFlag : 0);
        List<PlannedRegister> first = [.. target.CalleeSaved.Select(r => new PlannedRegister(vcpu, (WritableRegister)(int)r.Register, r.Value, "callee-saved register as the caller left it"))];
        if (target.CallStack is { } below)
        {
            // The trap's own frames lie there until it has returned: so the CPU is stopped once more where it goes on, before anything is written.
            first.AddRange(Arrive(vcpu, target, below, atCrash));
            for (int i = 0; i < calls.Count; i++)
            {
                steps.Add(new PlannedContinuation(
                    target.Rip, below, Call(vcpu, target, calls[i], LockFunctions.ReleaseSleeps(calls[i].Lock.Kind) ? atEnd : ReturnState.CleanFlags(atCrash)), [Slot(target)], i == 0 ? Arrival : Back(calls[i - 1].Lock)));
            }

            steps.Add(new PlannedContinuation(target.Rip, below, End(vcpu, target, atEnd), target.AtEnd, calls.Count == 0 ? Arrival : Back(calls[^1].Lock)));
        }
        else if (calls.Count == 0)
        {
            first.AddRange(End(vcpu, target, atEnd));
        }
        else
        {
            writes.Add(Slot(target));
            ulong? FlagsOf(int i) => LockFunctions.ReleaseSleeps(calls[i].Lock.Kind) ? atEnd : i == 0 ? ReturnState.CleanFlags(atCrash) : null;
            first.AddRange(Call(vcpu, target, calls[0], FlagsOf(0)));
            for (int i = 1; i < calls.Count; i++)
                steps.Add(new PlannedContinuation(target.Rip, target.Rsp, Call(vcpu, target, calls[i], FlagsOf(i)), [Slot(target)], Back(calls[i - 1].Lock)));
            steps.Add(new PlannedContinuation(target.Rip, target.Rsp, End(vcpu, target, atEnd), [], Back(calls[^1].Lock)));
        }

        if (evidence.Point.Symbol != "oops_end")
        {
            plan = plan with { Writes = writes, Registers = first, Continuations = steps };
            return true;
        }

        if (TrapReturn.IsSilent(evidence))
        {
            RepairPlan back = TrapReturn.Plan(evidence, Applied(evidence.Crash, first));
            plan = plan with { Writes = [.. writes, .. back.Writes], Registers = back.Registers, Continuations = steps };
            return true;
        }

        ulong stack = evidence.Vcpu.Gpr[Gpr.Rsp];
        if (!evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(stack), out ulong after, out _) || !evidence.Kernel.Image.IsText(after))
        {
            whyNot = "where oops_end returns to can't be told";
            return false;
        }

        if (!TrapExit.TryFind(evidence, out TrapExit? exit, out whyNot))
            return false;
        var left = new PlannedContinuation(after, stack + 8, first, writes, $"the return from {exit?.Function ?? "oops_end"}");
        plan = plan with { Registers = TrapReturn.Handled(evidence), Continuations = [.. exit is null ? [] : new[] { exit.Call(evidence, after, stack, atCrash) }, left, .. steps] };
        return true;
    }

    /// <summary>Where a stack is used up, what is called must not overwrite what it is given.</summary>
    private static bool HasRoom(CrashEvidence evidence, Landing target, out string whyNot)
    {
        whyNot = "";
        if (!UsedUpStack.Is(evidence) || target.CallStack is not { } below)
            return true;
        if (!UsedUpStack.TryRoom(evidence, out _, out whyNot))
            return false;
        if (target.Abandoned.Locks.FirstOrDefault(l => l.Kind == HoldingKind.Plug && l.Address < below) is { } plug)
            whyNot = $"the {plug.Shown} of {plug.Holder} lies where the stack is used up";
        return whyNot.Length == 0;
    }

    /// <summary>An address of the kernel's with others of it around.</summary>
    private static bool CanBeStack(ulong sp) => sp is >= 4096 and <= ulong.MaxValue - 4096 && new VirtualAddress(sp - 4096).IsKernelHalf;

    /// <summary>A stack pointer below everything that the crashed functions have on their stack; where they have used it up, below what they had when there was room.</summary>
    public static ulong StackBelow(CrashEvidence evidence)
    {
        const ulong room = 128;
        ulong lowest = UsedUpStack.Is(evidence) && UsedUpStack.TryRoom(evidence, out StackFrame frame, out _) ? unchecked(frame.Sp - 8) : evidence.Point.Symbol == "oops_end" ? evidence.Crash.Sp : evidence.Vcpu.Gpr[Gpr.Rsp];
        return unchecked(lowest - room) & ~15UL;
    }

    private static bool TryCalls(CrashEvidence evidence, IReadOnlyList<HeldLock> locks, out List<(ulong, HeldLock)> calls, out string whyNot)
    {
        calls = [];
        whyNot = "";
        if (locks.Count > MaxCalls)
        {
            whyNot = $"{locks.Count} locks are held, more than are given back one by one";
            return false;
        }

        foreach (HeldLock held in locks)
        {
            string? release = LockFunctions.ReleaseOf(held.Kind);
            if (release is null || !TryFindFunction(evidence, release, out ulong function))
            {
                whyNot = $"{held.Holder} holds {held.Shown}, and this kernel has no function to give it back";
                return false;
            }

            calls.Add((function, held));
        }

        return true;
    }

    /// <summary>In the kernel, or in the module that journals for file systems.</summary>
    private static bool TryFindFunction(CrashEvidence evidence, string name, out ulong address) =>
        evidence.Kernel.Image.TryFindSymbol(name, out address) || (name.StartsWith("jbd2_", StringComparison.Ordinal) && evidence.Kernel.Image.TryFindModuleSymbol("jbd2", name, out address));

    /// <summary>The write that makes the preempt count right, but for what the kernel's functions that give locks back take off it themselves.</summary>
    private static bool TryPreemptCount(CrashEvidence evidence, Landing target, out PlannedWrite? write, out string whyNot)
    {
        const uint NeedResched = 0x8000_0000;
        (write, whyNot) = (null, "");
        if (target.PreemptCount is null && target.Abandoned.PreemptCount == 0)
            return true;
        if (evidence.PreemptCountAddress is not { } address || !evidence.Kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint now, out _))
        {
            whyNot = "the preempt count can't be read";
            return false;
        }

        // What the handler has added it takes off itself: after the write where the trap returns by itself, before it where the CPU is led on from behind oops_end().
        bool isSilent = evidence.Point.Symbol == "oops_end" && TrapReturn.IsSilent(evidence);
        uint handler = isSilent ? evidence.HandlerPreemptCount : 0, gone = evidence.HandlerPreemptCount - handler;
        if ((now & ~NeedResched) < gone)
        {
            whyNot = "the preempt count has changed since";
            return false;
        }

        now -= gone;
        long wanted = target.PreemptCount is { } there
            ? there + target.Abandoned.PreemptCountOfLocks + handler
            : (now & ~NeedResched) - (long)target.Abandoned.PreemptCount;
        if (wanted is < 0 or > int.MaxValue)
        {
            whyNot = $"the preempt count 0x{now & ~NeedResched:x} is less than what the abandoned functions have added to it";
            return false;
        }

        uint value = (uint)wanted | (now & NeedResched);
        if (value == now)
            return true;
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        write = new PlannedWrite(new VirtualAddress(address), bytes, "preempt count without what the abandoned functions added");
        return true;
    }

    /// <summary>The word below the stack pointer holds where the kernel's function comes back to, as its return address.</summary>
    private static PlannedWrite Slot(Landing target)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, target.Rip);
        return new PlannedWrite(new VirtualAddress((target.CallStack ?? target.Rsp) - 8), bytes, "return address");
    }

    private static string Back(HeldLock held) => $"the return from giving back {held.Shown}";

    /// <summary>Where it goes on, not to run there yet: with interrupts off, so that none uses the stack.</summary>
    private static PlannedRegister[] Arrive(int vcpu, Landing target, ulong stack, ulong flags) =>
    [
        new(vcpu, WritableRegister.Rflags, ReturnState.CleanFlags(flags) & ~InterruptFlag, "flags"),
        new(vcpu, WritableRegister.Rsp, stack, "stack for giving things back"),
        new(vcpu, WritableRegister.Rip, target.Rip, "where it goes on"),
    ];

    private static List<PlannedRegister> End(int vcpu, Landing target, ulong flags) =>
    [
        new(vcpu, target.Register, target.Value, target.Register == WritableRegister.Rax ? "return value" : "argument"),
        .. target.Arguments.Select(a => new PlannedRegister(vcpu, (WritableRegister)(int)a.Register, a.Value, "argument")),
        new(vcpu, WritableRegister.Rflags, flags, "flags"),
        new(vcpu, WritableRegister.Rsp, target.Rsp, "stack as it is there"),
        new(vcpu, WritableRegister.Rip, target.Rip, "where it goes on"),
    ];

    private static List<PlannedRegister> Call(int vcpu, Landing target, (ulong Function, HeldLock Lock) call, ulong? flags)
    {
        var registers = new List<PlannedRegister>(5)
        {
            new(vcpu, WritableRegister.Rdi, call.Lock.Address, call.Lock.Shown),
            new(vcpu, WritableRegister.Rsp, (target.CallStack ?? target.Rsp) - 8, "stack as of a call"),
            new(vcpu, WritableRegister.Rip, call.Function, LockFunctions.ReleaseOf(call.Lock.Kind)!),
        };
        if (flags is { } f)
            registers.Add(new(vcpu, WritableRegister.Rflags, f, "flags"));
        return registers;
    }

    private static PtRegs Applied(PtRegs regs, IReadOnlyList<PlannedRegister> registers)
    {
        foreach (PlannedRegister register in registers)
        {
            regs = register.Register switch
            {
                WritableRegister.Rip => regs with { Ip = register.Value },
                WritableRegister.Rflags => regs with { Flags = register.Value },
                _ => regs.With((Gpr)(int)register.Register, register.Value),
            };
        }

        return regs;
    }
}
