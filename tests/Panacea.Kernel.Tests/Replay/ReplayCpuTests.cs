using System.Runtime.InteropServices;
using Iced.Intel;
using Panacea.Kernel.Replay;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Memory;
using InstructionCode = Iced.Intel.Code;

namespace Panacea.Kernel.Tests.Replay;

/// <summary>Instructions as the replay executes them, held against the processor that the tests run on.</summary>
public sealed class ReplayCpuTests
{
    private const ulong Physical = 0x10_0000, CodeBase = 0xffff_ffff_8100_0000, CodePhysical = 0x20_0000;

    private static readonly Mnemonic[] Mnemonics =
    [
        Mnemonic.Mov, Mnemonic.Movzx, Mnemonic.Movsx, Mnemonic.Movsxd, Mnemonic.Lea, Mnemonic.Add, Mnemonic.Adc, Mnemonic.Sub, Mnemonic.Sbb, Mnemonic.Cmp, Mnemonic.And, Mnemonic.Or, Mnemonic.Xor, Mnemonic.Test,
        Mnemonic.Inc, Mnemonic.Dec, Mnemonic.Neg, Mnemonic.Not, Mnemonic.Bswap, Mnemonic.Shl, Mnemonic.Shr, Mnemonic.Sar, Mnemonic.Rol, Mnemonic.Ror, Mnemonic.Shld, Mnemonic.Shrd, Mnemonic.Imul, Mnemonic.Mul,
        Mnemonic.Div, Mnemonic.Idiv, Mnemonic.Cdqe, Mnemonic.Cwde, Mnemonic.Cbw, Mnemonic.Cdq, Mnemonic.Cqo, Mnemonic.Cwd, Mnemonic.Bt, Mnemonic.Bts, Mnemonic.Btr, Mnemonic.Btc, Mnemonic.Bsf, Mnemonic.Bsr,
        Mnemonic.Popcnt, Mnemonic.Xchg, Mnemonic.Xadd, Mnemonic.Cmpxchg,
        Mnemonic.Sete, Mnemonic.Setne, Mnemonic.Seta, Mnemonic.Setb, Mnemonic.Setg, Mnemonic.Setle, Mnemonic.Sets, Mnemonic.Seto, Mnemonic.Setp, Mnemonic.Cmove, Mnemonic.Cmovne, Mnemonic.Cmova, Mnemonic.Cmovbe,
        Mnemonic.Cmovg, Mnemonic.Cmovl, Mnemonic.Cmovs, Mnemonic.Cmovno, Mnemonic.Cmovae, Mnemonic.Cmovge, Mnemonic.Cmovnp,
        Mnemonic.Movsb, Mnemonic.Movsw, Mnemonic.Movsd, Mnemonic.Movsq, Mnemonic.Stosb, Mnemonic.Stosw, Mnemonic.Stosd, Mnemonic.Stosq,
    ];

    private static readonly InstructionCode[] Codes = [.. Enum.GetValues<InstructionCode>().Where(c => c.Mnemonic() is var m && Array.IndexOf(Mnemonics, m) >= 0 && IsUsed(c.ToOpCode()))];

    private static readonly ulong[] Interesting = [0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue];

    [Fact]
    public void Every_instruction_does_what_the_host_does()
    {
        using var host = new HostCpu();
        var done = new HashSet<Mnemonic>();
        Fuzzer.Run(nameof(Every_instruction_does_what_the_host_does), random => Compare(host, random, done), new FuzzCeilings(), share: 2);
        Assert.True(done.Count == Mnemonics.Length || Fuzzer.Cases < 20_000, $"never tried: {string.Join(", ", Mnemonics.Except(done))}");
    }

