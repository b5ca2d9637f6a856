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
}
