using System.Buffers.Binary;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Tests.Unwind;

public class PtRegsTests
{
    /// <summary>Members in memory order (arch/x86/include/asm/ptrace.h).</summary>
    private static readonly string[] Members =
        ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_ax", "ip", "cs", "flags", "rsp", "ss"];

    private static byte[] Numbered()
    {
        byte[] raw = new byte[PtRegs.Size];
        for (int i = 0; i < Members.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(raw.AsSpan(i * 8), 100 + (ulong)i);
        return raw;
    }

    [Fact]
    public void OrderOfMembers()
    {
        Assert.Equal(PtRegs.Size, Members.Length * 8);
        PtRegs regs = PtRegs.Read(Numbered());
        foreach (Gpr register in Enum.GetValues<Gpr>())
        {
            int index = Array.IndexOf(Members, register.ToString().ToLowerInvariant());
            Assert.Equal(100UL + (ulong)index, regs.Gpr[register]);
            Assert.Equal(index * 8, PtRegs.OffsetOf(register));
        }

        Assert.Equal((115UL, 116UL, 117UL, 118UL, 120UL), (regs.OrigAx, regs.Ip, regs.Cs, regs.Flags, regs.Ss));
    }

    [Fact]
    public void WritesWhatItRead()
    {
        byte[] raw = Numbered(), copy = new byte[PtRegs.Size];
        PtRegs regs = PtRegs.Read(raw);
        regs.Write(copy);
        Assert.Equal(raw, copy);
        Assert.Equal(regs, PtRegs.Read(copy));
        Assert.NotEqual(regs, regs.With(Gpr.R9, 1));
        Assert.Throws<ArgumentException>(() => PtRegs.Read(raw.AsSpan(1)));
        Assert.Throws<ArgumentException>(() => regs.Write(new byte[10]));
    }

    [Fact]
    public void ModeAndFlags()
    {
        PtRegs regs = PtRegs.Read(Numbered());
        Assert.True((regs with { Cs = 0x33 }).IsUserMode);
        Assert.False((regs with { Cs = 0x10 }).IsUserMode);
        Assert.True((regs with { Flags = 0x246 }).InterruptsEnabled);
        Assert.False((regs with { Flags = 0x46 }).InterruptsEnabled);

        // FRED keeps data above the selector (6.9).
        Assert.True((regs with { Cs = 0x0001_0000_0000_0033 }).IsUserMode);
    }
}
