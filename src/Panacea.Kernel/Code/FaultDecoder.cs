using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>What the CPU was doing with memory when it trapped.</summary>
public enum AccessKind
{
    /// <summary>No access to memory is to blame.</summary>
    None,
    /// <summary>A read.</summary>
    Read,
    /// <summary>A write, or a read followed by a write to the same place.</summary>
    Write,
    /// <summary>Fetching the instruction itself.</summary>
    Execute,
}

/// <summary>What kind of instruction trapped, as far as the kind matters.</summary>
public enum FaultingInstruction
{
    /// <summary>Any other.</summary>
    Other,
    /// <summary>There is no instruction: RIP does not point at text.</summary>
    None,
    /// <summary>UD2, UD1 or UD0: BUG(), WARN(), or a compiler's "unreachable".</summary>
    Undefined,
    /// <summary>INT3: a breakpoint, or padding that was run into.</summary>
    Breakpoint,
    /// <summary>DIV or IDIV.</summary>
    Divide,
    /// <summary>CALL, direct or indirect.</summary>
    Call,
    /// <summary>RET.</summary>
    Return,
    /// <summary>JMP.</summary>
    Jump,
    /// <summary>A string instruction, as a rule with REP.</summary>
    String,
    /// <summary>IRET.</summary>
    InterruptReturn,
    /// <summary>RDMSR, WRMSR and other privileged accesses to the CPU itself.</summary>
    System,
}

/// <summary>A register and the value it had.</summary>
public readonly record struct RegisterValue(Gpr Register, ulong Value);

/// <summary>One memory operand, evaluated.</summary>
public sealed record MemoryOperand
{
    /// <summary>Read or write.</summary>
    public required AccessKind Kind { get; init; }

    /// <summary>Linear address; null where a register it needs is not known.</summary>
    public required ulong? Address { get; init; }

    /// <summary>Bytes; 0 where the instruction does not fix it.</summary>
    public required int Size { get; init; }

    /// <summary>Base register and its value; null where there is none.</summary>
    public RegisterValue? Base { get; init; }

    /// <summary>Index register and its value; null where there is none.</summary>
    public RegisterValue? Index { get; init; }

    /// <summary>The index is multiplied by it: 1, 2, 4 or 8.</summary>
    public int Scale { get; init; } = 1;

    /// <summary>Sign-extended displacement; for RIP-relative operands the whole address.</summary>
    public long Displacement { get; init; }

    /// <summary>The operand is relative to the GS base: a per-CPU variable.</summary>
    public bool IsPerCpu { get; init; }
}

/// <summary>The decoded fault.</summary>
public sealed record FaultAccess
{
    /// <summary>What kind of instruction.</summary>
    public required FaultingInstruction Instruction { get; init; }

    /// <summary>Bytes of the instruction, 0 where there is none.</summary>
    public required int Length { get; init; }

    /// <summary>The kind of access that is to blame.</summary>
    public required AccessKind Kind { get; init; }

    /// <summary>Address of that access; null where there is none or it can't be told.</summary>
    public ulong? Address { get; init; }

    /// <summary>What the address is; null without an address.</summary>
    public ClassifiedAddress? Class { get; init; }

    /// <summary>The memory operand to blame; null where the instruction has none.</summary>
    public MemoryOperand? Operand { get; init; }

    /// <summary>The register that held the bad value; null where none stands out.</summary>
    public RegisterValue? BadRegister { get; init; }

    /// <summary>For an indirect call or jump through a register: that register.</summary>
    public RegisterValue? BranchRegister { get; init; }
}

