namespace Panacea.TestKit.Dumps;

/// <summary>Writes LZO1X blocks: all kinds of instructions, not small ones. From the kernel's description of the format (Documentation/staging/lzo.rst).</summary>
public sealed class Lzo1xWriter
{
    private readonly List<byte> _block = [];
    private readonly List<byte> _output = [];
    private int _state;

    /// <summary>What the block unpacks to so far.</summary>
    public IReadOnlyList<byte> Output => _output;

    /// <summary>0 after a match without literals, 1 to 3 after one with as many, 4 after a run of literals.</summary>
    public int State => _state;

    /// <summary>Packs bytes: runs of one byte as matches, the rest as literals.</summary>
    public static byte[] Write(ReadOnlySpan<byte> bytes)
    {
        var writer = new Lzo1xWriter();
        int from = 0;
        for (int at = 0; at < bytes.Length;)
        {
            int run = at + 1;
            while (run < bytes.Length && bytes[run] == bytes[at])
                run++;

            // One of the run is a literal, the rest repeats it; a run of literals takes at least 4 where it is no first one.
            if (run - at < 40 || at + 1 - from < 4)
            {
                at = run;
                continue;
            }

            writer.Literals(bytes[from..(at + 1)]);
            writer.Match(1, run - at - 1);
            from = at = run;
        }

        int left = bytes.Length - from;
        if (left is > 0 and < 4 && writer._output.Count > 0)
            writer.TrailingLiterals(bytes[from..]);
        else if (left > 0)
            writer.Literals(bytes[from..]);
        return writer.End();
    }

    /// <summary>A run of 4 or more literals; at the start any number.</summary>
    public void Literals(ReadOnlySpan<byte> bytes)
    {
        if (_block.Count == 0 && bytes.Length <= 238)
            _block.Add((byte)(17 + bytes.Length));
        else
            Length(0, 15, bytes.Length - 3);
        _block.AddRange(bytes);
        _output.AddRange(bytes);
        _state = Math.Min(bytes.Length, 4);
    }

    /// <summary>A match of any distance up to 49151 and length from 3 on (2 for a distance over 16384), and 0 to 3 literals behind it.</summary>
    public void Match(int distance, int length, ReadOnlySpan<byte> literals = default)
    {
        if (length is >= 3 and <= 8 && distance <= 2048)
        {
            int d = distance - 1, head = length <= 4 ? 64 | ((length - 3) << 5) : 128 | ((length - 5) << 5);
            _block.Add((byte)(head | ((d & 7) << 2) | literals.Length));
            _block.Add((byte)(d >> 3));
        }
        else if (distance <= 16384)
        {
            Length(32, 31, length - 2);
            Word(((distance - 1) << 2) | literals.Length);
        }
        else
        {
            int d = distance - 16384;
            Length(16 | (d >= 16384 ? 8 : 0), 7, length - 2);
            Word(((d & 16383) << 2) | literals.Length);
        }

        Repeat(distance, length, literals);
    }

    /// <summary>The match whose meaning depends on the literals before it: 3 bytes from 2049 to 3072 after a run, 2 bytes from 1 to 1024 after 1 to 3 literals.</summary>
    public void ShortMatch(int distance, ReadOnlySpan<byte> literals = default)
    {
        int d = distance - (_state == 4 ? 2049 : 1);
        _block.Add((byte)(((d & 3) << 2) | literals.Length));
        _block.Add((byte)(d >> 2));
        Repeat(distance, _state == 4 ? 3 : 2, literals);
    }

    /// <summary>Ends the block.</summary>
    public byte[] End() => [.. _block, 17, 0, 0];

    /// <summary>Literals ride on a match; where none is due, one byte less of the last match makes room for it.</summary>
    private void TrailingLiterals(ReadOnlySpan<byte> bytes)
    {
        // The last instruction was a near match: its operand's low bits count the literals behind it.
        _block[^2] = (byte)(_block[^2] | bytes.Length);
        _block.AddRange(bytes);
        _output.AddRange(bytes);
        _state = bytes.Length;
    }

    private void Repeat(int distance, int length, ReadOnlySpan<byte> literals)
    {
        for (int i = 0; i < length; i++)
            _output.Add(_output[^distance]);
        _block.AddRange(literals);
        _output.AddRange(literals);
        _state = literals.Length;
    }

    private void Length(int head, int full, int length)
    {
        if (length <= full)
        {
            _block.Add((byte)(head | length));
            return;
        }

        _block.Add((byte)head);
        for (length -= full; length > 255; length -= 255)
            _block.Add(0);
        _block.Add((byte)length);
    }

    private void Word(int value)
    {
        _block.Add(unchecked((byte)value));
        _block.Add((byte)(value >> 8));
    }
}
