using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>An instruction at which a CPU has trapped, executed once more on paper.</summary>
public static class TrappedInstruction
{
    private const ulong AlignmentCheck = 1 << 18;

    /// <summary>
    /// With the registers that the CPU had, and memory as it is now, it would not trap: what has trapped was something else. What traps does nothing before it does, so that everything is as it should be
    /// for the instruction to be executed.
    /// </summary>
    /// <param name="space">The kernel's address space, over memory that does not change meanwhile.</param>
    /// <param name="cache">What replays over the same memory have in common.</param>
    /// <param name="gsBase">Base of GS of the CPU.</param>
    /// <param name="ip">Guest-virtual address of the instruction.</param>
    /// <param name="registers">All registers at the trap.</param>
    /// <param name="flags">RFLAGS at the trap.</param>
    /// <returns>False where it would trap, and where that can't be told.</returns>
    public static bool ExecutesNow(AddressSpace space, ReplayCache cache, ulong gsBase, ulong ip, in GprFile registers, ulong flags)
    {
        // What may access user memory may find it paged out.
        if ((flags & AlignmentCheck) != 0)
            return false;
        var cpu = new ReplayCpu(new ReplayMemory(space, cache), gsBase, cache) { Ip = ip, Interrupts = true, Flags = ((uint)(flags & Arithmetic.All), Arithmetic.All) };
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
            cpu[register] = Bits.Of(registers[register]);
        return cpu.TryDecode(out Instruction instruction) && !instruction.IsPrivileged && (cpu.Step(instruction) == StepEnd.Done || cpu.IsAtDevice);
    }
}