/// <summary>Decodes the instruction that trapped together with its registers.</summary>
public static class FaultDecoder
{
    /// <summary>Decodes.</summary>
    /// <param name="code">The text that was really executed (<see cref="LiveCode"/>), or the pristine one.</param>
    /// <param name="ip">Where it trapped.</param>
    /// <param name="registers">General registers at the trap.</param>
    /// <param name="gsBase">GS base in kernel mode; null where unknown.</param>
    /// <param name="faultAddress">CR2 where the trap was a page fault, else null.</param>
    /// <param name="errorCode">The page fault's error code (bit 1 write, bit 4 instruction fetch), else null.</param>
    /// <param name="linearBits">48, or 57 with five-level paging.</param>
    /// <returns>Always a result; bytes that are no instruction are <see cref="FaultingInstruction.None"/>.</returns>
    public static FaultAccess Decode(
        ICodeSource code, ulong ip, in KnownRegisters registers, ulong? gsBase, ulong? faultAddress, ulong? errorCode, int linearBits = 48)
    {
        bool fetched = (errorCode.GetValueOrDefault() & 0x10) != 0 || faultAddress == ip;
        if (fetched || !TryDecode(code, ip, out Instruction instruction))
        {
            ulong at = fetched ? faultAddress ?? ip : ip;
            return new FaultAccess
            {
                Instruction = FaultingInstruction.None,
                Length = 0,
                Kind = AccessKind.Execute,
                Address = at,
                Class = ClassifiedAddress.Of(at, null, linearBits),
            };
        }

        FaultingInstruction kind = KindOf(instruction);
        RegisterValue? branch = instruction.FlowControl is FlowControl.IndirectCall or FlowControl.IndirectBranch
            && instruction.Op0Kind == OpKind.Register ? ValueOf(instruction.Op0Register, registers) : null;
        MemoryOperand? operand = kind is FaultingInstruction.Undefined or FaultingInstruction.Breakpoint
            ? null
            : Choose(Operands(instruction, registers, gsBase), faultAddress, errorCode, linearBits);

        // A divide or a bad branch target faults without its memory operand being to blame, unless the CPU said so.
        bool blamesMemory = operand is not null && (faultAddress is not null || (kind != FaultingInstruction.Divide && IsSuspect(operand, linearBits)));
        ulong? address = blamesMemory ? faultAddress ?? operand!.Address : faultAddress;
        AccessKind access = faultAddress is not null && errorCode is { } bits
            ? (bits & 2) != 0 ? AccessKind.Write : AccessKind.Read
            : blamesMemory ? operand!.Kind : faultAddress is not null ? AccessKind.Read : AccessKind.None;
        ulong? pointer = PointerOf(operand);
        return new FaultAccess
        {
            Instruction = kind,
            Length = instruction.Length,
            Kind = access,
            Address = address,
            Class = address is { } a ? ClassifiedAddress.Of(a, pointer, linearBits) : null,
            Operand = operand,
            BadRegister = blamesMemory ? BadRegister(operand!, linearBits) : branch,
            BranchRegister = branch,
        };
    }

