using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A CPU that stands at the beginning of a function calls others first, as if they had been called where that one was.</summary>
internal static class InterruptedCpu
{
    /// <summary>Registers of arguments, in their order (System V ABI).</summary>
    private static readonly Gpr[] Arguments = [Gpr.Rdi, Gpr.Rsi, Gpr.Rdx, Gpr.Rcx];

    /// <summary>The CPU calls a function once for each list of arguments, and then does what it was about to; a stop for each. Kind, explanation, losses and risks are the caller's.</summary>
    /// <param name="evidence">The CPU: <see cref="CrashEvidence.Vcpu"/> stands at the first instruction of a function that has at most four arguments.</param>
    /// <param name="function">The function's name.</param>
    /// <param name="address">Guest-virtual address of it.</param>
    /// <param name="calls">Its arguments, at most four, of each call.</param>
    public static RepairPlan Calls(CrashEvidence evidence, string function, ulong address, IReadOnlyList<ulong[]> calls)
    {
        VcpuRegisters at = evidence.Vcpu;
        ulong stackPointer = at.Gpr[Gpr.Rsp];
        byte[] back = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(back, at.Rip);
        var slot = new PlannedWrite(new VirtualAddress(stackPointer - 8), back, $"return address of {function}(): what the CPU was about to do");
        List<PlannedRegister> Call(ulong[] arguments) =>
        [
            .. arguments.Select((value, i) => new PlannedRegister(at.Vcpu, (WritableRegister)(int)Arguments[i], value, $"argument {i + 1} of {function}()")),
            new(at.Vcpu, WritableRegister.Rsp, stackPointer - 8, "stack pointer as after a call"), new(at.Vcpu, WritableRegister.Rip, address, $"{function}()"),
        ];

        // Whoever has called a function expects nothing of the other registers that the one called before it may change.
        List<PlannedRegister> end = [.. Arguments.Select(r => new PlannedRegister(at.Vcpu, (WritableRegister)(int)r, at.Gpr[r], "register as it was"))];
        var steps = new List<PlannedContinuation>();
        for (int i = 1; i <= calls.Count; i++)
            steps.Add(new PlannedContinuation(at.Rip, stackPointer, i < calls.Count ? Call(calls[i]) : end, i < calls.Count ? [slot] : [], $"the return of {function}()"));
        return new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = [slot], Registers = Call(calls[0]), Continuations = steps, Lost = [], Risks = [] };
    }
}
