using Panacea.Kernel.Code;

namespace Panacea.Diagnosis;

/// <summary>The kind of a crash from what trapped: one rule for crashes read from memory and from a log.</summary>
internal static class CrashKinds
{
    /// <summary>The entry of a double fault (arch/x86/entry/entry_64.S).</summary>
    public const string DoubleFaultEntry = "asm_exc_double_fault";

    /// <summary>Entry code of INT3: the kernel's functions stand among bytes of it.</summary>
    public const string BreakpointEntry = "asm_exc_int3";

    /// <summary>NMI_OFFSET + HARDIRQ_OFFSET (include/linux/preempt.h).</summary>
    public const uint NmiPreemptCount = 0x11_0000;

    /// <summary>Classifies a trap.</summary>
    /// <param name="entry">The entry code that the trap came through, such as <c>asm_exc_page_fault</c>; null where it is not known.</param>
    /// <param name="access">The instruction and its access.</param>
    /// <param name="isReadOnly">The page written to is mapped, and not for writing.</param>
    public static CrashKind Classify(string? entry, FaultAccess? access, bool isReadOnly)
    {
        switch (entry)
        {
            case "asm_exc_divide_error":
                return CrashKind.DivideError;
            case DoubleFaultEntry:
                return CrashKind.DoubleFault;
            case "asm_exc_invalid_op":
                return access is { Instruction: FaultingInstruction.Undefined } ? CrashKind.Bug : CrashKind.InvalidOpcode;
            case "asm_exc_general_protection":
                return CrashKind.GeneralProtection;
            case BreakpointEntry:
                return CrashKind.Breakpoint;
            case "asm_exc_stack_segment":
                return CrashKind.StackSegment;
            case "asm_exc_control_protection":
                return CrashKind.ControlProtection;
            case "asm_exc_alignment_check":
                return CrashKind.AlignmentCheck;
            case not ("asm_exc_page_fault" or null):
                return CrashKind.Unknown;
        }

        if (access is null)
            return CrashKind.Unknown;
        if (entry is null && access.Instruction == FaultingInstruction.Undefined)
            return CrashKind.Bug;
        if (entry is null && access.Instruction == FaultingInstruction.Divide)
            return CrashKind.DivideError;
        return OfAccess(access.Kind, access.Class?.Class, isReadOnly);
    }

    /// <summary>The kind of a page fault.</summary>
    public static CrashKind OfAccess(AccessKind access, AddressClass? address, bool isReadOnly)
    {
        bool isNull = address == AddressClass.Null, isUser = address == AddressClass.User;
        return access switch
        {
            AccessKind.Execute => isNull ? CrashKind.NullCall : CrashKind.WildCall,
            AccessKind.Write => isReadOnly ? CrashKind.ReadOnlyWrite : isNull ? CrashKind.NullWrite : isUser ? CrashKind.UserAccess : CrashKind.WildWrite,
            AccessKind.Read => isNull ? CrashKind.NullRead : isUser ? CrashKind.UserAccess : CrashKind.WildRead,
            _ => CrashKind.Unknown,
        };
    }

    /// <summary>Says more where the stack shows which check of the kernel's own ended in BUG() or panic().</summary>
    /// <param name="kind">The kind so far.</param>
    /// <param name="functions">The functions on top of the crashed stack, innermost first; null outside of text.</param>
    public static CrashKind Refine(CrashKind kind, IEnumerable<string?> functions)
    {
        foreach (string? function in functions)
        {
            if (kind == CrashKind.Bug)
            {
                return function switch
                {
                    null => kind,
                    _ when function.StartsWith("__list_add_valid", StringComparison.Ordinal) || function.StartsWith("__list_del_entry_valid", StringComparison.Ordinal) => CrashKind.ListCorruption,
                    "usercopy_abort" => CrashKind.Usercopy,
                    "exc_control_protection" => CrashKind.ControlProtection,
                    _ => kind,
                };
            }

            if (kind != CrashKind.Panic || function is null)
                return kind;
            if (function == "__stack_chk_fail")
                return CrashKind.StackCorruption;
            if (!BlamelessFunctions.Contains(function, isTrap: false))
                return kind;
        }

        return kind;
    }
}
