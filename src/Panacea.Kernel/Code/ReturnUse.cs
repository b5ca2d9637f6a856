using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>How a caller checks a pointer that it was given back.</summary>
public enum ReturnCheck
{
    /// <summary>It does not show within the next instructions.</summary>
    Unknown,

    /// <summary>Against NULL.</summary>
    Null,

    /// <summary>With IS_ERR: a comparison with -4095 (MAX_ERRNO, include/linux/err.h).</summary>
    ErrorPointer,
}

/// <summary>Reads from a caller's code what it does with a returned value.</summary>
public static class ReturnUse
{
    private const int Window = 96, MaxInstructions = 16;

    /// <summary>Follows the returned value from the return address through register copies to its first check, along straight-line code.</summary>
    /// <param name="code">Text.</param>
    /// <param name="returnAddress">Guest-virtual address behind the call.</param>
    public static ReturnCheck PointerCheck(ICodeSource code, ulong returnAddress)
    {
        byte[] bytes = new byte[Window];
        if (!code.TryReadCode(returnAddress, bytes))
            return ReturnCheck.Unknown;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes), returnAddress);
        var holders = new HashSet<Register> { Register.RAX };
        for (int i = 0; i < MaxInstructions; i++)
        {
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid || instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch))
                return ReturnCheck.Unknown;
            Register first = instruction.OpCount > 0 && instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None;
            Register second = instruction.OpCount > 1 && instruction.Op1Kind == OpKind.Register ? instruction.Op1Register : Register.None;
            switch (instruction.Mnemonic)
            {
                case Mnemonic.Test when holders.Contains(first) && first == second:
                    return ReturnCheck.Null;
                case Mnemonic.Cmp when holders.Contains(first) && second == Register.None && instruction.Op1Kind != OpKind.Memory:
                    return instruction.GetImmediate(1) switch
                    {
                        0 => ReturnCheck.Null,
                        >= unchecked((ulong)-4096L) => ReturnCheck.ErrorPointer,
                        _ => ReturnCheck.Unknown,
                    };
                case Mnemonic.Mov when holders.Contains(second) && first.IsGPR64():
                    holders.Add(first);
                    continue;
            }

            if (first != Register.None && instruction.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test))
                holders.Remove(first.GetFullRegister());
            if (holders.Count == 0)
                return ReturnCheck.Unknown;
        }

        return ReturnCheck.Unknown;
    }

    /// <summary>The caller takes a returned number for an index, without a look at whether it says an error: it is extended or addresses memory before it is compared with anything, along straight-line code.</summary>
    /// <param name="code">Text.</param>
    /// <param name="returnAddress">Guest-virtual address behind the call.</param>
    public static bool IsIndex(ICodeSource code, ulong returnAddress)
    {
        byte[] bytes = new byte[Window];
        if (!code.TryReadCode(returnAddress, bytes))
            return false;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes), returnAddress);
        var holders = new HashSet<Register> { Register.RAX };
        for (int i = 0; i < MaxInstructions && holders.Count > 0; i++)
        {
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid || instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch))
                return false;
            if (instruction.MemoryBase != Register.None && holders.Contains(instruction.MemoryBase.GetFullRegister()))
                return true;
            if (instruction.MemoryIndex != Register.None && holders.Contains(instruction.MemoryIndex.GetFullRegister()))
                return true;
            Register first = instruction.OpCount > 0 && instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetFullRegister() : Register.None;
            Register second = instruction.OpCount > 1 && instruction.Op1Kind == OpKind.Register ? instruction.Op1Register.GetFullRegister() : Register.None;
            switch (instruction.Mnemonic)
            {
                case Mnemonic.Cdqe when holders.Contains(Register.RAX):
                case Mnemonic.Movsxd when holders.Contains(second):
                    return true;
                case Mnemonic.Test or Mnemonic.Cmp when holders.Contains(first) || holders.Contains(second):
                    return false;
                case Mnemonic.Mov when holders.Contains(second) && first != Register.None:
                    holders.Add(first);
                    continue;
            }

            if (first != Register.None && instruction.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Push))
                holders.Remove(first);
        }

        return false;
    }
}