    private static void Compare(HostCpu host, Random random, HashSet<Mnemonic> done)
    {
        InstructionCode code = Codes[random.Next(Codes.Length)];
        OpCodeInfo info = code.ToOpCode();
        var instruction = new Instruction { Code = code };
        if (info.CanUseRepPrefix && random.Next(2) == 0)
            instruction.HasRepPrefix = true;
        for (int i = 0; i < info.OpCount; i++)
        {
            if (!Fill(ref instruction, i, info.GetOpKind(i), random))
                return;
        }

        if (instruction.Op0Kind == OpKind.Memory && info.CanUseLockPrefix && random.Next(4) == 0)
            instruction.HasLockPrefix = true;
        var encoder = Encoder.Create(64, new ListWriter(out List<byte> encoded));
        if (!encoder.TryEncode(instruction, CodeBase, out _, out string? error))
        {
            // Of the byte registers, AH to BH go with no other new ones.
            Assert.Contains("AH", error, StringComparison.Ordinal);
            return;
        }

        byte[] bytes = [.. encoded];
        ulong[] registers = [.. Enumerable.Range(0, 16).Select(_ => Value(random))];
        random.NextBytes(host.DataBytes);
        Prepare(instruction, registers, host.Data, random);
        ulong flags = 0x202 | ((ulong)random.Next() & Arithmetic.All);

        var physical = new SparsePhysicalMemory(0x1000_0000);
        var tables = new PageTableBuilder(physical, PagingMode.FourLevel, 0x100_0000);
        tables.Map(host.Data, Physical);
        tables.Map(CodeBase, CodePhysical);
        physical.Write(Physical, host.DataBytes);
        physical.Write(CodePhysical, bytes);
        var memory = new ReplayMemory(tables.Space);
        var cpu = new ReplayCpu(memory, 0) { Ip = CodeBase, Flags = ((uint)flags & Arithmetic.All, Arithmetic.All) };
        for (int i = 0; i < 16; i++)
            cpu[(Gpr)i] = Bits.Of(registers[i]);
        Assert.True(cpu.TryDecode(out Instruction decoded));
        StepEnd end = cpu.Step(decoded);
        if (end == StepEnd.Traps && decoded.Mnemonic is Mnemonic.Div or Mnemonic.Idiv)
            return;
        Assert.True(end == StepEnd.Done, $"{decoded}: {cpu.Why}");
        host.Run(bytes, registers, ref flags);
        done.Add(code.Mnemonic());
        for (int i = 0; i < 16; i++)
        {
            if (i != (int)Gpr.Rsp)
                Assert.True(cpu[(Gpr)i].Knows(8) && cpu[(Gpr)i].Value == registers[i], $"{decoded}: {(Gpr)i} is 0x{cpu[(Gpr)i].Value:x}, not 0x{registers[i]:x}");
        }

        uint known = cpu.Flags.Known;
        Assert.True((cpu.Flags.Value & known) == (flags & known), $"{decoded}: flags 0x{cpu.Flags.Value & known:x}, not 0x{flags & known:x} of 0x{known:x}");
        for (int i = 0; i < 4096; i += 8)
        {
            Assert.Equal(ReplayAccess.Done, memory.Read(host.Data + (ulong)i, 8, out Bits now));
            Assert.True(now.Knows(8) && now.Value == MemoryMarshal.Read<ulong>(host.DataBytes[i..]), $"{decoded}: memory at +0x{i:x}");
        }
    }

    /// <summary>What compilers' code for the kernel has.</summary>
    private static bool IsUsed(OpCodeInfo info) => info.Encoding == EncodingKind.Legacy && info.Mode64 && Enumerable.Range(0, info.OpCount).All(i => Kind(info.GetOpKind(i)) is not null) && info.Code is not (InstructionCode.Lea_r16_m or InstructionCode.Movsxd_r16_rm16 or InstructionCode.Movsxd_r32_rm32 or InstructionCode.Bswap_r16)
        && !(info.Mnemonic is Mnemonic.Mul or Mnemonic.Div or Mnemonic.Idiv or Mnemonic.Imul && info.OpCount == 1 && info.Code.ToString() is var name && (name.EndsWith("rm8", StringComparison.Ordinal) || name.EndsWith("rm16", StringComparison.Ordinal)))
        && !(info.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd && info.Code.ToString().Contains("rm16", StringComparison.Ordinal));

    private static (int Size, char What)? Kind(OpCodeOperandKind kind) => kind switch
    {
        OpCodeOperandKind.r8_or_mem => (1, 'e'),
        OpCodeOperandKind.r16_or_mem => (2, 'e'),
        OpCodeOperandKind.r32_or_mem => (4, 'e'),
        OpCodeOperandKind.r64_or_mem => (8, 'e'),
        OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode => (1, 'r'),
        OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_opcode => (2, 'r'),
        OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_opcode => (4, 'r'),
        OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_opcode => (8, 'r'),
        OpCodeOperandKind.mem => (8, 'm'),
        OpCodeOperandKind.imm8 => (1, 'i'),
        OpCodeOperandKind.imm16 => (2, 'i'),
        OpCodeOperandKind.imm32 => (4, 'i'),
        OpCodeOperandKind.imm64 => (8, 'i'),
        OpCodeOperandKind.imm8sex16 or OpCodeOperandKind.imm8sex32 or OpCodeOperandKind.imm8sex64 => (1, 's'),
        OpCodeOperandKind.imm32sex64 => (4, 's'),
        OpCodeOperandKind.cl => (1, 'c'),
        OpCodeOperandKind.al => (1, 'a'),
        OpCodeOperandKind.ax => (2, 'a'),
        OpCodeOperandKind.eax => (4, 'a'),
        OpCodeOperandKind.rax => (8, 'a'),
        OpCodeOperandKind.imm8_const_1 => (1, '1'),
        OpCodeOperandKind.seg_rSI => (8, 'S'),
        OpCodeOperandKind.es_rDI => (8, 'D'),
        _ => null,
    };

