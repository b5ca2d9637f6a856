using System.Buffers.Binary;

namespace Panacea.Formats.Dwarf;

/// <summary>DWARF that claims more than its bytes hold. Parsers throw it, <see cref="DebugFile"/> makes a sentence of it.</summary>
internal sealed class DwarfCutException(string message) : EndOfStreamException(message);

/// <summary>Reads DWARF's numbers one after the other; nothing is read past the end.</summary>
internal ref struct DwarfCursor(ReadOnlySpan<byte> bytes, int position = 0)
{
    private readonly ReadOnlySpan<byte> _bytes = bytes;

    /// <summary>Byte that comes next.</summary>
    public int Position { get; private set; } = position;

    /// <summary>Bytes that are left.</summary>
    public readonly int Left => _bytes.Length - Position;

    /// <summary>An unsigned number of 1 to 8 bytes.</summary>
    public ulong Unsigned(int size)
    {
        ReadOnlySpan<byte> taken = Take((ulong)size);
        ulong value = 0;
        for (int i = taken.Length - 1; i >= 0; i--)
            value = value << 8 | taken[i];
        return value;
    }

    public byte U8() => Take(1)[0];

    public ushort U16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    /// <summary>ULEB128 (DWARF 5, 7.6); bits past the 64th are dropped.</summary>
    public ulong Uleb()
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte b = U8();
            if (shift < 64)
                value |= (ulong)(b & 0x7f) << shift;
            if ((b & 0x80) == 0)
                return value;
        }
    }

    /// <summary>SLEB128.</summary>
    public long Sleb()
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte b = U8();
            if (shift < 64)
                value |= (ulong)(b & 0x7f) << shift;
            if ((b & 0x80) != 0)
                continue;
            if ((b & 0x40) != 0 && shift + 7 < 64)
                value |= ulong.MaxValue << (shift + 7);
            return unchecked((long)value);
        }
    }

    /// <summary>Skips a string with its final zero, and gives what is before that.</summary>
    public ReadOnlySpan<byte> Text()
    {
        int length = _bytes[Position..].IndexOf((byte)0);
        if (length < 0)
            throw new DwarfCutException("a string of its debug information has no end");
        ReadOnlySpan<byte> text = _bytes.Slice(Position, length);
        Position += length + 1;
        return text;
    }

    public void Skip(ulong count) => Take(count);

    public void MoveTo(int position)
    {
        if (position < 0 || position > _bytes.Length)
            throw new DwarfCutException("a reference of its debug information leads outside");
        Position = position;
    }

    /// <summary>The length that units begin with: 32 bits, or a mark and 64 bits (DWARF 5, 7.4).</summary>
    /// <param name="offsetSize">4 or 8: size of offsets within the unit.</param>
    public ulong InitialLength(out int offsetSize)
    {
        uint length = U32();
        offsetSize = length == uint.MaxValue ? 8 : 4;
        if (length is >= 0xffff_fff0 and < uint.MaxValue)
            throw new InvalidDataException("a unit of its debug information has a reserved length");
        return length == uint.MaxValue ? U64() : length;
    }

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)Left)
            throw new DwarfCutException("its debug information ends too early");
        ReadOnlySpan<byte> taken = _bytes.Slice(Position, (int)count);
        Position += (int)count;
        return taken;
    }
}
