using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The way back through the trap handler: at the entry of <c>oops_end(flags, regs, signr)</c>, signr 0 is the kernel's own "handled" path, made for debuggers. It ends the console
/// burst, releases die_lock, restores the IRQ flag and returns to what pt_regs says (arch/x86/kernel/dumpstack.c). A NULL <c>regs</c> argument also keeps it from a loaded crash kernel.
/// </summary>
internal static class TrapReturn
{
    private const ulong TrapFlag = 1 << 8, DirectionFlag = 1 << 10, AlignmentCheck = 1 << 18;

    /// <summary>Flags to go on with: user access (AC, set by STAC), a string instruction's direction and single stepping belong to the abandoned code.</summary>
    public static ulong CleanFlags(ulong flags) => flags & ~(TrapFlag | DirectionFlag | AlignmentCheck);

    /// <summary>True where the handler goes straight back after oops_end. The handlers behind do_error_trap (#UD, #DE, …) send the current process a signal first
    /// (arch/x86/kernel/traps.c, do_trap), which would kill what is to live; handle_stack_overflow() panics after it. exc_int3 is entered like an NMI, and takes that back itself on its way out.</summary>
    public static bool IsSilent(CrashEvidence evidence) => evidence is { TrapEntry: "asm_exc_page_fault" or "asm_exc_general_protection" or "asm_exc_int3", IsGuardHit: false };

    /// <summary>Registers that make oops_end return as from a trap that was handled.</summary>
    public static IReadOnlyList<PlannedRegister> Handled(CrashEvidence evidence)
    {
        int vcpu = evidence.Vcpu.Vcpu;
        var registers = new List<PlannedRegister>
        {
            new(vcpu, WritableRegister.Rdx, 0, "oops_end argument signr: handled"),
            new(vcpu, WritableRegister.Rsi, 0, "oops_end argument regs: no crash kernel"),
        };
        if (evidence.Point.EntryNopLength > 0)
            registers.Add(new(vcpu, WritableRegister.Rip, evidence.Point.Address + (ulong)evidence.Point.EntryNopLength, "past the stop"));
        return registers;
    }

    /// <summary>Memory and register writes that make the guest go on at <paramref name="next"/>; the caller fills in kind, explanation, losses and risks.</summary>
    public static RepairPlan Plan(CrashEvidence evidence, PtRegs next)
    {
        byte[] bytes = new byte[PtRegs.Size];
        next.Write(bytes);
        return new RepairPlan
        {
            Kind = RepairKind.None,
            Explanation = "",
            Writes = [new PlannedWrite(new VirtualAddress(evidence.PtRegsAddress), bytes, "pt_regs: where the trap returns to")],
            Registers = Handled(evidence),
            Lost = [],
            Risks = [],
        };
    }
}
