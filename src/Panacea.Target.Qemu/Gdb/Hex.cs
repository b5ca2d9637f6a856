namespace Panacea.Target.Qemu.Gdb;

/// <summary>Hexadecimal as the gdb remote protocol writes it, without allocation.</summary>
internal static class Hex
{
    /// <summary>A digit's value, or -1.</summary>
    public static int Digit(byte c) => c switch
    {
        >= (byte)'0' and <= (byte)'9' => c - '0',
        >= (byte)'a' and <= (byte)'f' => c - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => c - 'A' + 10,
        _ => -1,
    };

    /// <summary>The lower-case digit of the low four bits.</summary>
    public static byte ToDigit(int nibble) => (byte)"0123456789abcdef"[nibble & 15];

    /// <summary>Decodes pairs of digits; false where one is no digit ("xx" of an unavailable register) or the length is odd.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> digits, Span<byte> destination)
    {
        if (digits.Length != destination.Length * 2)
            return false;
        for (int i = 0; i < destination.Length; i++)
        {
            int high = Digit(digits[2 * i]), low = Digit(digits[(2 * i) + 1]);
            if (high < 0 || low < 0)
                return false;
            destination[i] = (byte)((high << 4) | low);
        }

        return true;
    }

    /// <summary>Parses up to sixteen digits, most significant first; stops at the first other character.</summary>
    /// <returns>Digits taken; 0 where there is none or there are more than sixteen.</returns>
    public static int Parse(ReadOnlySpan<byte> digits, out ulong value)
    {
        value = 0;
        int n = 0;
        for (; n < digits.Length && Digit(digits[n]) is >= 0 and int d; n++)
        {
            if (n == 16)
                return 0;
            value = (value << 4) | (uint)d;
        }

        return n;
    }
}
