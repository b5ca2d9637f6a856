using System.Globalization;

namespace Panacea.Formats.ConsoleLog;

/// <summary>Entries of stack traces as printk's <c>%pS</c> and <c>%pB</c> write them (lib/vsprintf.c, kernel/kallsyms.c): <c>? name+0x1/0x20 [module build-id]</c>.</summary>
internal static class FrameText
{
    private const int MostNameChars = 512;

    /// <summary>Parses a whole line; false where it is anything else.</summary>
    public static bool TryParseLine(string line, string? section, out LogFrame frame)
    {
        frame = null!;
        ReadOnlySpan<char> text = line.AsSpan().Trim();
        bool reliable = true;

        // "[<ffffffff81000000>] " before the name was usual up to 4.10; kmemleak writes it still.
        ulong? address = null;
        if (text.StartsWith("[<", StringComparison.Ordinal))
        {
            int close = text.IndexOf(">]", StringComparison.Ordinal);
            if (close < 0)
                return false;
            if (ulong.TryParse(text[2..close], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong a) && a != 0)
                address = a;
            text = text[(close + 2)..].TrimStart();
        }

        if (text.StartsWith("? ", StringComparison.Ordinal))
        {
            reliable = false;
            text = text[2..].TrimStart();
        }

        if (!TryParse(text, out frame, out ReadOnlySpan<char> rest) || !rest.Trim().IsEmpty || frame.Function is null)
            return false;
        frame = frame with { Reliable = reliable, Section = section, Address = address };
        return true;
    }

    /// <summary>Parses at the start of some text.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out LogFrame frame, out ReadOnlySpan<char> rest)
    {
        frame = null!;
        rest = text;
        int end = 0;
        while (end < text.Length && end < MostNameChars && (char.IsAsciiLetterOrDigit(text[end]) || text[end] is '_' or '.' or '$' or '-'))
            end++;
        ReadOnlySpan<char> name = text[..end];
        rest = text[end..];
        if (name.IsEmpty)
            return false;
        if (!rest.StartsWith("+0x", StringComparison.Ordinal))
        {
            // RIP: 0010:0x0, or 0xffffffffc0123456: an address without a symbol.
            if (!name.StartsWith("0x", StringComparison.Ordinal) || !ulong.TryParse(name[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong address))
                return false;
            frame = new LogFrame(null, 0, 0, null, address, true, false, null);
            return true;
        }

        rest = rest[1..];
        if (!TakeHex(ref rest, out ulong offset))
            return false;
        ulong size = 0;
        if (!rest.IsEmpty && rest[0] == '/')
        {
            rest = rest[1..];
            if (!TakeHex(ref rest, out size))
                return false;
        }

        string? module = null;
        if (rest.StartsWith(" [", StringComparison.Ordinal))
        {
            int close = rest.IndexOf(']');
            if (close > 2)
            {
                // With CONFIG_STACKTRACE_BUILD_ID the build id stands after the name.
                ReadOnlySpan<char> inside = rest[2..close];
                int space = inside.IndexOf(' ');
                module = (space > 0 ? inside[..space] : inside).ToString();
                rest = rest[(close + 1)..];
            }
        }

        frame = new LogFrame(name.ToString(), offset, size, module, null, true, false, null);
        return true;
    }

    /// <summary>Finds the first <c>name+0x1/0x20 [module]</c> in some text.</summary>
    public static LogFrame? Find(ReadOnlySpan<char> text)
    {
        int plus = text.IndexOf("+0x", StringComparison.Ordinal);
        if (plus < 1)
            return null;
        int start = plus;
        while (start > 0 && plus - start < MostNameChars && (char.IsAsciiLetterOrDigit(text[start - 1]) || text[start - 1] is '_' or '.' or '$'))
            start--;
        return TryParse(text[start..], out LogFrame frame, out _) ? frame : null;
    }

    private static bool TakeHex(ref ReadOnlySpan<char> text, out ulong value)
    {
        value = 0;
        if (!text.StartsWith("0x", StringComparison.Ordinal))
            return false;
        int end = 2;
        while (end < text.Length && char.IsAsciiHexDigit(text[end]))
            end++;
        bool ok = ulong.TryParse(text[2..end], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
        text = text[end..];
        return ok;
    }
}
