namespace Panacea.Kernel.Code;

/// <summary>Why an analysis of code or of a stack gives no answer. Nothing is ever guessed instead.</summary>
public enum DeclineReason
{
    /// <summary>No reason; the analysis applies.</summary>
    None,

    /// <summary>No symbol covers the address, or a fragment's parent is not known.</summary>
    NoFunction,

    /// <summary>The address does not lie in the function.</summary>
    OutsideFunction,

    /// <summary>Text on the way could not be read.</summary>
    TextUnreadable,

    /// <summary>Bytes on the way are no instruction.</summary>
    Undecodable,

    /// <summary>The function is larger than the bound on steps.</summary>
    TooLarge,

    /// <summary>No path from the entry leads to the instruction (jump table, exception fixup, switched-off jump label), or no instruction begins there.</summary>
    Unreached,

    /// <summary>No unwind row covers the instruction.</summary>
    NoUnwindRow,

    /// <summary>The unwind row does not describe an ordinary function's frame.</summary>
    NotAFunctionFrame,

    /// <summary>The stack depth found by decoding is not the one that the unwind row says, or could not be found.</summary>
    DepthMismatch,

    /// <summary>Where RBP was saved is not where the unwind row says.</summary>
    FramePointerMismatch,

    /// <summary>A register that the rule is based on is not known at this frame.</summary>
    RegisterUnknown,

    /// <summary>A callee-saved register's value as of entry is neither in a register nor on the stack.</summary>
    RegisterLost,

    /// <summary>A register and the slot where it was saved should hold the same value and do not.</summary>
    SlotDisagrees,

    /// <summary>The stack could not be read.</summary>
    StackUnreadable,

    /// <summary>The frame's CFA differs from the one the unwinder found.</summary>
    CfaMismatch,

    /// <summary>The frame was found by scanning, not proved.</summary>
    NotExact,

    /// <summary>The frame has no caller in this kernel stack.</summary>
    NoCaller,

    /// <summary>What stands at the return address is no place behind a call.</summary>
    NotAReturnAddress,

    /// <summary>The return address was replaced by a tracer's trampoline.</summary>
    Trampoline,
}

/// <summary>A typed "does not apply".</summary>
/// <param name="Reason">Why.</param>
/// <param name="Address">Guest-virtual address it is about; 0 where it is about none.</param>
/// <param name="Detail">Completes the sentence for a person; may be empty.</param>
public readonly record struct Decline(DeclineReason Reason, ulong Address = 0, string Detail = "")
{
    /// <inheritdoc/>
    public override string ToString() =>
        $"{Reason}{(Address == 0 ? "" : $" at 0x{Address:x}")}{(string.IsNullOrEmpty(Detail) ? "" : $": {Detail}")}";
}
