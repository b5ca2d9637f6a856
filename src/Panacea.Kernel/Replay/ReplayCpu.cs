using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>What became of one instruction of a replay.</summary>
internal enum StepEnd
{
    /// <summary>It was executed.</summary>
    Done,

    /// <summary>A CPU would trap there.</summary>
    Traps,

    /// <summary>What it does can't be told: it is of a device, of the system, or depends on what is not known.</summary>
    Unknown,
}

/// <summary>
/// One CPU that executes kernel code over a copy of what its memory holds: integer instructions, those of them that compilers and the kernel's own assembly use. Values that are not known stay
/// unknown; an instruction whose effect depends on one ends the replay. Nothing is ever written to the guest.
/// </summary>
/// <remarks>Not safe for concurrent use. Each step is bounded, string instructions by <see cref="MaxStringBytes"/>.</remarks>
/// <param name="memory">Memory.</param>
/// <param name="gsBase">Base of GS: the CPU's per-CPU area.</param>
/// <param name="cache">What other replays over the same memory have decoded.</param>
internal sealed partial class ReplayCpu(ReplayMemory memory, ulong gsBase, ReplayCache? cache = null)
{
    /// <summary>Bound on what one string instruction moves.</summary>
    public const ulong MaxStringBytes = 64 * 1024;

    private const int LongestInstruction = 15;

    private readonly ReplayCache _decoded = cache ?? new ReplayCache();
    private readonly Bits[] _registers = new Bits[16];
    private readonly byte[] _code = new byte[LongestInstruction];
    private uint _flags, _knownFlags;
    private uint _undefined;
    private Register _missing;

    /// <summary>Instruction pointer.</summary>
    public ulong Ip { get; set; }

    /// <summary>The time stamp counter, which stands still here; null, or a result of null, where it is not known.</summary>
    public Func<ulong?>? TimeStamp { get; init; }

    /// <summary>The interrupt flag; null where it is not known.</summary>
    public bool? Interrupts { get; set; }

    /// <summary>The instruction executed last may have been executed by the crashed code: what it stores must make no difference.</summary>
    public bool Repeats { get; set; }

    /// <summary>What may have been executed was: a counter in memory that it counts holds the result already, and a device has been told what it was told.</summary>
    public bool AssumesDone { get; set; }

    /// <summary>The last step did not end because something is not known that the code works with.</summary>
    public bool LacksValue { get; private set; }

    /// <summary>Units that string instructions and blocks have moved so far: they take their time like instructions.</summary>
    public ulong Moved { get; private set; }

    /// <summary>Why the last step did not end with <see cref="StepEnd.Done"/>: completes "it …".</summary>
    public string Why { get; private set; } = "";

    /// <summary>That was because it has come to a device's memory: a CPU would go on.</summary>
    public bool IsAtDevice { get; private set; }

    /// <summary>The arithmetic flags, and which of them are known.</summary>
    public (uint Value, uint Known) Flags
    {
        get => (_flags, _knownFlags);
        set => (_flags, _knownFlags) = value;
    }

    /// <summary>A register.</summary>
    public Bits this[Gpr register]
    {
        get => _registers[(int)register];
        set
        {
            _registers[(int)register] = value;
            _undefined &= ~(1u << (int)register);
        }
    }

    /// <summary>The stack pointer, which is always known.</summary>
    public ulong StackPointer
    {
        get => _registers[(int)Gpr.Rsp].Value;
        set => _registers[(int)Gpr.Rsp] = Bits.Of(value);
    }

    /// <summary>From here on a register that is not known and is read before it is written ends the replay, unless it is only saved: the guest's own code would read something.</summary>
    public void Enter()
    {
        _undefined = 0;
        for (int i = 0; i < _registers.Length; i++)
            _undefined |= _registers[i].Knows(8) ? 0 : 1u << i;
    }

    /// <summary>Forgets what a function that is not executed may change (System V ABI), and its result with it.</summary>
    public void ForgetCallerSaved()
    {
        foreach (Gpr register in (ReadOnlySpan<Gpr>)[Gpr.Rax, Gpr.Rcx, Gpr.Rdx, Gpr.Rsi, Gpr.Rdi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11])
            this[register] = Bits.None;
        (_knownFlags, _undefined) = (0, 0);
    }