    private static bool Fill(ref Instruction instruction, int operand, OpCodeOperandKind kind, Random random)
    {
        (int size, char what) = Kind(kind)!.Value;
        switch (what)
        {
            case 'm' or 'e' when what == 'm' || random.Next(2) == 0:
                instruction.SetOpKind(operand, OpKind.Memory);
                instruction.MemoryBase = Register.R14;
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = (ulong)random.Next(0, 64);
                if (random.Next(2) == 0)
                    (instruction.MemoryIndex, instruction.MemoryIndexScale) = (Register.R13, 1 << random.Next(4));
                return true;
            case 'e' or 'r':
                instruction.SetOpKind(operand, OpKind.Register);
                instruction.SetOpRegister(operand, Any(size, random));
                return true;
            case 'a' or 'c':
                instruction.SetOpKind(operand, OpKind.Register);
                instruction.SetOpRegister(operand, what == 'c' ? Register.CL : size switch { 1 => Register.AL, 2 => Register.AX, 4 => Register.EAX, _ => Register.RAX });
                return true;
            case 'S':
                instruction.SetOpKind(operand, OpKind.MemorySegRSI);
                return true;
            case 'D':
                instruction.SetOpKind(operand, OpKind.MemoryESRDI);
                return true;
            case '1':
                instruction.SetOpKind(operand, OpKind.Immediate8);
                instruction.SetImmediate(operand, 1);
                return true;
            default:
                instruction.SetOpKind(operand, kind switch
                {
                    OpCodeOperandKind.imm8 => OpKind.Immediate8,
                    OpCodeOperandKind.imm16 => OpKind.Immediate16,
                    OpCodeOperandKind.imm32 => OpKind.Immediate32,
                    OpCodeOperandKind.imm64 => OpKind.Immediate64,
                    OpCodeOperandKind.imm8sex16 => OpKind.Immediate8to16,
                    OpCodeOperandKind.imm8sex32 => OpKind.Immediate8to32,
                    OpCodeOperandKind.imm8sex64 => OpKind.Immediate8to64,
                    _ => OpKind.Immediate32to64,
                });
                ulong value = Value(random);
                instruction.SetImmediate(operand, what == 's' ? (long)Arithmetic.Signed(value, size) : unchecked((long)(value & Bits.Mask(size))));
                return true;
        }
    }

    /// <summary>Any but the stack pointer and those that memory is addressed by.</summary>
    private static Register Any(int size, Random random)
    {
        int number;
        do
            number = random.Next(16);
        while (number is 4 or 13 or 14);
        Register first = size switch { 1 => Register.AL, 2 => Register.AX, 4 => Register.EAX, _ => Register.RAX };

        // The byte registers stand in another order, with AH to BH among them.
        if (size == 1)
            return number < 4 ? (random.Next(4) == 0 ? Register.AH : Register.AL) + number : number < 8 ? Register.SPL + (number - 4) : Register.R8L + (number - 8);
        return first + number;
    }

    private static void Prepare(in Instruction instruction, ulong[] registers, ulong data, Random random)
    {
        registers[(int)Gpr.R14] = data + 1024;
        registers[(int)Gpr.R13] = (ulong)random.Next(0, 32);
        if (instruction.IsStringInstruction)
        {
            (registers[(int)Gpr.Rsi], registers[(int)Gpr.Rdi], registers[(int)Gpr.Rcx]) = (data + (ulong)random.Next(1024), data + 2048 + (ulong)random.Next(1024), (ulong)random.Next(0, 64));
            return;
        }

        // A bit number in a register reaches far beyond the operand.
        if (instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && instruction is { Op0Kind: OpKind.Memory, Op1Kind: OpKind.Register })
            registers[instruction.Op1Register.GetFullRegister() - Register.RAX] = unchecked((ulong)(long)random.Next(-4000, 4000));
        if (instruction.Mnemonic == Mnemonic.Cmpxchg && random.Next(2) == 0 && instruction.Op0Kind == OpKind.Register)
            registers[0] = registers[instruction.Op0Register.GetFullRegister() - Register.RAX];

        // Quotients that fit.
        if (instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv && random.Next(4) > 0)
            registers[(int)Gpr.Rdx] = instruction.Mnemonic == Mnemonic.Idiv && unchecked((long)registers[0]) < 0 ? ulong.MaxValue : (ulong)random.Next(3);
    }

    private static ulong Value(Random random) => random.Next(3) switch
    {
        0 => Interesting[random.Next(Interesting.Length)],
        1 => (ulong)random.NextInt64() << 1 | (uint)random.Next(2),
        _ => unchecked((ulong)(random.NextInt64() >> random.Next(64)) * (random.Next(2) == 0 ? 1UL : ulong.MaxValue)),
    };

    private sealed class ListWriter : CodeWriter
    {
        private readonly List<byte> _bytes;

        public ListWriter(out List<byte> bytes) => bytes = _bytes = [];

        public override void WriteByte(byte value) => _bytes.Add(value);
    }
}
