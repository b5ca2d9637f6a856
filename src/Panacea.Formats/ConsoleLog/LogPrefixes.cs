using System.Globalization;
using System.Text;

namespace Panacea.Formats.ConsoleLog;

/// <summary>Takes off what is put before a kernel message: by printk (kernel/printk/printk.c: levels, time stamps, caller ids), by <c>dmesg -T</c> and <c>-x</c>, by /dev/kmsg (Documentation/ABI/testing/dev-kmsg),
/// by pstore, and by syslog and journald.</summary>
public static class LogPrefixes
{
    private const int MostPrefixes = 8, MostHostChars = 100;
    private static readonly string[] Levels = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    private static readonly string[] Months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

    /// <summary>The texts of one raw line: as a rule one; more where another CPU's message, or the kernel's after a login prompt, begins in its middle.</summary>
    /// <param name="number">Number of the raw line.</param>
    /// <param name="raw">The raw line.</param>
    public static IEnumerable<LogLine> Split(long number, string raw)
    {
        for (int start = 0; start < raw.Length;)
        {
            int next = NextStamp(raw, start + 1);
            LogLine line = Parse(number, raw.AsSpan(start, next - start));

            // A stamp may also stand where prefixes before it belong to the same message.
            if (next < raw.Length && line.Text.Length == 0)
            {
                next = NextStamp(raw, next + 1);
                line = Parse(number, raw.AsSpan(start, next - start));
            }
            else if (next < raw.Length && LeadsTo(raw.AsSpan(start, next - start)))
            {
                next = NextStamp(raw, next + 1);
                line = Parse(number, raw.AsSpan(start, next - start));
            }

            start = next;
            yield return line;
        }
    }

    /// <summary>Parses one text with all its prefixes.</summary>
    public static LogLine Parse(long number, ReadOnlySpan<char> rest)
    {
        ulong? stamp = null;
        string? wall = null, caller = null;
        int? level = null;
        bool kernel = true, kmsg = false;
        for (int i = 0; i < MostPrefixes && !rest.IsEmpty; i++)
        {
            if (rest[0] == '<' && TakeLevel(ref rest, out int l))
                level = l & 7;
            else if (rest[0] == '[' && stamp is null && TakeStamp(ref rest, out ulong ns))
                stamp = ns;
            else if (rest[0] == '[' && caller is null && TakeCaller(ref rest, out string who))
                caller = who;
            else if (rest[0] == '[' && wall is null && TakeBracketedDate(ref rest, out string date))
                wall = date;
            else if (wall is null && TakeDate(ref rest, out date))
            {
                wall = date;
                kernel = TakeTag(ref rest);
            }
            else if (stamp is not null && wall is null && caller is null && TakeMonotonicTag(ref rest, out bool isKernel))
                kernel = isKernel;
            else if (stamp is null && wall is null && TakeKmsg(ref rest, out int priority, out ulong us, out string? from))
            {
                (level, stamp, caller, kmsg) = (priority & 7, us * 1000, from, true);
                break;
            }
            else if (level is null && TakeDecoded(ref rest, out l))
                level = l;
            else if (stamp is null && rest.StartsWith("kernel: ", StringComparison.Ordinal))
                rest = rest["kernel: ".Length..];
            else
                break;
        }

        string text = kmsg && rest.Contains("\\x", StringComparison.Ordinal) ? Unescape(rest) : rest.ToString();
        return new LogLine(number, text, stamp, wall, caller, level, kernel);
    }

    /// <summary>Where the next time stamp in the form that printk writes begins, or the line's end: <c>[%5lu.%06lu]</c>.</summary>
    private static int NextStamp(string raw, int from)
    {
        for (int at = from; at < raw.Length; at++)
        {
            at = raw.IndexOf('[', at);
            if (at < 0)
                break;
            ReadOnlySpan<char> rest = raw.AsSpan(at);
            int close = rest.IndexOf(']');
            if (close is >= 13 and < 24 && rest[close - 7] == '.' && TakeStamp(ref rest, out _))
                return at;
        }

        return raw.Length;
    }

    /// <summary>What stands before a stamp is nothing but prefixes of the same message.</summary>
    private static bool LeadsTo(ReadOnlySpan<char> before) => Parse(0, before).Text.AsSpan().Trim().IsEmpty;

