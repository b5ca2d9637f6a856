using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// What the entry of a trap has told the kernel, and who takes it back where the CPU is led away from behind oops_end(), so that the trap's own way out is never gone: the function that every such entry ends with
/// (kernel/entry/common.c). The entry of a trap in the kernel's own mode switches neither GS nor CR3, nor for good a stack that anybody misses (arch/x86/entry/entry_64.S): nothing else is to be undone.
/// </summary>
/// <param name="Function">The function: <c>void f(struct pt_regs *regs, irqentry_state_t state)</c>.</param>
/// <param name="State">irqentry_state_t, passed by value: a union of two bools, the lowest byte of RSI.</param>
internal sealed record TrapExit(string Function, ulong State)
{
    /// <summary>A double fault is entered like an NMI: preempt count, RCU, tracing.</summary>
    private const string NmiExit = "irqentry_nmi_exit";

    /// <summary>Every other trap, over the idle task: RCU, which takes that for idle, is told that the CPU works (irqentry_enter), and has to be told that it does not any more: it counts, and would take the CPU for idle while it works, and
    /// for working while it is idle, for ever.</summary>
    private const string Exit = "irqentry_exit";

    private const ulong InterruptFlag = 1 << 9;

    /// <summary>Finds it.</summary>
    /// <param name="evidence">A crash at oops_end().</param>
    /// <param name="exit">Null where there is nothing to take back.</param>
    /// <param name="whyNot">Why it can't be taken back.</param>
    public static bool TryFind(CrashEvidence evidence, out TrapExit? exit, out string whyNot)
    {
        (exit, whyNot) = (null, "");
        if (!evidence.IsDoubleFault && evidence.Task is { Pid: not 0 })
            return true;
        if (!evidence.IsDoubleFault)
        {
            whyNot = evidence.Task is null ? "whether the crash is over the idle task, which RCU would have to be told of, can't be told"
                : evidence.IsCountedAsNmi ? "the trap was entered like an NMI"
                : !evidence.Kernel.HasSymbol(Exit) ? $"this kernel has no {Exit}() to leave a trap over the idle task by" : "";
            exit = new TrapExit(Exit, 1);
            return whyNot.Length == 0;
        }

        if (evidence.Crash.IsUserMode)
            whyNot = "the double fault came from user mode, which the kernel's page tables and GS were switched from";
        else if (!evidence.IsCountedAsNmi && !evidence.IsPast)
            whyNot = "the preempt count does not show that the double fault was entered like an NMI";
        else if (!evidence.Kernel.HasSymbol(NmiExit))
            whyNot = $"this kernel has no {NmiExit}() to leave a double fault by";

        // What lockdep is to think of interrupts, which it is there for only where it is built in.
        exit = new TrapExit(NmiExit, evidence.Kernel.HasSymbol("lockdep_hardirqs_on") && evidence.Crash.InterruptsEnabled ? 1UL : 0);
        return whyNot.Length == 0;
    }

    /// <summary>The step that calls it, on the trap's stack, which nobody needs any more, with interrupts off, as where it is called else.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="after">Where oops_end returns to.</param>
    /// <param name="stack">Where its return address lies.</param>
    /// <param name="flags">The flags of then.</param>
    public PlannedContinuation Call(CrashEvidence evidence, ulong after, ulong stack, ulong flags)
    {
        int vcpu = evidence.Vcpu.Vcpu;
        byte[] back = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(back, after);
        return new PlannedContinuation(
            after, stack + 8,
            [
                new(vcpu, WritableRegister.Rdi, evidence.PtRegsAddress, "registers of the trap"),
                new(vcpu, WritableRegister.Rsi, State, "state of its entry"),
                new(vcpu, WritableRegister.Rflags, ReturnState.CleanFlags(flags) & ~InterruptFlag, "flags"),
                new(vcpu, WritableRegister.Rsp, stack, "stack as of a call"),
                new(vcpu, WritableRegister.Rip, evidence.Kernel.Symbol(Function), Function),
            ],
            [new PlannedWrite(new VirtualAddress(stack), back, "return address")], "the return from oops_end");
    }
}
