using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Replay;

/// <summary>Where a call that has been made can be made again from.</summary>
/// <param name="Start">Guest-virtual address of the first instruction that sets up its arguments, or of the call itself.</param>
/// <param name="Call">Guest-virtual address of the call.</param>
/// <param name="Through">The register that the callee's address is in, where none of those instructions loads it; else <see cref="Register.None"/>.</param>
internal readonly record struct CallSetup(ulong Start, ulong Call, Register Through)
{
    /// <summary>Instructions looked at before a call.</summary>
    private const int MaxBack = 32;

    /// <summary>Looks back from the call that <paramref name="returnAddress"/> stands behind, over what only loads registers that a callee may change anyway: executed again, it does the same again.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="caller">The function that makes the call.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="returnAddress">Where the callee returns to.</param>
    /// <param name="nameOf">The function that begins at an address; null where none does.</param>
    /// <param name="setup">The result.</param>
    public static bool TryFind(ICodeSource code, in FunctionParts caller, IControlFlowHints? hints, ulong returnAddress, Func<ulong, string?> nameOf, out CallSetup setup)
    {
        setup = default;
        if (!FlowGraph.TryBuild(code, caller, hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return false;
        var before = new Dictionary<ulong, Instruction>();
        foreach (Instruction instruction in graph.Instructions.Values)
            before.TryAdd(instruction.NextIP, instruction);
        if (!before.TryGetValue(returnAddress, out Instruction call) || call.Mnemonic != Mnemonic.Call)
            return false;
        Register through = ThroughRegister(call, nameOf);
        var factory = new InstructionInfoFactory();
        ulong start = call.IP;
        for (int step = 0; step < MaxBack && !graph.IsLeader(start) && before.TryGetValue(start, out Instruction instruction) && IsRepeatable(factory, instruction, ref through); step++)
            start = instruction.IP;
        setup = new CallSetup(start, call.IP, through);
        return true;
    }

    /// <summary>The register of a call through one, as it stands or by way of a retpoline's thunk.</summary>
    private static Register ThroughRegister(in Instruction call, Func<ulong, string?> nameOf)
    {
        if (call.FlowControl == FlowControl.IndirectCall)
            return call.Op0Kind == OpKind.Register ? call.Op0Register : Register.None;
        const string thunk = "__x86_indirect_thunk_", another = "__x86_indirect_call_thunk_";
        string name = nameOf(call.NearBranchTarget) ?? "";
        string register = name.StartsWith(thunk, StringComparison.Ordinal) ? name[thunk.Length..] : name.StartsWith(another, StringComparison.Ordinal) ? name[another.Length..] : "";
        return Enum.TryParse(register, ignoreCase: true, out Register found) && found.IsGPR64() ? found : Register.None;
    }

    /// <summary>It stores nothing, calls nothing, and changes no register that the callee has to give back.</summary>
    private static bool IsRepeatable(InstructionInfoFactory factory, in Instruction instruction, ref Register through)
    {
        if (instruction.FlowControl != FlowControl.Next || instruction.IsStringInstruction || instruction.IsPrivileged)
            return false;
        ref readonly InstructionInfo info = ref factory.GetInfo(instruction);
        foreach (UsedMemory memory in info.GetUsedMemory())
        {
            if (memory.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess))
                return false;
        }

        Register loaded = Register.None;
        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            Register register = used.Register.GetFullRegister();
            if (used.Access is not (OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite) || !register.IsGPR64())
                continue;
            if (register is Register.RBX or Register.RBP or Register.RSP or Register.R12 or Register.R13 or Register.R14 or Register.R15)
                return false;
            if (register == through)
                loaded = register;
        }

        if (loaded != Register.None)
            through = Register.None;
        return true;
    }
}
