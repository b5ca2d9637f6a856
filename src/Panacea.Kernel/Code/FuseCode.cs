using System.Buffers.Binary;

namespace Panacea.Kernel.Code;

/// <summary>
/// The machine code of a fuse: the NOP that a traceable function begins with becomes a jump to eight bytes that return a value at once. One instruction takes the place of one instruction of the same
/// length, so that it does not matter who stands where in the function; it is the place where ftrace puts its calls (CONFIG_DYNAMIC_FTRACE, arch/x86/kernel/ftrace.c).
/// </summary>
public static class FuseCode
{
    /// <summary>Bytes of the NOP, and of the jump that takes its place.</summary>
    public const int JumpBytes = 5;

    /// <summary>Bytes that return a value: <c>mov $imm32, %rax; ret</c>.</summary>
    public const int StubBytes = 8;

    /// <summary>Bytes from a function's first on that tell all about its entry.</summary>
    public const int EntryBytes = 4 + JumpBytes;

    /// <summary>Fill of kernel text between functions: INT3, which nobody ever runs (the linker script's fill, include/asm-generic/vmlinux.lds.h).</summary>
    private const byte Fill = 0xcc;

    /// <summary>A return that was patched at boot to <c>ret; int3; int3; int3; int3</c> is followed by that much of its own (apply_returns, arch/x86/kernel/alternative.c), and a static call that was
    /// patched out too (__static_call_transform, arch/x86/kernel/static_call.c).</summary>
    private const int OthersFill = 4;

    private static ReadOnlySpan<byte> Nop5 => [0x0f, 0x1f, 0x44, 0x00, 0x00];

    /// <summary>The NOP as it stands at a traceable function's entry.</summary>
    public static byte[] Nop => Nop5.ToArray();

    /// <summary>Where in a function's code its tracing NOP lies, or what has taken its place: behind an ENDBR64 where there is one.</summary>
    /// <param name="code">The function's first <see cref="EntryBytes"/> bytes.</param>
    public static int OffsetOfNop(ReadOnlySpan<byte> code) =>

        // What ENDBR64 is sealed to where nobody takes the function's address: arch/x86/include/asm/ibt.h, gen_endbr_poison.
        code.StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) || code.StartsWith((ReadOnlySpan<byte>)[0x66, 0x0f, 0x1f, 0x00]) || code.StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x40, 0xd6]) ? 4 : 0;

    /// <summary>The entry has its NOP: nobody traces the function, nothing is patched there.</summary>
    /// <param name="code">Bytes from where <see cref="OffsetOfNop"/> says.</param>
    public static bool IsNop(ReadOnlySpan<byte> code) => code.StartsWith(Nop5);

    /// <summary>The target of a jump.</summary>
    /// <param name="code">At least <see cref="JumpBytes"/> bytes.</param>
    /// <param name="address">Their address.</param>
    /// <param name="target">Where it goes.</param>
    /// <returns>False where it is no jump with a 32-bit distance.</returns>
    public static bool TryReadJump(ReadOnlySpan<byte> code, ulong address, out ulong target)
    {
        target = 0;
        if (code.Length < JumpBytes || code[0] != 0xe9)
            return false;
        target = unchecked(address + JumpBytes + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(code[1..]));
        return true;
    }

    /// <summary>A jump.</summary>
    /// <returns>False where the distance does not fit.</returns>
    public static bool TryJump(ulong address, ulong target, out byte[] code)
    {
        code = [];
        long distance = unchecked((long)(target - address) - JumpBytes);
        if (distance is < int.MinValue or > int.MaxValue)
            return false;
        code = new byte[JumpBytes];
        code[0] = 0xe9;
        BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(1), (int)distance);
        return true;
    }

    /// <summary>Code that returns a value.</summary>
    /// <param name="value">RAX, sign-extended; anything where the function returns nothing.</param>
    public static byte[] Stub(int value)
    {
        byte[] code = [0x48, 0xc7, 0xc0, 0, 0, 0, 0, 0xc3];
        BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(3), value);
        return code;
    }

    /// <summary>The value that a fuse's code returns.</summary>
    /// <param name="code">At least <see cref="StubBytes"/> bytes.</param>
    /// <param name="value">The value.</param>
    /// <returns>False where it is no such code.</returns>
    public static bool TryReadStub(ReadOnlySpan<byte> code, out int value)
    {
        value = 0;
        if (code.Length < StubBytes || !code.StartsWith((ReadOnlySpan<byte>)[0x48, 0xc7, 0xc0]) || code[7] != 0xc3)
            return false;
        value = BinaryPrimitives.ReadInt32LittleEndian(code[3..]);
        return true;
    }

    /// <summary>What the bytes of a fuse's code were before.</summary>
    public static byte[] Filled()
    {
        byte[] fill = new byte[StubBytes];
        fill.AsSpan().Fill(Fill);
        return fill;
    }

    /// <summary>The first place among code where a fuse's code may lie: fill that belongs to nobody.</summary>
    /// <param name="code">Code as it stands in memory now.</param>
    /// <returns>Offset; -1 where there is none.</returns>
    public static int FindRoom(ReadOnlySpan<byte> code)
    {
        int run = 0;
        for (int i = 0; i < code.Length; i++)
        {
            run = code[i] == Fill ? run + 1 : 0;
            if (run == OthersFill + StubBytes)
                return i + 1 - StubBytes;
        }

        return -1;
    }
}
