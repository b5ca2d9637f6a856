using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Tests.Code;

public sealed class FuseCodeTests
{
    [Theory]
    [InlineData(new byte[] { 0x0f, 0x1f, 0x44, 0, 0, 0x55, 0x48, 0x89, 0xe5 }, 0)]
    [InlineData(new byte[] { 0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0 }, 4)]
    [InlineData(new byte[] { 0x66, 0x0f, 0x1f, 0x00, 0x0f, 0x1f, 0x44, 0, 0 }, 4)]
    [InlineData(new byte[] { 0x0f, 0x1f, 0x40, 0xd6, 0x0f, 0x1f, 0x44, 0, 0 }, 4)]
    public void The_nop_lies_behind_an_endbr(byte[] code, int offset)
    {
        Assert.Equal(offset, FuseCode.OffsetOfNop(code));
        Assert.True(FuseCode.IsNop(code.AsSpan(offset)));
    }

    /// <summary>Read by another decoder than ours.</summary>
    [Theory]
    [InlineData(0xffff_ffff_c020_0000, 0xffff_ffff_8100_0334)]
    [InlineData(0xffff_ffff_8100_0334, 0xffff_ffff_c020_0000)]
    public void A_jump_goes_where_it_is_to(ulong from, ulong to)
    {
        Assert.True(FuseCode.TryJump(from, to, out byte[] code));
        var decoder = Decoder.Create(64, code);
        decoder.IP = from;
        Instruction jump = decoder.Decode();
        Assert.Equal((Mnemonic.Jmp, FuseCode.JumpBytes, to), (jump.Mnemonic, jump.Length, jump.NearBranchTarget));
        Assert.True(FuseCode.TryReadJump(code, from, out ulong target));
        Assert.Equal(to, target);
        Assert.False(FuseCode.TryReadJump(FuseCode.Nop, from, out _));
    }

    [Fact]
    public void A_jump_that_is_too_far_is_none() => Assert.False(FuseCode.TryJump(0xffff_ffff_8100_0000, 0xffff_8000_0000_0000, out _));

    [Theory]
    [InlineData(-5)]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(int.MinValue)]
    public void A_stub_returns_its_value(int value)
    {
        byte[] code = FuseCode.Stub(value);
        var decoder = Decoder.Create(64, code);
        Instruction move = decoder.Decode(), back = decoder.Decode();
        Assert.Equal((Mnemonic.Mov, Register.RAX, value, Mnemonic.Ret), (move.Mnemonic, move.Op0Register, unchecked((int)move.Immediate32to64), back.Mnemonic));
        Assert.Equal(FuseCode.StubBytes, move.Length + back.Length);
        Assert.True(FuseCode.TryReadStub(code, out int read));
        Assert.Equal(value, read);
        code[7] = 0xc2;
        Assert.False(FuseCode.TryReadStub(code, out _));
    }

    /// <summary>Four bytes of INT3 may belong to a return that was patched; a stub takes what comes after them.</summary>
    [Theory]
    [InlineData(11, -1)]
    [InlineData(12, 5)]
    [InlineData(40, 5)]
    public void Room_is_fill_that_belongs_to_nobody(int fill, int room)
    {
        byte[] code = [0xc3, .. Enumerable.Repeat((byte)0xcc, fill), 0x55];
        Assert.Equal(room, FuseCode.FindRoom(code));
    }

    [Fact]
    public void Behind_a_stub_there_is_room_for_another_one()
    {
        byte[] code = [0xc3, 0xcc, 0xcc, 0xcc, 0xcc, .. FuseCode.Stub(-5), .. Enumerable.Repeat((byte)0xcc, 12)];
        Assert.Equal(5 + FuseCode.StubBytes + 4, FuseCode.FindRoom(code));
    }
}
