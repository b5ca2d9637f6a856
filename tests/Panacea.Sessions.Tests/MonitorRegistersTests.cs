using Panacea.Target;

namespace Panacea.Sessions.Tests;

/// <summary>Registers as QEMU's monitor prints them (target/i386/cpu-dump.c, 64-bit mode).</summary>
public sealed class MonitorRegistersTests
{
    private const string Two = """

        CPU#0
        RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004
        RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=ffffa08e00123e58
        R8 =0000000000000008 R9 =0000000000000009 R10=000000000000000a R11=000000000000000b
        R12=000000000000000c R13=000000000000000d R14=000000000000000e R15=000000000000000f
        RIP=ffffffff9d0a7d6b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
        ES =0000 0000000000000000 ffffffff 00c00000
        CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
        SS =0018 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
        DS =0000 0000000000000000 ffffffff 00c00000
        FS =0000 00007f1c7ba54740 ffffffff 00c00000
        GS =0000 ffff8b5e3ec00000 ffffffff 00c00000
        LDT=0000 0000000000000000 ffffffff 00c00000
        TR =0040 fffffe0000003000 00004087 00008900 DPL=0 TSS64-busy
        GDT=     fffffe0000001000 0000007f
        IDT=     fffffe0000000000 00000fff
        CR0=80050033 CR2=00007f1c7ba54000 CR3=0000000003a3c002 CR4=000006f0
        DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 
        CCS=0000000000000000 CCD=ffffffff9e003e48 CCO=EFLAGS
        EFER=0000000000000d01

        CPU#1
        EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1
        EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1
        CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
        EFER=0000000000000000

        """;

    [Fact]
    public void Each_vcpu_in_64_bit_mode_is_read()
    {
        VcpuRegisters vcpu = Assert.Single(MonitorRegisters.Parse(Two.ReplaceLineEndings("\r\n")));
        Assert.Equal((0, 0xffff_ffff_9d0a_7d6bUL, 0x246UL, 0x10), (vcpu.Vcpu, vcpu.Rip, vcpu.Rflags, vcpu.Cs));
        Assert.Equal([1UL, 3, 4, 2, 0xffff_a08e_0012_3e58, 7, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15], Enum.GetValues<Gpr>().Select(r => vcpu.Gpr[r]));
        Assert.Equal((0x7f1c_7ba5_4740UL, 0xffff_8b5e_3ec0_0000UL), (vcpu.FsBase, vcpu.GsBase));
        Assert.Equal((0x8005_0033UL, 0x7f1c_7ba5_4000UL, 0x3a3_c002UL, 0x6f0UL, 0xd01UL), (vcpu.Cr0, vcpu.Cr2, vcpu.Cr3, vcpu.Cr4, vcpu.Efer));
        Assert.True(vcpu.Knows(RegisterGroups.Integer | RegisterGroups.SegmentBases | RegisterGroups.Control | RegisterGroups.Efer));
        Assert.False(vcpu.Knows(RegisterGroups.KernelGsBase));
    }

    [Theory]
    [InlineData("R15")]
    [InlineData("RIP")]
    [InlineData("RFL")]
    [InlineData("GS ")]
    [InlineData("CS ")]
    [InlineData("CR2")]
    [InlineData("EFER")]
    public void What_is_missing_is_an_error(string name) =>
        Assert.Contains(name.Trim(), Assert.Throws<TargetException>(() => MonitorRegisters.Parse(Two.Replace(name + "=", "XXX=", StringComparison.Ordinal))).Message);

    [Theory]
    [InlineData("")]
    [InlineData("CPU#0\n")]
    [InlineData("RAX=1")]
    [InlineData("CPU#99999999999\nRAX=1")]
    public void Anything_else_is_an_error(string text) => Assert.Throws<TargetException>(() => MonitorRegisters.Parse(text));
}
