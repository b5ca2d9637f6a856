using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Sessions.Tests;

public sealed class ControlRegistersTests
{
    /// <summary>QEMU 7.2.22, <c>-smp 2 -S</c>: firmware, 32 bits. The floating-point registers are left out.</summary>
    private const string Firmware = """

        CPU#0
        EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1
        ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
        EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
        ES =0000 00000000 0000ffff 00009300
        CS =f000 ffff0000 0000ffff 00009b00
        LDT=0000 00000000 0000ffff 00008200
        TR =0000 00000000 0000ffff 00008b00
        GDT=     00000000 0000ffff
        IDT=     00000000 0000ffff
        CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
        DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 
        DR6=00000000ffff0ff0 DR7=0000000000000400
        EFER=0000000000000000
        FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80

        CPU#1
        EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1
        EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1
        GDT=     00000000 0000ffff
        IDT=     00000000 0000ffff
        CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
        EFER=0000000000000000

        """;

    /// <summary>The same of a vCPU in 64-bit mode (QEMU target/i386/cpu-dump.c, HF_CS64_MASK).</summary>
    private const string Linux = """

        CPU#0
        RAX=ffffffff9d0a7d60 RBX=0000000000000000 RCX=0000000000000001 RDX=ffff8b5e3ec2c5c0
        RIP=ffffffff9d0a7d6b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
        ES =0000 0000000000000000 ffffffff 00c00000
        CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
        GS =0000 ffff8b5e3ec00000 ffffffff 00c00000
        TR =0040 fffffe0000003000 00004087 00008900 DPL=0 TSS64-busy
        GDT=     fffffe0000001000 0000007f
        IDT=     fffffe0000000000 00000fff
        CR0=80050033 CR2=00007f1c7ba54000 CR3=0000000003a3c002 CR4=000006f0
        DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 
        DR6=00000000ffff0ff0 DR7=0000000000000400
        CCS=0000000000000000 CCD=ffffffff9e003e48 CCO=EFLAGS
        EFER=0000000000000d01
        FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80

        CPU#1
        RIP=0000555c1f1d3a10 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0
        GDT=     fffffe000003c000 0000007f
        IDT=     fffffe0000000000 00000fff
        CR0=80050033 CR2=0000000000000000 CR3=0000000102b0d806 CR4=000016f0
        EFER=0000000000000d01

        """;

    [Fact]
    public void Each_vcpu_is_read()
    {
        IReadOnlyList<VcpuControlState> states = ControlRegisters.Parse(Linux);
        Assert.Equal(
            [
                new VcpuControlState(0x80050033, 0x3a3c002, 0x6f0, 0xd01, 0xffff_fe00_0000_0000),
                new VcpuControlState(0x80050033, 0x1_02b0_d806, 0x16f0, 0xd01, 0xffff_fe00_0000_0000),
            ], states);
        Assert.All(states, s => Assert.True(s.IsLongMode));
        Assert.Equal([PagingMode.FourLevel, PagingMode.FiveLevel], states.Select(s => s.Mode));
    }

    [Fact]
    public void Firmware_is_no_64_bit_mode()
    {
        IReadOnlyList<VcpuControlState> states = ControlRegisters.Parse(Firmware);
        Assert.Equal(2, states.Count);
        Assert.All(states, s => Assert.Equal(new VcpuControlState(0x60000010, 0, 0, 0, 0), s));
        Assert.All(states, s => Assert.False(s.IsLongMode));
    }

    [Fact]
    public void The_monitors_line_ends_do_not_matter() =>
        Assert.Equal(ControlRegisters.Parse(Linux), ControlRegisters.Parse(Linux.Replace("\n", "\r\n")));

    [Theory]
    [InlineData("CR0")]
    [InlineData("CR3")]
    [InlineData("CR4")]
    [InlineData("EFER")]
    public void A_register_that_is_missing_is_named(string register)
    {
        // Also where it is only one vCPU that lacks it: half an answer is none.
        int last = Linux.LastIndexOf(register + "=", StringComparison.Ordinal);
        foreach (string text in (string[])[Linux.Replace(register + "=", "XX="), Linux.Remove(last, register.Length)])
            Assert.Contains($"does not tell {register}", Assert.Throws<TargetException>(() => ControlRegisters.Parse(text)).Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("unknown command: 'info registers -a'\r\n")]
    [InlineData("CPU#0")]
    [InlineData("\nCPU#0\nCR0=80050033 CR2=0 CR3=123456789abcdef01 CR4=6f0\nEFER=d01\n")]
    [InlineData("\nCPU#0\nCR0=80050033 CR2=0 CR3= CR4=6f0\nEFER=d01\n")]
    public void What_is_no_answer_is_a_typed_failure(string text) => Assert.Throws<TargetException>(() => ControlRegisters.Parse(text));

    [Fact]
    public void An_unknown_trap_table_is_zero() =>
        Assert.All(ControlRegisters.Parse(Linux.Replace("IDT=", "XXX=")), s => Assert.Equal(0UL, s.IdtBase));
}