    private static bool TakeLevel(ref ReadOnlySpan<char> rest, out int level)
    {
        int close = rest.IndexOf('>');
        level = 0;
        if (close is < 2 or > 4 || !int.TryParse(rest[1..close], NumberStyles.None, CultureInfo.InvariantCulture, out level))
            return false;
        rest = rest[(close + 1)..];
        return true;
    }

    private static bool TakeStamp(ref ReadOnlySpan<char> rest, out ulong ns)
    {
        ns = 0;
        int close = rest.IndexOf(']');
        if (close is < 4 or > 32)
            return false;
        ReadOnlySpan<char> inside = rest[1..close].TrimStart(' ');
        int dot = inside.IndexOf('.');
        if (dot is < 1 or > 10 || inside.Length - dot - 1 is < 1 or > 9
            || !ulong.TryParse(inside[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out ulong seconds)
            || !ulong.TryParse(inside[(dot + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out ulong fraction))
            return false;
        for (int digits = inside.Length - dot - 1; digits < 9; digits++)
            fraction *= 10;
        ns = (seconds * 1_000_000_000) + fraction;
        rest = After(rest, close);
        return true;
    }

    /// <summary><c>[  T123]</c> or <c>[    C0]</c>.</summary>
    private static bool TakeCaller(ref ReadOnlySpan<char> rest, out string caller)
    {
        caller = "";
        int close = rest.IndexOf(']');
        if (close is < 3 or > 16)
            return false;
        ReadOnlySpan<char> inside = rest[1..close].Trim(' ');
        if (inside.Length < 2 || inside[0] is not ('T' or 'C') || inside[1..].ContainsAnyExceptInRange('0', '9'))
            return false;
        caller = inside.ToString();
        rest = After(rest, close);
        return true;
    }

    /// <summary><c>[Tue Nov 25 10:00:00 2025]</c> of dmesg -T, or <c>[2025-11-25 10:00:00]</c> as console servers write it.</summary>
    private static bool TakeBracketedDate(ref ReadOnlySpan<char> rest, out string date)
    {
        date = "";
        int close = rest.IndexOf(']');
        if (close is < 16 or > 40)
            return false;
        ReadOnlySpan<char> inside = rest[1..close];
        bool isDmesg = inside.Length > 20 && inside[3] == ' ' && IsMonth(inside.Slice(4, 3)) && inside.Count(':') == 2;
        if (!isDmesg && !(char.IsAsciiDigit(inside[0]) && inside[4] == '-' && inside[7] == '-' && inside.Contains(':')))
            return false;
        date = inside.ToString();
        rest = After(rest, close);
        return true;
    }

    /// <summary><c>Nov 25 10:00:00</c>, with or without a fraction, or an ISO 8601 date and time up to the next space.</summary>
    private static bool TakeDate(ref ReadOnlySpan<char> rest, out string date)
    {
        date = "";
        int length;
        if (rest.Length > 16 && IsMonth(rest[..3]) && rest[3] == ' ' && rest[6] == ' ' && rest[9] == ':' && rest[12] == ':')
        {
            length = rest[7..].IndexOf(' ');
            length = length < 0 ? -1 : length + 7;
        }
        else if (rest.Length > 20 && char.IsAsciiDigit(rest[0]) && rest[4] == '-' && rest[7] == '-' && rest[10] is 'T' or ' ' && rest[13] == ':')
        {
            length = rest[11..].IndexOf(' ');
            length = length < 0 ? -1 : length + 11;
        }
        else
        {
            return false;
        }

        if (length is < 0 or > 40)
            return false;
        date = rest[..length].ToString();
        rest = rest[(length + 1)..];
        return true;
    }

    private static bool IsMonth(ReadOnlySpan<char> text)
    {
        foreach (string month in Months)
        {
            if (text.SequenceEqual(month))
                return true;
        }

        return false;
    }

    /// <summary>After a syslog date: <c>host kernel: </c>, <c>host program[123]: </c> or nothing of that kind.</summary>
    /// <returns>False where the line is another program's.</returns>
    private static bool TakeTag(ref ReadOnlySpan<char> rest)
    {
        if (rest.StartsWith("kernel: ", StringComparison.Ordinal))
        {
            rest = rest["kernel: ".Length..];
            return true;
        }

        int host = rest.IndexOf(' ');
        if (host is < 1 or > MostHostChars || rest[0] == '[')
            return true;
        ReadOnlySpan<char> after = rest[(host + 1)..];
        int colon = after.IndexOf(": ");
        if (colon is < 1 or > MostHostChars || after[..colon].Contains(' '))
            return true;
        bool kernel = after[..colon] is "kernel";
        rest = after[(colon + 2)..];
        return kernel;
    }

    /// <summary>journalctl -o short-monotonic: <c>[   12.345678] host kernel: </c>.</summary>
    private static bool TakeMonotonicTag(ref ReadOnlySpan<char> rest, out bool kernel)
    {
        kernel = true;
        int host = rest.IndexOf(' ');
        if (host is < 1 or > MostHostChars || !char.IsAsciiLetterOrDigit(rest[0]) || rest[host - 1] == ':')
            return false;
        ReadOnlySpan<char> after = rest[(host + 1)..];
        if (after.StartsWith("kernel: ", StringComparison.Ordinal))
        {
            rest = after["kernel: ".Length..];
            return true;
        }

        int bracket = after.IndexOf("]: ");
        int open = bracket > 0 ? after[..bracket].IndexOf('[') : -1;
        if (open < 1 || after[..bracket].Contains(' ') || after[(open + 1)..bracket].ContainsAnyExceptInRange('0', '9'))
            return false;
        kernel = false;
        rest = after[(bracket + 3)..];
        return true;
    }

    /// <summary><c>6,123,456789,-;text</c>, with <c>,caller=T123</c> where the kernel has it.</summary>
    private static bool TakeKmsg(ref ReadOnlySpan<char> rest, out int priority, out ulong us, out string? caller)
    {
        (priority, us, caller) = (0, 0, null);
        int semicolon = rest.IndexOf(';');
        if (semicolon is < 7 or > 120 || !char.IsAsciiDigit(rest[0]))
            return false;
        Span<Range> parts = stackalloc Range[8];
        ReadOnlySpan<char> head = rest[..semicolon];
        int count = head.Split(parts, ',');
        if (count < 4 || !int.TryParse(head[parts[0]], NumberStyles.None, CultureInfo.InvariantCulture, out priority)
            || !ulong.TryParse(head[parts[1]], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            || !ulong.TryParse(head[parts[2]], NumberStyles.None, CultureInfo.InvariantCulture, out us) || us > ulong.MaxValue / 1000)
            return false;
        for (int i = 4; i < count; i++)
        {
            if (head[parts[i]].StartsWith("caller=", StringComparison.Ordinal) && head[parts[i]].Length < 24)
                caller = head[parts[i]]["caller=".Length..].ToString();
        }

        rest = rest[(semicolon + 1)..];
        return true;
    }

    /// <summary>dmesg -x: <c>kern  :warn  : </c>.</summary>
    private static bool TakeDecoded(ref ReadOnlySpan<char> rest, out int level)
    {
        level = 0;
        if (rest.Length < 15 || rest[6] != ':' || !char.IsAsciiLetterLower(rest[0]))
            return false;
        int end = rest[7..].IndexOf(':');
        if (end is < 3 or > 8)
            return false;
        level = Array.IndexOf(Levels, rest.Slice(7, end).Trim(' ').ToString());
        if (level < 0)
            return false;
        rest = rest[(7 + end + 1)..];
        if (!rest.IsEmpty && rest[0] == ' ')
            rest = rest[1..];
        return true;
    }

    private static ReadOnlySpan<char> After(ReadOnlySpan<char> rest, int close)
    {
        rest = rest[(close + 1)..];
        return !rest.IsEmpty && rest[0] == ' ' ? rest[1..] : rest;
    }

    /// <summary>/dev/kmsg writes what is not printable as <c>\xNN</c>.</summary>
    private static string Unescape(ReadOnlySpan<char> text)
    {
        var plain = new StringBuilder(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && i + 3 < text.Length && text[i + 1] == 'x'
                && byte.TryParse(text.Slice(i + 2, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                plain.Append((char)value);
                i += 3;
            }
            else
            {
                plain.Append(text[i]);
            }
        }

        return plain.ToString();
    }
}
