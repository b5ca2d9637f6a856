using System.Buffers.Binary;
using System.Numerics;
using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

internal sealed partial class ReplayCpu
{
    private const ulong InterruptFlag = 1 << 9, AlwaysSet = 2;

    /// <summary>An instruction that the next one follows.</summary>
    private StepEnd Execute(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Nop or Mnemonic.Endbr64 or Mnemonic.Pause or Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence or Mnemonic.Cld
                or Mnemonic.Prefetchw or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetchnta:
                return StepEnd.Done;
            case Mnemonic.Mov:
                return Load(instruction, 1, out Bits moved) is var move and not StepEnd.Done ? move : Store(instruction, 0, moved);
            case Mnemonic.Movzx:
                return Load(instruction, 1, out Bits small) is var extend and not StepEnd.Done ? extend : Store(instruction, 0, small.ZeroExtended(SizeOf(instruction, 1)));
            case Mnemonic.Movsx or Mnemonic.Movsxd:
                return Load(instruction, 1, out Bits signed) is var widen and not StepEnd.Done ? widen : Store(instruction, 0, signed.SignExtended(SizeOf(instruction, 1)));
            case Mnemonic.Lea:
                return Store(instruction, 0, TryAddress(instruction, out ulong address) ? Bits.Of(address) : Bits.None);
            case Mnemonic.Add or Mnemonic.Adc or Mnemonic.Sub or Mnemonic.Sbb or Mnemonic.Cmp or Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test:
                return Binary(instruction);
            case Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Neg or Mnemonic.Not or Mnemonic.Bswap:
                return Unary(instruction);
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror:
                return Shift(instruction);
            case Mnemonic.Shld or Mnemonic.Shrd:
                return DoubleShift(instruction);
            case Mnemonic.Imul or Mnemonic.Mul:
                return Multiply(instruction);
            case Mnemonic.Div or Mnemonic.Idiv:
                return Divide(instruction);
            case Mnemonic.Cdqe or Mnemonic.Cwde or Mnemonic.Cbw or Mnemonic.Cdq or Mnemonic.Cqo or Mnemonic.Cwd:
                return ExtendSign(instruction.Mnemonic);
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                return BitTest(instruction);
            case Mnemonic.Bsf or Mnemonic.Bsr or Mnemonic.Tzcnt or Mnemonic.Lzcnt or Mnemonic.Popcnt:
                return Count(instruction);
            case Mnemonic.Push:
                return Load(instruction, 0, out Bits pushed) is var push and not StepEnd.Done ? push : Push(pushed);
            case Mnemonic.Pop:
                return Pop(out Bits popped) is var pop and not StepEnd.Done ? pop : Store(instruction, 0, popped);
            case Mnemonic.Leave:
                if (!this[Gpr.Rbp].Knows(8))
                    return Missing("sets the stack pointer to what is not known");
                StackPointer = this[Gpr.Rbp].Value;
                return Pop(out Bits frame) is var leave and not StepEnd.Done ? leave : Write(Register.RBP, frame);
            case Mnemonic.Pushfq:
                return Push(new Bits(_flags | AlwaysSet | (Interrupts == true ? InterruptFlag : 0), (~(ulong)(Arithmetic.All & ~_knownFlags)) & (Interrupts is null ? ~InterruptFlag : ulong.MaxValue)));
            case Mnemonic.Popfq:
                if (Pop(out Bits flags) is var popFlags and not StepEnd.Done)
                    return popFlags;
                (_flags, _knownFlags) = ((uint)(flags.Value & Arithmetic.All), (uint)(flags.Known & Arithmetic.All));
                Interrupts = (flags.Known & InterruptFlag) == 0 ? null : (flags.Value & InterruptFlag) != 0;
                return StepEnd.Done;
            case Mnemonic.Cli:
                Interrupts = false;
                return StepEnd.Done;
            case Mnemonic.Sti:
                Interrupts = true;
                return StepEnd.Done;

            // An interrupt has come.
            case Mnemonic.Hlt when Interrupts == true:
                return StepEnd.Done;
            case Mnemonic.Stac:
                memory.AllowsUser = true;
                return StepEnd.Done;
            case Mnemonic.Clac:
                memory.AllowsUser = false;
                return StepEnd.Done;
            case Mnemonic.Xchg or Mnemonic.Xadd:
                return Exchange(instruction);
            case Mnemonic.Cmpxchg:
                return CompareExchange(instruction);
            case Mnemonic.Cmpxchg16b:
                return CompareExchangeTwo(instruction);
            case Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq when instruction.IsStringInstruction:
                return Strings(instruction, instruction.Mnemonic switch { Mnemonic.Movsb => 1, Mnemonic.Movsw => 2, Mnemonic.Movsd => 4, _ => 8 }, isMove: true);
            case Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq:
                return Strings(instruction, instruction.Mnemonic switch { Mnemonic.Stosb => 1, Mnemonic.Stosw => 2, Mnemonic.Stosd => 4, _ => 8 }, isMove: false);
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Rdmsr or Mnemonic.Cpuid:
                ulong? time = instruction.Mnemonic is Mnemonic.Rdtsc or Mnemonic.Rdtscp ? TimeStamp?.Invoke() : null;
                (this[Gpr.Rax], this[Gpr.Rdx]) = time is { } stamp ? (Bits.Of(stamp & uint.MaxValue), Bits.Of(stamp >> 32)) : (Bits.None, Bits.None);
                if (instruction.Mnemonic is Mnemonic.Rdtscp or Mnemonic.Cpuid)
                    this[Gpr.Rcx] = Bits.None;
                if (instruction.Mnemonic == Mnemonic.Cpuid)
                    this[Gpr.Rbx] = Bits.None;
                return StepEnd.Done;
            default:
                if (instruction.ConditionCode == ConditionCode.None)
                    return Unsupported(instruction);
                return instruction.OpCount == 1 ? Store(instruction, 0, Knows(instruction.ConditionCode) ? Bits.Of(Holds(instruction.ConditionCode) ? 1UL : 0) : Bits.None) : ConditionalMove(instruction);
        }
    }

    private StepEnd ConditionalMove(in Instruction instruction)
    {
        // The operand is read whatever the condition says; a register of 32 bits loses its upper half either way.
        if (Load(instruction, 1, out Bits from) is var end and not StepEnd.Done)
            return end;
        return Store(instruction, 0, !Knows(instruction.ConditionCode) ? Bits.None : Holds(instruction.ConditionCode) ? from : Read(instruction.Op0Register));
    }

    /// <summary>Flags after an instruction that sets them all, or as many as are defined.</summary>
    private void SetFlags(uint flags, bool areKnown, uint defined = Arithmetic.All) => (_flags, _knownFlags) = (flags, areKnown ? defined : 0);

    private StepEnd Binary(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        bool isSame = instruction.Mnemonic is Mnemonic.Xor or Mnemonic.Sub && instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register && instruction.Op0Register == instruction.Op1Register;
        if (isSame)
        {
            SetFlags(Arithmetic.Logic(0, size), true);
            return Store(instruction, 0, Bits.Of(0));
        }

        if (LoadReplaced(instruction, out Bits a) is var first and not StepEnd.Done)
            return first;
        if (Load(instruction, 1, out Bits b) is var second and not StepEnd.Done)
            return second;
        if (instruction.Mnemonic is Mnemonic.Add or Mnemonic.Sub)
            a = Before(instruction, a, instruction.Mnemonic == Mnemonic.Add ? b.Value : unchecked(0 - b.Value));
        bool usesCarry = instruction.Mnemonic is Mnemonic.Adc or Mnemonic.Sbb, carry = usesCarry && (_flags & Arithmetic.Carry) != 0;
        bool known = a.Knows(size) && b.Knows(size) && (!usesCarry || (_knownFlags & Arithmetic.Carry) != 0);
        Bits result;
        uint flags;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.And or Mnemonic.Test:
                // A zero is a zero whatever it is ANDed with.
                result = new Bits(a.Value & b.Value, (a.Known & b.Known) | (a.Known & ~a.Value) | (b.Known & ~b.Value));
                flags = Arithmetic.Logic(result.Value, size);
                known = result.Knows(size);
                break;
            case Mnemonic.Or:
                result = new Bits(a.Value | b.Value, (a.Known & b.Known) | (a.Known & a.Value) | (b.Known & b.Value));
                flags = Arithmetic.Logic(result.Value, size);
                known = result.Knows(size);
                break;
            case Mnemonic.Xor:
                result = new Bits(a.Value ^ b.Value, a.Known & b.Known);
                flags = Arithmetic.Logic(result.Value, size);
                break;
            default:
                (ulong sum, flags) = instruction.Mnemonic is Mnemonic.Add or Mnemonic.Adc ? Arithmetic.Add(a.Value, b.Value, carry, size) : Arithmetic.Subtract(a.Value, b.Value, carry, size);
                result = known ? Bits.Of(sum) : Bits.None;
                break;
        }

        StepEnd end = instruction.Mnemonic is Mnemonic.Cmp or Mnemonic.Test ? StepEnd.Done : Store(instruction, 0, result);
        SetFlags(flags, known);
        return end;
    }

    private StepEnd Unary(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (LoadReplaced(instruction, out Bits a) is var end and not StepEnd.Done)
            return end;
        if (instruction.Mnemonic is Mnemonic.Inc or Mnemonic.Dec)
            a = Before(instruction, a, instruction.Mnemonic == Mnemonic.Inc ? 1 : ulong.MaxValue);
        bool known = a.Knows(size);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Not:
                return Store(instruction, 0, new Bits(~a.Value, a.Known));
            case Mnemonic.Bswap:
                return Store(instruction, 0, !known ? Bits.None : Bits.Of(size == 4 ? BinaryPrimitives.ReverseEndianness(unchecked((uint)a.Value)) : BinaryPrimitives.ReverseEndianness(a.Value)));
            case Mnemonic.Neg:
                (ulong negative, uint negated) = Arithmetic.Subtract(0, a.Value, false, size);
                end = Store(instruction, 0, known ? Bits.Of(negative) : Bits.None);
                SetFlags(negated, known);
                return end;
            default:
                // INC and DEC leave the carry flag alone.
                (ulong result, uint flags) = instruction.Mnemonic == Mnemonic.Inc ? Arithmetic.Add(a.Value, 1, false, size) : Arithmetic.Subtract(a.Value, 1, false, size);
                end = Store(instruction, 0, known ? Bits.Of(result) : Bits.None);
                (_flags, _knownFlags) = ((flags & ~Arithmetic.Carry) | (_flags & Arithmetic.Carry), (known ? Arithmetic.All & ~Arithmetic.Carry : 0) | (_knownFlags & Arithmetic.Carry));
                return end;
        }
    }

    private StepEnd Shift(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (Load(instruction, out Bits a, out Bits by) is var loaded and not StepEnd.Done)
            return loaded;
        int count = (int)(by.Value & (size == 8 ? 63UL : 31UL));
        if (by.Knows(1) && count == 0)
            return Store(instruction, 0, a);
        bool known = a.Knows(size) && by.Knows(1);
        if (!known)
        {
            SetFlags(0, false);
            return Store(instruction, 0, Bits.None);
        }

        if (instruction.Mnemonic is Mnemonic.Rol or Mnemonic.Ror)
        {
            // Of the flags only carry and overflow change.
            _knownFlags &= ~(Arithmetic.Carry | Arithmetic.Overflow);
            int width = size * 8;
            return Store(instruction, 0, Bits.Of(Arithmetic.RotateLeft(a.Value, instruction.Mnemonic == Mnemonic.Rol ? count : width - (count % width), size)));
        }

        (ulong result, uint flags) = instruction.Mnemonic switch
        {
            Mnemonic.Shr => Arithmetic.ShiftRight(a.Value, count, size),
            Mnemonic.Sar => Arithmetic.ShiftArithmetic(a.Value, count, size),
            _ => Arithmetic.ShiftLeft(a.Value, count, size),
        };
        StepEnd end = Store(instruction, 0, Bits.Of(result));
        SetFlags(flags, true, count == 1 ? Arithmetic.All : Arithmetic.All & ~Arithmetic.Overflow);
        return end;
    }

    private StepEnd DoubleShift(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0), width = size * 8;
        if (Load(instruction, out Bits a, out Bits b) is var loaded and not StepEnd.Done)
            return loaded;
        if (Load(instruction, 2, out Bits by) is var third and not StepEnd.Done)
            return third;
        int count = (int)(by.Value & (size == 8 ? 63UL : 31UL));
        if (by.Knows(1) && count == 0)
            return Store(instruction, 0, a);
        SetFlags(0, false);
        if (!a.Knows(size) || !b.Knows(size) || !by.Knows(1) || size == 2)
            return Store(instruction, 0, Bits.None);
        (ulong x, ulong y) = (a.Value & Bits.Mask(size), b.Value & Bits.Mask(size));
        return Store(instruction, 0, Bits.Of((instruction.Mnemonic == Mnemonic.Shld ? (x << count) | (y >> (width - count)) : (x >> count) | (y << (width - count))) & Bits.Mask(size)));
    }

    private StepEnd Multiply(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (instruction.OpCount > 1)
        {
            if (Load(instruction, instruction.OpCount - 2, out Bits a) is var first and not StepEnd.Done)
                return first;
            if (Load(instruction, instruction.OpCount - 1, out Bits b) is var second and not StepEnd.Done)
                return second;
            bool known = a.Knows(size) && b.Knows(size);
            (ulong product, uint flags) = Arithmetic.Multiply(a.Value, b.Value, size);
            SetFlags(flags, known, Arithmetic.Carry | Arithmetic.Overflow);
            return Store(instruction, 0, known ? Bits.Of(product) : Bits.None);
        }

        if (Load(instruction, 0, out Bits factor) is var end and not StepEnd.Done)
            return end;
        if (size < 4)
            return Unsupported(instruction);
        Bits other = Read(Register.RAX);
        SetFlags(0, false);
        if (!factor.Knows(size) || !other.Knows(size))
        {
            (this[Gpr.Rax], this[Gpr.Rdx]) = (Bits.None, Bits.None);
            return StepEnd.Done;
        }

        UInt128 wide = instruction.Mnemonic == Mnemonic.Mul
            ? (UInt128)(factor.Value & Bits.Mask(size)) * (other.Value & Bits.Mask(size))
            : unchecked((UInt128)((Int128)Arithmetic.Signed(factor.Value, size) * Arithmetic.Signed(other.Value, size)));
        this[Gpr.Rax] = Bits.Of((ulong)(wide & Bits.Mask(size)));
        this[Gpr.Rdx] = Bits.Of((ulong)((wide >> (size * 8)) & Bits.Mask(size)));
        return StepEnd.Done;
    }

    private StepEnd Divide(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (Load(instruction, 0, out Bits by) is var end and not StepEnd.Done)
            return end;
        if (size < 4)
            return Unsupported(instruction);
        SetFlags(0, false);
        (Bits low, Bits high) = (Read(Register.RAX), Read(Register.RDX));
        if (!by.Knows(size))
            return Missing("divides by what is not known");
        ulong mask = Bits.Mask(size);
        if ((by.Value & mask) == 0)
            return Traps("divides by zero");
        if (!low.Knows(size) || !high.Knows(size))
        {
            (this[Gpr.Rax], this[Gpr.Rdx]) = (Bits.None, Bits.None);
            return StepEnd.Done;
        }

        UInt128 dividend = ((UInt128)(high.Value & mask) << (size * 8)) | (low.Value & mask);
        if (instruction.Mnemonic == Mnemonic.Div)
        {
            UInt128 quotient = dividend / (by.Value & mask);
            if (quotient > mask)
                return Traps("divides with an overflow");
            (this[Gpr.Rax], this[Gpr.Rdx]) = (Bits.Of((ulong)quotient), Bits.Of((ulong)(dividend % (by.Value & mask))));
            return StepEnd.Done;
        }

        Int128 signed = size == 8 ? unchecked((Int128)dividend) : unchecked((long)(ulong)dividend);
        long divisor = Arithmetic.Signed(by.Value, size);
        Int128 result = divisor == -1 ? unchecked(-signed) : signed / divisor;
        if (result != Arithmetic.Signed(unchecked((ulong)result), size))
            return Traps("divides with an overflow");
        (this[Gpr.Rax], this[Gpr.Rdx]) = (Bits.Of(unchecked((ulong)result) & mask), Bits.Of(unchecked((ulong)(divisor == -1 ? 0 : signed % divisor)) & mask));
        return StepEnd.Done;
    }

    private StepEnd ExtendSign(Mnemonic mnemonic)
    {
        Bits rax = Read(Register.RAX);
        switch (mnemonic)
        {
            case Mnemonic.Cdqe:
                return Write(Register.RAX, rax.SignExtended(4));
            case Mnemonic.Cwde:
                return Write(Register.EAX, rax.SignExtended(2));
            case Mnemonic.Cbw:
                return Write(Register.AX, rax.SignExtended(1));
            default:
                int size = mnemonic switch { Mnemonic.Cqo => 8, Mnemonic.Cdq => 4, _ => 2 };
                Bits sign = rax.Knows(size) ? Bits.Of(Arithmetic.Signed(rax.Value, size) < 0 ? ulong.MaxValue : 0) : Bits.None;
                return Write(mnemonic switch { Mnemonic.Cqo => Register.RDX, Mnemonic.Cdq => Register.EDX, _ => Register.DX }, sign);
        }
    }

    private StepEnd BitTest(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (Load(instruction, 1, out Bits which) is var second and not StepEnd.Done)
            return second;
        if (!which.Knows(instruction.Op1Kind == OpKind.Register ? size : 1))
            return Missing("looks at a bit whose number is not known");
        ulong address = 0;
        Bits a;
        int bit = (int)(which.Value & (ulong)((size * 8) - 1));
        bool isMemory = instruction.Op0Kind == OpKind.Memory;
        if (isMemory)
        {
            // A register's bit number reaches beyond the operand.
            if (Locate(instruction, out address) is var located and not StepEnd.Done)
                return located;
            if (instruction.Op1Kind == OpKind.Register)
                address = unchecked(address + (ulong)((Arithmetic.Signed(which.Value, size) >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size));
            if (Access(memory.Read(address, size, out a), address, "reads") is var read and not StepEnd.Done)
                return read;
        }
        else if (Load(instruction, 0, out a) is var first and not StepEnd.Done)
        {
            return first;
        }

        ulong mask = 1UL << bit;
        bool known = (a.Known & mask) != 0;
        uint carry = (a.Value & mask) != 0 ? Arithmetic.Carry : 0;
        Bits changed = instruction.Mnemonic switch
        {
            Mnemonic.Bts => new Bits(a.Value | mask, a.Known | mask),
            Mnemonic.Btr => new Bits(a.Value & ~mask, a.Known | mask),
            Mnemonic.Btc => new Bits(a.Value ^ mask, a.Known),
            _ => a,
        };
        StepEnd end = instruction.Mnemonic == Mnemonic.Bt ? StepEnd.Done
            : isMemory ? Access(memory.Write(address, size, changed, Ip, Repeats), address, "writes to") : Store(instruction, 0, changed);

        // ZF stays as it was, the others are not defined.
        (_flags, _knownFlags) = ((_flags & Arithmetic.Zero) | carry, (_knownFlags & Arithmetic.Zero) | (known ? Arithmetic.Carry : 0));
        return end;
    }

    private StepEnd Count(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0), width = size * 8;
        if (Load(instruction, 1, out Bits a) is var end and not StepEnd.Done)
            return end;
        if (!a.Knows(size))
        {
            SetFlags(0, false);
            return Store(instruction, 0, Bits.None);
        }

        ulong value = a.Value & Bits.Mask(size);
        ulong leading = (ulong)(BitOperations.LeadingZeroCount(value) - (64 - width)), trailing = value == 0 ? (ulong)width : (ulong)BitOperations.TrailingZeroCount(value);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Popcnt:
                SetFlags(value == 0 ? Arithmetic.Zero : 0, true);
                return Store(instruction, 0, Bits.Of((ulong)BitOperations.PopCount(value)));
            case Mnemonic.Tzcnt or Mnemonic.Lzcnt:
                ulong count = instruction.Mnemonic == Mnemonic.Tzcnt ? trailing : leading;
                SetFlags((value == 0 ? Arithmetic.Carry : 0) | (count == 0 ? Arithmetic.Zero : 0), true, Arithmetic.Carry | Arithmetic.Zero);
                return Store(instruction, 0, Bits.Of(count));
            default:
                // Of a zero the destination stays as it was: what processors do, and the kernel relies on (arch/x86/include/asm/bitops.h).
                SetFlags(value == 0 ? Arithmetic.Zero : 0, true, Arithmetic.Zero);
                return value == 0 ? StepEnd.Done : Store(instruction, 0, Bits.Of(instruction.Mnemonic == Mnemonic.Bsf ? trailing : (ulong)width - 1 - leading));
        }
    }

    private StepEnd Exchange(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        Bits a;
        if ((instruction.Mnemonic == Mnemonic.Xadd ? LoadReplaced(instruction, out a) : Load(instruction, 0, out a)) is var first and not StepEnd.Done)
            return first;
        if (Load(instruction, 1, out Bits b) is var second and not StepEnd.Done)
            return second;
        Bits into = b;
        if (instruction.Mnemonic == Mnemonic.Xadd)
        {
            a = Before(instruction, a, b.Value);
            bool known = a.Knows(size) && b.Knows(size);
            (ulong sum, uint flags) = Arithmetic.Add(a.Value, b.Value, false, size);
            into = known ? Bits.Of(sum) : Bits.None;
            SetFlags(flags, known);
        }

        // The register first where both are registers: xadd of one with itself leaves the sum.
        if (instruction.Op0Kind == OpKind.Memory)
            return Store(instruction, 0, into) is var stored and not StepEnd.Done ? stored : Store(instruction, 1, a);
        return Store(instruction, 1, a) is var swapped and not StepEnd.Done ? swapped : Store(instruction, 0, into);
    }

    private StepEnd CompareExchange(in Instruction instruction)
    {
        int size = SizeOf(instruction, 0);
        if (Load(instruction, out Bits a, out Bits b) is var loaded and not StepEnd.Done)
            return loaded;
        Bits expected = Read(Register.RAX);
        if (!a.Knows(size) || !expected.Knows(size))
            return Missing("compares what is not known");
        (ulong difference, uint flags) = Arithmetic.Subtract(expected.Value, a.Value, false, size);
        StepEnd end = difference == 0 ? IsDone(instruction) ? StepEnd.Done : Store(instruction, 0, b) : Write(size switch { 8 => Register.RAX, 4 => Register.EAX, 2 => Register.AX, _ => Register.AL }, a);
        SetFlags(flags, true);

        // What it would have put there is there: it may have done so.
        if (difference != 0 && Repeats && instruction.Op0Kind == OpKind.Memory && b.Knows(size) && ((a.Value ^ b.Value) & Bits.Mask(size)) == 0 && Locate(instruction, out ulong address) == StepEnd.Done)
            memory.NoteLeftAlone(address, size);
        return end;
    }

    /// <summary>CMPXCHG16B: RDX:RAX with 16 bytes of memory, which RCX:RBX replaces.</summary>
    private StepEnd CompareExchangeTwo(in Instruction instruction)
    {
        if (Locate(instruction, out ulong address) is var located and not StepEnd.Done)
            return located;
        if (Access(memory.Read(address, 8, out Bits low), address, "reads") is var first and not StepEnd.Done)
            return first;
        if (Access(memory.Read(unchecked(address + 8), 8, out Bits high), unchecked(address + 8), "reads") is var second and not StepEnd.Done)
            return second;
        (Bits a, Bits d) = (Read(Register.RAX), Read(Register.RDX));
        if (!low.Knows(8) || !high.Knows(8) || !a.Knows(8) || !d.Knows(8))
            return Missing("compares what is not known");
        bool isSame = low.Value == a.Value && high.Value == d.Value;
        if (isSame)
        {
            if (Access(memory.Write(address, 8, Read(Register.RBX), Ip, Repeats), address, "writes to") is var third and not StepEnd.Done)
                return third;
            if (Access(memory.Write(unchecked(address + 8), 8, Read(Register.RCX), Ip, Repeats), address, "writes to") is var fourth and not StepEnd.Done)
                return fourth;
        }
        else
        {
            (this[Gpr.Rax], this[Gpr.Rdx]) = (low, high);
        }

        (_flags, _knownFlags) = ((_flags & ~Arithmetic.Zero) | (isSame ? Arithmetic.Zero : 0), _knownFlags | Arithmetic.Zero);
        return StepEnd.Done;
    }
}