    internal static bool TryDecode(ICodeSource code, ulong ip, out Instruction instruction)
    {
        // An instruction may stand at the very end of readable text: shorter and shorter reads until one succeeds.
        byte[] bytes = new byte[15];
        for (int length = bytes.Length; length > 0; length--)
        {
            if (!code.TryReadCode(ip, bytes.AsSpan(0, length)))
                continue;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes, 0, length));
            decoder.IP = ip;
            decoder.Decode(out instruction);
            return !instruction.IsInvalid;
        }

        instruction = default;
        return false;
    }

    private static FaultingInstruction KindOf(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Ud2 or Mnemonic.Ud1 or Mnemonic.Ud0 => FaultingInstruction.Undefined,
        Mnemonic.Int3 => FaultingInstruction.Breakpoint,
        Mnemonic.Div or Mnemonic.Idiv => FaultingInstruction.Divide,
        Mnemonic.Call => FaultingInstruction.Call,
        Mnemonic.Ret => FaultingInstruction.Return,
        Mnemonic.Jmp => FaultingInstruction.Jump,
        Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq => FaultingInstruction.InterruptReturn,
        _ when instruction.IsStringInstruction => FaultingInstruction.String,
        _ when instruction.IsPrivileged => FaultingInstruction.System,
        _ => FaultingInstruction.Other,
    };

    private static List<MemoryOperand> Operands(in Instruction instruction, in KnownRegisters registers, ulong? gsBase)
    {
        var found = new List<MemoryOperand>(2);
        if (instruction.Mnemonic == Mnemonic.Lea || Nops.IsNop(instruction))
            return found;
        ref readonly InstructionInfo info = ref new InstructionInfoFactory().GetInfo(instruction);
        foreach (UsedMemory used in info.GetUsedMemory())
        {
            AccessKind kind = used.Access switch
            {
                OpAccess.Read or OpAccess.CondRead => AccessKind.Read,
                OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite => AccessKind.Write,
                _ => AccessKind.None,
            };
            if (kind == AccessKind.None)
                continue;
            RegisterValue? from = ValueOf(used.Base, registers), index = ValueOf(used.Index, registers);
            bool complete = (used.Base is Register.None or Register.RIP || from is not null) && (used.Index == Register.None || index is not null);
            ulong? segment = used.Segment switch { Register.GS => gsBase, Register.FS => null, _ => 0 };
            ulong? address = complete && segment is { } s
                ? unchecked(s + (from?.Value ?? 0) + ((index?.Value ?? 0) * (ulong)used.Scale) + used.Displacement)
                : null;
            found.Add(new MemoryOperand
            {
                Kind = kind,
                Address = address,
                Size = used.MemorySize.GetSize(),
                Base = from,
                Index = index,
                Scale = used.Scale,
                Displacement = unchecked((long)used.Displacement),
                IsPerCpu = used.Segment == Register.GS,
            });
        }

        return found;
    }

    /// <summary>The operand to blame: the one the CPU named, else one whose address is bad by itself, else the first.</summary>
    private static MemoryOperand? Choose(List<MemoryOperand> operands, ulong? faultAddress, ulong? errorCode, int linearBits)
    {
        if (faultAddress is { } cr2)
        {
            foreach (MemoryOperand operand in operands)
            {
                // An access that straddles a page faults at the second page's start.
                ulong size = (ulong)Math.Max(operand.Size, 1);
                if (operand.Address is { } at && unchecked(cr2 - at) < size && (errorCode is not { } e || ((e & 2) != 0) == (operand.Kind == AccessKind.Write)))
                    return operand;
            }

            foreach (MemoryOperand operand in operands)
            {
                if (operand.Address is { } at && unchecked(cr2 - at) < (ulong)Math.Max(operand.Size, 1))
                    return operand;
            }
        }

        return operands.Find(o => IsSuspect(o, linearBits)) ?? (operands.Count > 0 ? operands[0] : null);
    }

    private static bool IsSuspect(MemoryOperand operand, int linearBits) =>
        operand.Address is { } at && !operand.IsPerCpu && ClassifiedAddress.Of(at, PointerOf(operand), linearBits).Class != AddressClass.Wild;

    private static ulong? PointerOf(MemoryOperand? operand) => operand is { IsPerCpu: false } ? operand.Base?.Value : null;

    /// <summary>The base where its value is bad by itself; else the index where the base is a good pointer; else the base.</summary>
    private static RegisterValue? BadRegister(MemoryOperand operand, int linearBits)
    {
        if (operand.Base is not { } from)
            return operand.Index;
        bool baseIsKernel = ClassifiedAddress.Of(from.Value, null, linearBits).Class == AddressClass.Wild;
        return baseIsKernel && operand.Index is { } index ? index : from;
    }

    private static RegisterValue? ValueOf(Register register, in KnownRegisters registers)
    {
        if (!register.IsGPR())
            return null;
        var gpr = (Gpr)(register.GetFullRegister() - Register.RAX);
        return registers.TryGet(gpr, out ulong value) ? new RegisterValue(gpr, value) : null;
    }
}
