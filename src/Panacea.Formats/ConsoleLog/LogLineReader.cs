using System.Text;

namespace Panacea.Formats.ConsoleLog;

/// <summary>Cuts a console log into lines. Holds one block and one line, whatever the log's size; takes NULs, escape sequences and carriage returns of a serial line away.</summary>
/// <param name="reader">The log; not closed.</param>
/// <param name="limits">Ceilings.</param>
public sealed class LogLineReader(TextReader reader, FormatLimits limits)
{
    private const char Escape = '\x1b', Bell = '\a';

    private readonly char[] _block = new char[32 << 10];
    private readonly StringBuilder _line = new();
    private int _at, _length;
    private bool _ended;

    /// <summary>Line ends seen so far.</summary>
    public long Lines { get; private set; }

    /// <summary>Lines of which only the beginning was kept.</summary>
    public long TruncatedLines { get; private set; }

    /// <summary>The next line that is not empty; null at the end.</summary>
    /// <param name="number">Its number, from 1.</param>
    public string? Read(out long number)
    {
        while (true)
        {
            number = Lines + 1;
            string? line = ReadRaw();
            if (line is null)
                return null;
            if (line.Contains(Escape, StringComparison.Ordinal))
                line = WithoutEscapes(line);
            if (line.Length > 0)
                return line;
        }
    }

    private string? ReadRaw()
    {
        _line.Clear();
        bool cut = false;
        while (true)
        {
            if (_at == _length)
            {
                _length = _ended ? 0 : reader.Read(_block, 0, _block.Length);
                _at = 0;
                if (_length <= 0)
                {
                    _length = 0;
                    _ended = true;
                    return _line.Length == 0 ? null : _line.ToString();
                }
            }

            ReadOnlySpan<char> rest = _block.AsSpan(_at, _length - _at);
            int stop = rest.IndexOfAny('\n', '\r', '\0');
            ReadOnlySpan<char> part = stop < 0 ? rest : rest[..stop];
            int room = limits.MaxLogLineChars - _line.Length;
            if (part.Length > room)
            {
                TruncatedLines += cut ? 0 : 1;
                cut = true;
            }

            _line.Append(part[..Math.Min(part.Length, Math.Max(room, 0))]);
            _at += part.Length;
            if (stop < 0)
                continue;
            char end = rest[stop];
            _at++;
            if (end == '\n')
                Lines++;

            // A terminal overwrites after a carriage return; the serial console writes one before each line feed.
            if (end != '\0')
                return _line.ToString();
        }
    }

    /// <summary>Without ECMA-48 sequences: CSI to its final byte, OSC to BEL or ST, else the two characters.</summary>
    private static string WithoutEscapes(string line)
    {
        var plain = new StringBuilder(line.Length);
        for (int i = 0; i < line.Length; i++)
        {
            if (line[i] != Escape)
            {
                plain.Append(line[i]);
                continue;
            }

            if (++i == line.Length)
                break;
            if (line[i] == '[')
            {
                for (i++; i < line.Length && line[i] is < '@' or > '~'; i++)
                {
                    // Parameters.
                }
            }
            else if (line[i] == ']')
            {
                for (i++; i < line.Length && line[i] != Bell && line[i] != Escape; i++)
                {
                    // The string.
                }

                if (i < line.Length && line[i] == Escape)
                    i++;
            }
        }

        return plain.ToString();
    }
}
