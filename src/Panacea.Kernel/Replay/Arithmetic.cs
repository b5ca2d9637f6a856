using System.Numerics;

namespace Panacea.Kernel.Replay;

/// <summary>The arithmetic of x86-64 on operands of 1, 2, 4 or 8 bytes, with its flags (Intel SDM vol. 1, 3.4.3.1; vol. 2 for each instruction). AF is left out: no compiler's code looks at it.</summary>
internal static class Arithmetic
{
    /// <summary>CF, PF, ZF, SF, OF as RFLAGS has them.</summary>
    public const uint Carry = 1, Parity = 4, Zero = 0x40, Sign = 0x80, Overflow = 0x800, All = Carry | Parity | Zero | Sign | Overflow;

    /// <summary>a + b + carry.</summary>
    public static (ulong Result, uint Flags) Add(ulong a, ulong b, bool carry, int size)
    {
        ulong mask = Bits.Mask(size), top = Top(size);
        (a, b) = (a & mask, b & mask);
        ulong result = unchecked(a + b + (carry ? 1UL : 0)) & mask;
        bool carries = carry ? result <= a : result < a;
        return (result, Of(result, size) | (carries ? Carry : 0) | (((a ^ result) & (b ^ result) & top) != 0 ? Overflow : 0));
    }

    /// <summary>a - b - borrow.</summary>
    public static (ulong Result, uint Flags) Subtract(ulong a, ulong b, bool borrow, int size)
    {
        ulong mask = Bits.Mask(size), top = Top(size);
        (a, b) = (a & mask, b & mask);
        ulong result = unchecked(a - b - (borrow ? 1UL : 0)) & mask;
        bool borrows = borrow ? a <= b : a < b;
        return (result, Of(result, size) | (borrows ? Carry : 0) | (((a ^ b) & (a ^ result) & top) != 0 ? Overflow : 0));
    }

    /// <summary>Flags of AND, OR, XOR and TEST.</summary>
    public static uint Logic(ulong result, int size) => Of(result & Bits.Mask(size), size);

    /// <summary>SHL by 1 to 63 (31 of smaller operands).</summary>
    public static (ulong Result, uint Flags) ShiftLeft(ulong a, int count, int size)
    {
        int width = size * 8;
        ulong mask = Bits.Mask(size);
        a &= mask;
        ulong result = count >= width ? 0 : (a << count) & mask;
        bool carry = count <= width && ((a >> (width - count)) & 1) != 0;
        return (result, Of(result, size) | (carry ? Carry : 0) | (((result & Top(size)) != 0) != carry ? Overflow : 0));
    }

    /// <summary>SHR by 1 to 63.</summary>
    public static (ulong Result, uint Flags) ShiftRight(ulong a, int count, int size)
    {
        int width = size * 8;
        a &= Bits.Mask(size);
        ulong result = count >= width ? 0 : a >> count;
        bool carry = count <= width && ((a >> (count - 1)) & 1) != 0;
        return (result, Of(result, size) | (carry ? Carry : 0) | ((a & Top(size)) != 0 ? Overflow : 0));
    }

    /// <summary>SAR by 1 to 63.</summary>
    public static (ulong Result, uint Flags) ShiftArithmetic(ulong a, int count, int size)
    {
        long value = Signed(a, size);
        ulong result = unchecked((ulong)(value >> Math.Min(count, 63))) & Bits.Mask(size);
        bool carry = ((value >> Math.Min(count - 1, 63)) & 1) != 0;
        return (result, Of(result, size) | (carry ? Carry : 0));
    }

    /// <summary>ROL by less than the operand has bits.</summary>
    public static ulong RotateLeft(ulong a, int count, int size)
    {
        int width = size * 8;
        a &= Bits.Mask(size);
        count %= width;
        return count == 0 ? a : ((a << count) | (a >> (width - count))) & Bits.Mask(size);
    }

    /// <summary>IMUL, cut to the operand: overflow and carry say that something was cut off. The other flags are not defined.</summary>
    public static (ulong Result, uint Flags) Multiply(ulong a, ulong b, int size)
    {
        Int128 product = (Int128)Signed(a, size) * Signed(b, size);
        ulong result = unchecked((ulong)product) & Bits.Mask(size);
        return (result, (Int128)Signed(result, size) == product ? 0 : Carry | Overflow);
    }

    /// <summary>The operand as a signed number.</summary>
    public static long Signed(ulong value, int size)
    {
        int shift = 64 - (size * 8);
        return unchecked((long)(value << shift) >> shift);
    }

    /// <summary>ZF, SF and PF of a result.</summary>
    private static uint Of(ulong result, int size) =>
        (result == 0 ? Zero : 0) | ((result & Top(size)) != 0 ? Sign : 0) | ((BitOperations.PopCount((uint)(result & 0xff)) & 1) == 0 ? Parity : 0);

    private static ulong Top(int size) => 1UL << ((size * 8) - 1);
}
