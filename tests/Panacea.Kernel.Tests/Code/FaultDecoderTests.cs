using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;
using Decoded = Panacea.Kernel.Code.FaultAccess;

namespace Panacea.Kernel.Tests.Code;

public class FaultDecoderTests
{
    private const ulong Ip = AssembledFunction.Start;
    private const ulong Kernel = 0xffff_8880_0123_4560;

    private static Decoded Decode(
        Action<Assembler> one, Action<Registers>? set = null, ulong? cr2 = null, ulong? error = null, ulong? gs = 0xffff_8880_3e00_0000)
    {
        var f = new AssembledFunction((a, _) => one(a));
        var registers = new Registers();
        set?.Invoke(registers);
        return FaultDecoder.Decode(f.Code, Ip, KnownRegisters.All(registers.File), gs, cr2, error);
    }

    internal sealed class Registers
    {
        private readonly ulong[] _values = [.. Enumerable.Range(0, 16).Select(i => Kernel + ((ulong)i << 12))];

        public GprFile File
        {
            get
            {
                GprFile file = default;
                for (int i = 0; i < 16; i++)
                    file[(Gpr)i] = _values[i];
                return file;
            }
        }

        public ulong this[Gpr register]
        {
            set => _values[(int)register] = value;
        }
    }

    [Fact]
    public void NullWrite()
    {
        Decoded fault = Decode(a => a.mov(__dword_ptr[rax + 0x58], 1), r => r[Gpr.Rax] = 0, cr2: 0x58, error: 2);
        Assert.Equal((AccessKind.Write, 0x58UL, AddressClass.Null), (fault.Kind, fault.Address!.Value, fault.Class!.Value.Class));
        Assert.Equal("NULL + 0x58", fault.Class.ToString());
        Assert.Equal(new RegisterValue(Gpr.Rax, 0), fault.BadRegister);
        Assert.Equal((4, 0x58L, 1), (fault.Operand!.Size, fault.Operand.Displacement, fault.Operand.Scale));
    }

    [Fact]
    public void WithoutCr2TheOperandItselfTells()
    {
        Decoded fault = Decode(a => a.mov(rax, __qword_ptr[rbx + 8]), r => r[Gpr.Rbx] = 0);
        Assert.Equal((AccessKind.Read, 8UL), (fault.Kind, fault.Address!.Value));
        Assert.Equal(Gpr.Rbx, fault.BadRegister!.Value.Register);

        // A good pointer is not accused.
        fault = Decode(a => a.mov(rax, __qword_ptr[rbx + 8]));
        Assert.Equal(AccessKind.None, fault.Kind);
        Assert.Null(fault.Address);
        Assert.Equal(Kernel + 0x3008, fault.Operand!.Address);
    }

    [Fact]
    public void GeneralProtectionHasNoAddressButTheOperandIsNotCanonical()
    {
        Decoded fault = Decode(a => a.mov(__qword_ptr[rcx + rdx * 8 + 0x10], rax), r =>
        {
            r[Gpr.Rcx] = 0x0123_4567_89ab_cdef;
            r[Gpr.Rdx] = 2;
        });
        Assert.Equal((AccessKind.Write, AddressClass.NonCanonical), (fault.Kind, fault.Class!.Value.Class));
        Assert.Equal(0x0123_4567_89ab_cdefUL + 32, fault.Address);
        Assert.Equal((Gpr.Rcx, Gpr.Rdx, 8), (fault.Operand!.Base!.Value.Register, fault.Operand.Index!.Value.Register, fault.Operand.Scale));
        Assert.Equal(Gpr.Rcx, fault.BadRegister!.Value.Register);
    }

    [Fact]
    public void TheIndexIsToBlameWhereTheBaseIsGood()
    {
        Decoded fault = Decode(a => a.mov(rax, __qword_ptr[rbx + rdx * 8]), r => r[Gpr.Rdx] = 0x1000_0000, cr2: Kernel + 0x3000 + 0x8000_0000, error: 0);
        Assert.Equal(Gpr.Rdx, fault.BadRegister!.Value.Register);
    }

