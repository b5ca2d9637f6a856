using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>What one instruction does to a <see cref="FrameState"/>.</summary>
/// <remarks>
/// Two things are taken for granted, as every compiler does: callees keep the ABI (callee-saved registers and the stack pointer come back unchanged),
/// and nobody stores into a save slot except through an operand based on RSP, or on RBP where it is the frame pointer. Any other pointer to a local is not taken for more than that: the first round of a
/// list iteration holds an address before the list head, where on paths that never happen it would seem to overwrite a save slot.
/// String instructions are left out too: a compiler clears its locals with <c>rep stos</c>, whose length is not known here.
/// </remarks>
internal sealed class FrameTransfer
{
    private readonly InstructionInfoFactory _info = new();

    /// <summary>The one alignment instruction that defines <see cref="FrameBase.Aligned"/>; 0 while none was met.</summary>
    private ulong _alignedAt;

    /// <summary>Applies <paramref name="instruction"/>, a call with its return included.</summary>
    public void Apply(in Instruction instruction, FrameState state)
    {
        if (instruction.Mnemonic == Mnemonic.Call)
        {
            state.ForgetCallerSaved();
            return;
        }

        if (Nops.IsNop(instruction) || TryApplyKnown(instruction, state))
            return;
        ApplyGeneric(instruction, state);
    }

    private bool TryApplyKnown(in Instruction instruction, FrameState state)
    {
        switch (instruction.Code)
        {
            case Iced.Intel.Code.Push_r64:
                Push(state, RegisterValue(state, instruction.Op0Register));
                return true;
            case Iced.Intel.Code.Pop_r64:
                Pop(state, instruction.Op0Register);
                return true;
            case Iced.Intel.Code.Leaveq:
                state.MoveStackPointer(state[Gpr.Rbp]);
                Pop(state, Register.RBP);
                return true;
            case Iced.Intel.Code.Mov_r64_rm64 or Iced.Intel.Code.Mov_rm64_r64:
                return TryApplyMov(instruction, state);
            case Iced.Intel.Code.Mov_r32_rm32 or Iced.Intel.Code.Mov_rm32_r32 or Iced.Intel.Code.Movsxd_r64_rm32 when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register:
                Symbol half = RegisterValue(state, instruction.Op1Register.GetFullRegister());
                Set(state, instruction.Op0Register.GetFullRegister(), half.Kind is SymbolKind.Entry or SymbolKind.EntryLow ? Symbol.EntryLow((Gpr)half.Which) : Symbol.Unknown);
                return true;
            case Iced.Intel.Code.Lea_r64_m:
                Set(state, instruction.Op0Register, AddressOf(instruction, state));
                return true;
            case Iced.Intel.Code.Add_rm64_imm8 or Iced.Intel.Code.Add_rm64_imm32 or Iced.Intel.Code.Add_RAX_imm32
                when instruction.Op0Kind == OpKind.Register:
                AddImmediate(instruction, state, negative: false);
                return true;
            case Iced.Intel.Code.Sub_rm64_imm8 or Iced.Intel.Code.Sub_rm64_imm32 or Iced.Intel.Code.Sub_RAX_imm32
                when instruction.Op0Kind == OpKind.Register:
                AddImmediate(instruction, state, negative: true);
                return true;
            case Iced.Intel.Code.And_rm64_imm8 or Iced.Intel.Code.And_rm64_imm32
                when instruction.Op0Kind == OpKind.Register && instruction.Op0Register == Register.RSP:
                Align(instruction, state);
                return true;
            default:
                return false;
        }
    }

    private static bool TryApplyMov(in Instruction instruction, FrameState state)
    {
        if (instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register)
        {
            Set(state, instruction.Op0Register, RegisterValue(state, instruction.Op1Register));
            return true;
        }

        if (instruction.Op0Kind == OpKind.Register)
        {
            Set(state, instruction.Op0Register, state.Load(AddressOf(instruction, state)));
            return true;
        }

        NameOtherStack(instruction, state);
        Symbol value = RegisterValue(state, instruction.Op1Register);
        Symbol address = AddressOf(instruction, state);
        bool isSave = value.Kind == SymbolKind.Entry && KnownRegisters.CalleeSaved.Contains((Gpr)value.Which);
        if (IsFrameRegister(instruction.MemoryBase, state) || isSave || (address.IsFrame && address.Base == FrameBase.OtherStack))
            StoreChecked(state, address, 8, value);
        return true;
    }

    /// <summary><c>mov %rsp,(%reg)</c> is how the kernel switches stacks (call_on_stack, arch/x86/include/asm/irq_stack.h): the old stack pointer goes to the top of the
    /// other stack, which is named here so that what lies there can be told.</summary>
    private static void NameOtherStack(in Instruction instruction, FrameState state)
    {
        bool saves = instruction.Op1Register == Register.RSP && instruction.MemoryBase.IsGPR64() && instruction.MemoryIndex == Register.None
            && instruction.MemoryDisplacement64 == 0 && instruction.SegmentPrefix == Register.None;
        if (saves && RegisterValue(state, instruction.MemoryBase).Kind == SymbolKind.Unknown)
            Set(state, instruction.MemoryBase, Symbol.Frame(FrameBase.OtherStack, 0));
    }

