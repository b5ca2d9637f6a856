namespace Panacea.Formats.Orc;

/// <summary>What a row's offset is counted from (arch/x86/include/asm/orc_types.h, ORC_REG_*), one numbering for all versions of the format.</summary>
public enum OrcRegister
{
    /// <summary>Nothing is known.</summary>
    Undefined,
    /// <summary>The frame before this one: its own stack pointer (for BP: saved relative to it).</summary>
    PrevSp,
    /// <summary>DX.</summary>
    Dx,
    /// <summary>DI.</summary>
    Di,
    /// <summary>BP.</summary>
    Bp,
    /// <summary>SP.</summary>
    Sp,
    /// <summary>R10.</summary>
    R10,
    /// <summary>R13.</summary>
    R13,
    /// <summary>What BP points at.</summary>
    BpIndirect,
    /// <summary>What SP points at.</summary>
    SpIndirect,
    /// <summary>AX (only the version of Linux 7.1 can name it).</summary>
    Ax,
}

/// <summary>What stands at the frame that a row describes (ORC_TYPE_*), one numbering for all versions of the format.</summary>
public enum OrcType
{
    /// <summary>No unwinding from here is possible.</summary>
    Undefined,
    /// <summary>The outermost frame: the stack ends here by design.</summary>
    End,
    /// <summary>A return address.</summary>
    Call,
    /// <summary>A whole struct pt_regs.</summary>
    Regs,
    /// <summary>The hardware part of a struct pt_regs (ip, cs, flags, sp, ss).</summary>
    RegsPartial,
}

/// <summary>One row of kernel unwind data, whatever version it was stored in.</summary>
/// <param name="SpRegister">Base of the CFA (the caller's stack pointer).</param>
/// <param name="SpOffset">Bytes added to it.</param>
/// <param name="BpRegister">Base of the address where the caller's BP was saved; Undefined: BP is unchanged.</param>
/// <param name="BpOffset">Bytes added to it.</param>
/// <param name="Type">What stands at the frame.</param>
/// <param name="Signal">The frame was entered by a trap or interrupt: its IP is not a return address.</param>
public readonly record struct OrcEntry(
    OrcRegister SpRegister, short SpOffset, OrcRegister BpRegister, short BpOffset, OrcType Type, bool Signal);

/// <summary>Finds the unwind row of an instruction.</summary>
public interface IOrcLookup
{
    /// <summary>The row that covers <paramref name="instruction"/> (a guest-virtual address).</summary>
    /// <returns>False where no row covers it.</returns>
    bool TryFind(ulong instruction, out OrcEntry entry);
}