    [Fact]
    public void OfTwoOperandsTheOneTheCpuNamed()
    {
        Action<Assembler> copy = a => a.rep.movsb();
        Action<Registers> to = r => r[Gpr.Rdi] = 0x10;
        Assert.Equal(AccessKind.Write, Decode(copy, to, cr2: 0x10, error: 2).Kind);
        Assert.Equal(Gpr.Rdi, Decode(copy, to, cr2: 0x10, error: 2).BadRegister!.Value.Register);
        Assert.Equal(Gpr.Rsi, Decode(copy, r => r[Gpr.Rsi] = 0x20, cr2: 0x20, error: 0).BadRegister!.Value.Register);
        Assert.Equal(FaultingInstruction.String, Decode(copy, to, cr2: 0x10, error: 2).Instruction);
    }

    [Fact]
    public void CallThroughNull()
    {
        // The instruction fetch itself.
        Decoded fault = FaultDecoder.Decode(new CodeBytes(Ip, ReadOnlyMemory<byte>.Empty), 0, default, null, 0, 0x10);
        Assert.Equal((AccessKind.Execute, FaultingInstruction.None, AddressClass.Null), (fault.Kind, fault.Instruction, fault.Class!.Value.Class));

        // A call through a table at NULL + offset is a read.
        fault = Decode(a => a.call(__qword_ptr[rax + 0x18]), r => r[Gpr.Rax] = 0, cr2: 0x18, error: 0);
        Assert.Equal((AccessKind.Read, FaultingInstruction.Call, Gpr.Rax), (fault.Kind, fault.Instruction, fault.BadRegister!.Value.Register));

        // A call through a register that is not canonical faults at the call.
        fault = Decode(a => a.call(rax), r => r[Gpr.Rax] = 0x6b6b_6b6b_6b6b_6b6b);
        Assert.Equal(new RegisterValue(Gpr.Rax, 0x6b6b_6b6b_6b6b_6b6b), fault.BranchRegister);
    }

    [Fact]
    public void InstructionsWithoutAnAccess()
    {
        Assert.Equal((FaultingInstruction.Undefined, AccessKind.None), (Decode(a => a.ud2()).Instruction, Decode(a => a.ud2()).Kind));
        Assert.Equal(FaultingInstruction.Breakpoint, Decode(a => a.int3()).Instruction);
        Decoded fault = Decode(a => a.div(rcx), r => r[Gpr.Rcx] = 0);
        Assert.Equal((FaultingInstruction.Divide, AccessKind.None), (fault.Instruction, fault.Kind));
        Assert.Null(fault.Address);
        Assert.Equal(AccessKind.None, Decode(a => a.lea(rax, __qword_ptr[rbx]), r => r[Gpr.Rbx] = 0).Kind);
        Assert.Equal(FaultingInstruction.System, Decode(a => a.wrmsr()).Instruction);
        Assert.Equal(AccessKind.None, Decode(a => a.nop(__dword_ptr[rax + rax]), r => r[Gpr.Rax] = 0).Kind);
    }

    [Fact]
    public void PerCpuOperandsAreNotNullPointers()
    {
        Decoded fault = Decode(a => a.mov(rax, __qword_ptr.gs[0x28]));
        Assert.Equal((AccessKind.None, true), (fault.Kind, fault.Operand!.IsPerCpu));
        Assert.Equal(0xffff_8880_3e00_0028UL, fault.Operand.Address);
        Assert.Null(Decode(a => a.mov(rax, __qword_ptr.gs[0x28]), gs: null).Operand!.Address);
    }

    [Fact]
    public void AnUnknownRegisterLeavesTheAddressOpen()
    {
        var f = new AssembledFunction((a, _) => a.mov(rax, __qword_ptr[rbx]));
        Decoded fault = FaultDecoder.Decode(f.Code, Ip, default, null, null, null);
        Assert.Null(fault.Operand!.Address);
        Assert.Equal(AccessKind.None, fault.Kind);
    }