    /// <summary>The instruction that is next.</summary>
    /// <returns>False where there is no code, or none that can be read.</returns>
    public bool TryDecode(out Instruction instruction)
    {
        if (_decoded.TryInstruction(Ip, out instruction))
            return true;
        int length = memory.ReadCode(Ip, _code);
        if (length == 0)
            return false;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(_code, 0, length));
        decoder.IP = Ip;
        decoder.Decode(out instruction);
        if (instruction.IsInvalid)
            return false;
        _decoded.Keep(instruction);
        return true;
    }

    /// <summary>Goes by an instruction whose effect can't be told: what it writes to registers is not known.</summary>
    /// <returns>False where it may write to memory, or go elsewhere.</returns>
    public bool PassBy(in Instruction instruction)
    {
        InstructionInfo info = new InstructionInfoFactory().GetInfo(instruction);
        if (instruction.FlowControl != FlowControl.Next || info.GetUsedMemory().Any(m => m.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess)))
            return false;
        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (used.Access is not (OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite) || !used.Register.IsGPR())
                continue;
            if (used.Register.GetFullRegister() == Register.RSP)
                return false;
            this[(Gpr)(used.Register.GetFullRegister() - Register.RAX)] = Bits.None;
        }

        _knownFlags = 0;
        Ip = instruction.NextIP;
        return true;
    }

    /// <summary>Goes by an instruction that has stored what it stores: flags that it sets are not known.</summary>
    public void GoBy(in Instruction instruction)
    {
        if (instruction.RflagsModified != RflagsBits.None)
            _knownFlags = 0;
        Ip = instruction.NextIP;
    }

    /// <summary>Returns from a function that is not executed.</summary>
    public StepEnd Return()
    {
        if (Pop(out Bits to) is var end and not StepEnd.Done)
            return end;
        return GoTo(to);
    }

    /// <summary>Executes one instruction.</summary>
    public StepEnd Step(in Instruction instruction)
    {
        (_missing, LacksValue) = (Register.None, false);
        StepEnd end = Run(instruction);
        if (end != StepEnd.Done || _missing == Register.None || instruction.Mnemonic == Mnemonic.Push)
            return end;
        return Missing($"needs {_missing.ToString().ToLowerInvariant()}, which the code of the call does not tell");
    }

    private StepEnd Run(in Instruction instruction)
    {
        ulong next = instruction.NextIP;
        switch (instruction.FlowControl)
        {
            case FlowControl.Next:
                if (Execute(instruction) is var end and not StepEnd.Done)
                    return end;
                Ip = next;
                return StepEnd.Done;
            case FlowControl.ConditionalBranch when instruction.ConditionCode != ConditionCode.None && instruction.Mnemonic is not (Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne):
                if (!Knows(instruction.ConditionCode))
                    return Missing("goes where something says that is not known");
                Ip = Holds(instruction.ConditionCode) ? instruction.NearBranchTarget : next;
                return StepEnd.Done;
            case FlowControl.UnconditionalBranch:
                Ip = instruction.NearBranchTarget;
                return StepEnd.Done;
            case FlowControl.IndirectBranch when instruction.Mnemonic == Mnemonic.Jmp:
                return Load(instruction, 0, out Bits to) is var jump and not StepEnd.Done ? jump : GoTo(to);
            case FlowControl.Call when instruction.Mnemonic == Mnemonic.Call:
                if (Push(Bits.Of(next)) is var call and not StepEnd.Done)
                    return call;
                Ip = instruction.NearBranchTarget;
                return StepEnd.Done;
            case FlowControl.IndirectCall when instruction.Mnemonic == Mnemonic.Call:
                if (Load(instruction, 0, out Bits target) is var read and not StepEnd.Done)
                    return read;
                return Push(Bits.Of(next)) is var pushed and not StepEnd.Done ? pushed : GoTo(target);
            case FlowControl.Return when instruction.Mnemonic == Mnemonic.Ret && instruction.OpCount == 0:
                return Return();
            case FlowControl.Exception or FlowControl.Interrupt:
                return Traps($"executes {instruction.Mnemonic.ToString().ToLowerInvariant()}");
            default:
                return Unsupported(instruction);
        }
    }

    private bool Knows(ConditionCode condition)
    {
        uint looksAt = condition switch
        {
            ConditionCode.o or ConditionCode.no => Arithmetic.Overflow,
            ConditionCode.b or ConditionCode.ae => Arithmetic.Carry,
            ConditionCode.e or ConditionCode.ne => Arithmetic.Zero,
            ConditionCode.be or ConditionCode.a => Arithmetic.Carry | Arithmetic.Zero,
            ConditionCode.s or ConditionCode.ns => Arithmetic.Sign,
            ConditionCode.p or ConditionCode.np => Arithmetic.Parity,
            ConditionCode.l or ConditionCode.ge => Arithmetic.Sign | Arithmetic.Overflow,
            _ => Arithmetic.Zero | Arithmetic.Sign | Arithmetic.Overflow,
        };
        return (_knownFlags & looksAt) == looksAt;
    }

    private bool Holds(ConditionCode condition)
    {
        bool Flag(uint flag) => (_flags & flag) != 0;
        return condition switch
        {
            ConditionCode.o => Flag(Arithmetic.Overflow),
            ConditionCode.no => !Flag(Arithmetic.Overflow),
            ConditionCode.b => Flag(Arithmetic.Carry),
            ConditionCode.ae => !Flag(Arithmetic.Carry),
            ConditionCode.e => Flag(Arithmetic.Zero),
            ConditionCode.ne => !Flag(Arithmetic.Zero),
            ConditionCode.be => Flag(Arithmetic.Carry) || Flag(Arithmetic.Zero),
            ConditionCode.a => !Flag(Arithmetic.Carry) && !Flag(Arithmetic.Zero),
            ConditionCode.s => Flag(Arithmetic.Sign),
            ConditionCode.ns => !Flag(Arithmetic.Sign),
            ConditionCode.p => Flag(Arithmetic.Parity),
            ConditionCode.np => !Flag(Arithmetic.Parity),
            ConditionCode.l => Flag(Arithmetic.Sign) != Flag(Arithmetic.Overflow),
            ConditionCode.ge => Flag(Arithmetic.Sign) == Flag(Arithmetic.Overflow),
            ConditionCode.le => Flag(Arithmetic.Zero) || Flag(Arithmetic.Sign) != Flag(Arithmetic.Overflow),
            _ => !Flag(Arithmetic.Zero) && Flag(Arithmetic.Sign) == Flag(Arithmetic.Overflow),
        };
    }

    private StepEnd GoTo(Bits to)
    {
        if (!to.Knows(8))
            return Missing("goes to where something says that is not known");
        Ip = to.Value;
        return StepEnd.Done;
    }

    private StepEnd Push(Bits value)
    {
        ulong at = unchecked(StackPointer - 8);
        if (Access(memory.Write(at, 8, value, Ip, Repeats), at, "writes to") is var end and not StepEnd.Done)
            return end;
        StackPointer = at;
        return StepEnd.Done;
    }

    private StepEnd Pop(out Bits value)
    {
        ulong at = StackPointer;
        if (Access(memory.Read(at, 8, out value), at, "reads") is var end and not StepEnd.Done)
            return end;
        StackPointer = unchecked(at + 8);
        return StepEnd.Done;
    }

    private StepEnd Access(ReplayAccess access, ulong at, string does) => access switch
    {
        ReplayAccess.Done => StepEnd.Done,
        ReplayAccess.Faults => Traps($"{does} 0x{at:x}"),
        ReplayAccess.Device when AssumesDone && Repeats => StepEnd.Done,
        ReplayAccess.Device => Device($"{does} 0x{at:x}, which is a device's"),
        _ => Unknown($"{does} 0x{at:x}, which is not the kernel's memory"),
    };

    private StepEnd Device(string why)
    {
        IsAtDevice = true;
        return Unknown(why);
    }

    private StepEnd Traps(string why)
    {
        Why = why;
        return StepEnd.Traps;
    }

    private StepEnd Unknown(string why)
    {
        Why = why;
        return StepEnd.Unknown;
    }

    private StepEnd Missing(string why)
    {
        LacksValue = true;
        return Unknown(why);
    }

    private StepEnd Unsupported(in Instruction instruction) => Unknown($"executes {instruction.Mnemonic.ToString().ToLowerInvariant()}");

    private static int SizeOf(in Instruction instruction, int operand) => instruction.GetOpKind(operand) switch
    {
        OpKind.Register => instruction.GetOpRegister(operand).GetSize(),
        OpKind.Memory => instruction.MemorySize.GetSize(),
        _ => SizeOf(instruction, 0),
    };

    private Bits Read(Register register)
    {
        if (!register.IsGPR())
            return Bits.None;
        int number = register.GetFullRegister() - Register.RAX;
        if ((_undefined & (1u << number)) != 0)
            _missing = register;
        Bits whole = _registers[number];
        return register is Register.AH or Register.BH or Register.CH or Register.DH ? new Bits(whole.Value >> 8, whole.Known >> 8) : whole;
    }

    private StepEnd Write(Register register, Bits value)
    {
        if (!register.IsGPR())
            return Unknown($"writes {register.ToString().ToLowerInvariant()}");
        int number = register.GetFullRegister() - Register.RAX;
        _undefined &= ~(1u << number);
        ref Bits whole = ref _registers[number];
        whole = register.GetSize() switch
        {
            8 => value,
            4 => value.ZeroExtended(4),
            2 => whole.With(value, 2),
            _ when register is Register.AH or Register.BH or Register.CH or Register.DH =>
                new Bits((whole.Value & ~0xff00UL) | ((value.Value & 0xff) << 8), (whole.Known & ~0xff00UL) | ((value.Known & 0xff) << 8)),
            _ => whole.With(value, 1),
        };
        return register.GetFullRegister() != Register.RSP || whole.Knows(8) ? StepEnd.Done : Missing("sets the stack pointer to what is not known");
    }

    /// <summary>The address of the memory operand, without its segment's base.</summary>
    public bool TryAddress(in Instruction instruction, out ulong address)
    {
        address = instruction.MemoryDisplacement64;
        if (instruction.MemoryBase is not (Register.None or Register.RIP or Register.EIP))
        {
            Bits from = Read(instruction.MemoryBase);
            if (!from.Knows(8))
                return false;
            address = unchecked(address + from.Value);
        }

        if (instruction.MemoryIndex != Register.None)
        {
            Bits index = Read(instruction.MemoryIndex);
            if (!index.Knows(8))
                return false;
            address = unchecked(address + (index.Value * (ulong)instruction.MemoryIndexScale));
        }

        return true;
    }

    /// <summary>Guest-virtual address of the memory operand, its segment's base with it.</summary>
    private StepEnd Locate(in Instruction instruction, out ulong address)
    {
        if (!TryAddress(instruction, out address))
            return Missing("accesses memory at an address that is not known");
        if (instruction.MemorySegment == Register.FS)
            return Unknown("accesses memory through FS");
        if (instruction.MemorySegment == Register.GS)
            address = unchecked(address + gsBase);
        return StepEnd.Done;
    }

    private StepEnd Load(in Instruction instruction, int operand, out Bits value)
    {
        value = Bits.None;
        switch (instruction.GetOpKind(operand))
        {
            case OpKind.Register:
                value = Read(instruction.GetOpRegister(operand));
                return StepEnd.Done;
            case OpKind.Memory:
                int size = instruction.MemorySize.GetSize();
                if (size is not (1 or 2 or 4 or 8))
                    return Unsupported(instruction);
                if (Locate(instruction, out ulong address) is var end and not StepEnd.Done)
                    return end;
                return Access(memory.Read(address, size, out value), address, "reads");
            case OpKind.Immediate8 or OpKind.Immediate16 or OpKind.Immediate32 or OpKind.Immediate64 or OpKind.Immediate8to16 or OpKind.Immediate8to32 or OpKind.Immediate8to64 or OpKind.Immediate32to64:
                value = Bits.Of(instruction.GetImmediate(operand));
                return StepEnd.Done;
            default:
                return Unsupported(instruction);
        }
    }

    /// <summary>What a counter in memory held before it was counted, where that is done: what is there is the result, and comes out again.</summary>
    private Bits Before(in Instruction instruction, Bits now, ulong change) => IsDone(instruction) ? new Bits(unchecked(now.Value - change), now.Known) : now;

    /// <summary>What it does to memory was done, and may have been undone since: a counter that others count too.</summary>
    private bool IsDone(in Instruction instruction) =>
        AssumesDone && Repeats && instruction.Op0Kind == OpKind.Memory && TryAddress(instruction, out ulong address) && !memory.IsScratch(unchecked(address + (instruction.MemorySegment == Register.GS ? gsBase : 0)));

    private StepEnd Load(in Instruction instruction, out Bits first, out Bits second)
    {
        second = Bits.None;
        return Load(instruction, 0, out first) is var end and not StepEnd.Done ? end : Load(instruction, 1, out second);
    }

    /// <summary>Loads an operand that the instruction replaces by a result of it which depends on nothing else: an OR or an AND of a second time makes of it what the first has; what a sum makes of it shows as another one.</summary>
    private StepEnd LoadReplaced(in Instruction instruction, out Bits value)
    {
        memory.IsReplaced = instruction.Op0Kind == OpKind.Memory && instruction.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test);
        StepEnd end = Load(instruction, 0, out value);
        memory.IsReplaced = false;
        return end;
    }

    private StepEnd Store(in Instruction instruction, int operand, Bits value)
    {
        if (instruction.GetOpKind(operand) == OpKind.Register)
            return Write(instruction.GetOpRegister(operand), value);
        int size = instruction.MemorySize.GetSize();
        if (instruction.GetOpKind(operand) != OpKind.Memory || size is not (1 or 2 or 4 or 8))
            return Unsupported(instruction);
        if (Locate(instruction, out ulong address) is var end and not StepEnd.Done)
            return end;
        return Access(memory.Write(address, size, value, Ip, Repeats), address, "writes to");
    }
}