    private static void AddImmediate(in Instruction instruction, FrameState state, bool negative)
    {
        long by = instruction.Op1Kind is OpKind.Immediate8to64 ? instruction.Immediate8to64 : instruction.Immediate32to64;
        Symbol before = RegisterValue(state, instruction.Op0Register);
        Set(state, instruction.Op0Register, before.Plus(negative ? unchecked(-by) : by));
    }

    /// <summary>Realigning the stack: from here on the stack pointer is counted from a new base, whose value a register will tell.</summary>
    private void Align(in Instruction instruction, FrameState state)
    {
        long mask = instruction.Op1Kind is OpKind.Immediate8to64 ? instruction.Immediate8to64 : instruction.Immediate32to64;
        Symbol sp = state[Gpr.Rsp];
        bool aligns = mask is < 0 and >= -4096 && (-mask & (-mask - 1)) == 0;
        bool first = _alignedAt == 0 || _alignedAt == instruction.IP;
        if (!aligns || !first || !sp.IsFrame || sp.Base != FrameBase.Cfa)
        {
            state.MoveStackPointer(Symbol.Unknown);
            return;
        }

        _alignedAt = instruction.IP;
        state.MoveStackPointer(Symbol.Frame(FrameBase.Aligned, 0));
    }

    private static void Push(FrameState state, Symbol value)
    {
        state.MoveStackPointer(state[Gpr.Rsp].Plus(-8));
        state.Store(state[Gpr.Rsp], 8, value);
    }

    private static void Pop(FrameState state, Register into)
    {
        Symbol value = state.Load(state[Gpr.Rsp]);
        state.MoveStackPointer(state[Gpr.Rsp].Plus(8));
        Set(state, into, value);
    }

    /// <summary>Any other instruction: what it writes becomes unknown.</summary>
    private void ApplyGeneric(in Instruction instruction, FrameState state)
    {
        ref readonly InstructionInfo info = ref _info.GetInfo(instruction);

        // Memory operands are computed from the registers as they are before the instruction.
        foreach (UsedMemory memory in info.GetUsedMemory())
        {
            if (!Writes(memory.Access) || instruction.IsStringInstruction || !IsFrameRegister(memory.Base, state))
                continue;
            int size = memory.MemorySize.GetSize();
            Symbol address = memory.Index == Register.None ? BaseValue(state, memory.Base).Plus(unchecked((long)memory.Displacement)) : Symbol.Unknown;
            StoreChecked(state, address, size == 0 ? 64 : size, Symbol.Unknown);
        }

        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (Writes(used.Access) && TryGpr(used.Register, out Gpr register) && register != Gpr.Rsp)
                state[register] = Symbol.Unknown;
        }

        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (Writes(used.Access) && TryGpr(used.Register, out Gpr register) && register == Gpr.Rsp)
            {
                bool isPlainPushOrPop = instruction.IsStackInstruction && instruction.StackPointerIncrement != 0;
                state.MoveStackPointer(isPlainPushOrPop ? state[Gpr.Rsp].Plus(instruction.StackPointerIncrement) : Symbol.Unknown);
                break;
            }
        }
    }

    private static void StoreChecked(FrameState state, Symbol address, int size, Symbol value)
    {
        // The kernel is built without a red zone: what lies below the stack pointer belongs to the next interrupt.
        Symbol sp = state[Gpr.Rsp];
        bool below = sp.IsFrame && address.IsFrame && sp.Base == address.Base && address.Offset < sp.Offset;
        state.Store(address, size, below ? Symbol.Unknown : value);
    }

    /// <summary>RSP, or RBP where it points at the saved RBP.</summary>
    private static bool IsFrameRegister(Register register, FrameState state) =>
        register == Register.RSP || (register == Register.RBP && state.Load(state[Gpr.Rbp]) == Symbol.Entry(Gpr.Rbp));

    private static Symbol AddressOf(in Instruction instruction, FrameState state)
    {
        bool simple = instruction.MemoryIndex == Register.None && instruction.SegmentPrefix is not (Register.FS or Register.GS);
        return simple ? BaseValue(state, instruction.MemoryBase).Plus(unchecked((long)instruction.MemoryDisplacement64)) : Symbol.Unknown;
    }

    private static Symbol BaseValue(FrameState state, Register register) =>
        register.IsGPR64() ? RegisterValue(state, register) : Symbol.Unknown;

    private static Symbol RegisterValue(FrameState state, Register register) =>
        register.IsGPR64() ? state[(Gpr)(register - Register.RAX)] : Symbol.Unknown;

    private static void Set(FrameState state, Register register, Symbol value)
    {
        if (register == Register.RSP)
            state.MoveStackPointer(value);
        else
            state[(Gpr)(register - Register.RAX)] = value;
    }

    private static bool TryGpr(Register register, out Gpr gpr)
    {
        gpr = default;
        if (!register.IsGPR())
            return false;
        gpr = (Gpr)(register.GetFullRegister() - Register.RAX);
        return true;
    }

    private static bool Writes(OpAccess access) =>
        access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
}