    [Theory]
    [InlineData(0x0UL, null, AddressClass.Null, 0L, 0)]
    [InlineData(0xfffUL, null, AddressClass.Null, 0xfffL, 0)]
    [InlineData(0x2000UL, 0x0UL, AddressClass.Null, 0x2000L, 0)]
    [InlineData(0x1000UL, null, AddressClass.User, 0L, 0)]
    [InlineData(0x7fff_ffff_f000UL, null, AddressClass.User, 0L, 0)]
    [InlineData(0xffff_ffff_ffff_fff4UL, null, AddressClass.ErrPtr, 0L, 12)]
    [InlineData(0xcUL, 0xffff_ffff_ffff_fff4UL, AddressClass.ErrPtr, 0x18L, 12)]
    [InlineData(0xffff_ffff_ffff_f001UL, null, AddressClass.ErrPtr, 0L, 4095)]
    [InlineData(0xffff_ffff_ffff_f000UL, null, AddressClass.Wild, 0L, 0)]
    [InlineData(0xdead_0000_0000_0100UL, null, AddressClass.ListPoison1, 0L, 0)]
    [InlineData(0xdead_0000_0000_0108UL, 0xdead_0000_0000_0100UL, AddressClass.ListPoison1, 8L, 0)]
    [InlineData(0xdead_0000_0000_0122UL, null, AddressClass.ListPoison2, 0L, 0)]
    [InlineData(0xdead_0000_0000_012aUL, null, AddressClass.ListPoison2, 8L, 0)]
    [InlineData(0xdead_0000_0000_0500UL, null, AddressClass.Poison, 0x500L, 0)]
    [InlineData(0x6b6b_6b6b_6b6b_6b6bUL, null, AddressClass.FreedSlab, 0L, 0)]
    [InlineData(0x6b6b_6b6b_6b6b_6ba3UL, 0x6b6b_6b6b_6b6b_6b6bUL, AddressClass.FreedSlab, 0x38L, 0)]
    [InlineData(0x5a5a_5a5a_5a5a_5a5aUL, null, AddressClass.UninitialisedSlab, 0L, 0)]
    [InlineData(0x8000_0000_0000_0000UL, null, AddressClass.NonCanonical, 0L, 0)]
    [InlineData(0x0000_8000_0000_0000UL, null, AddressClass.NonCanonical, 0L, 0)]
    [InlineData(0xffff_8880_0000_0000UL, null, AddressClass.Wild, 0L, 0)]
    public void Classes(ulong address, ulong? pointer, AddressClass expected, long offset, int errno)
    {
        ClassifiedAddress told = ClassifiedAddress.Of(address, pointer);
        Assert.Equal((expected, offset, errno), (told.Class, told.Offset, told.Errno));
        Assert.NotEmpty(told.ToString());
    }

    [Fact]
    public void FiveLevelPagingMovesTheHole()
    {
        Assert.Equal(AddressClass.User, ClassifiedAddress.Of(0x0000_8000_0000_0000, null, 57).Class);
        Assert.Equal(AddressClass.NonCanonical, ClassifiedAddress.Of(0x0100_0000_0000_0000, null, 57).Class);
        Assert.Equal(AddressClass.Wild, ClassifiedAddress.Of(0xff11_0000_0000_0000, null, 57).Class);
    }

    [Fact]
    public void NoiseNeverThrows()
    {
        var random = new Random(11);
        for (int i = 0; i < 5000; i++)
        {
            byte[] bytes = new byte[random.Next(0, 16)];
            random.NextBytes(bytes);
            GprFile file = default;
            for (int r = 0; r < 16; r++)
                file[(Gpr)r] = random.Next(3) == 0 ? ulong.MaxValue : unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue));
            ulong? cr2 = random.Next(2) == 0 ? null : (ulong)random.NextInt64();
            Decoded fault = FaultDecoder.Decode(new CodeBytes(Ip, bytes), Ip, KnownRegisters.All(file), file[Gpr.Rax], cr2, cr2 is null ? null : (ulong)random.Next(32));
            Assert.NotNull(fault);
            _ = fault.Class?.ToString();
        }
    }
}
