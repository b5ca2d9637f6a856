using System.Globalization;

namespace Panacea.Formats.ConsoleLog;

/// <summary>The lines that say who ran: <c>CPU: 1 UID: 0 PID: 135 Comm: sh Tainted: G        W  OE      6.12.9 #1 Debian …</c> (lib/dump_stack.c: dump_stack_print_info; UID since 6.11), and what others say the same way.</summary>
internal static class IdentityText
{
    private const string Tainted = "Tainted: ", NotTainted = "Not tainted ";

    /// <summary>What the kernel writes behind the name of the task where a crash kernel is loaded.</summary>
    private const string CrashKernel = " Kdump: loaded";

    /// <summary>Parses a line that begins with <c>CPU: </c> and has a PID.</summary>
    public static bool TryParse(ReadOnlySpan<char> line, out LogIdentity identity)
    {
        identity = null!;
        if (!line.StartsWith("CPU: ", StringComparison.Ordinal))
            return false;
        int? cpu = Number(line["CPU: ".Length..]);
        int pidAt = line.IndexOf("PID: ", StringComparison.Ordinal), commAt = line.IndexOf(" Comm: ", StringComparison.Ordinal);
        if (cpu is null || pidAt < 0 || commAt < pidAt)
            return false;
        ReadOnlySpan<char> rest = line[(commAt + " Comm: ".Length)..];
        int tainted = LastTaint(rest, out bool isTainted);
        string? comm, taint = null, release = null, build = null;
        if (tainted < 0)
        {
            comm = Name(rest);
        }
        else
        {
            comm = Name(rest[..tainted]);
            (taint, release, build) = TaintAndRelease(rest[tainted..], isTainted);
        }

        identity = new LogIdentity(cpu, Number(line[(pidAt + "PID: ".Length)..]), comm, taint, release, build);
        return true;
    }

    /// <summary>Parses <c>Tainted: G W OE 6.1.0 #1 Debian</c> or <c>Not tainted 6.1.0 #1</c>, as hung task reports and lockdep write it.</summary>
    public static bool TryParseTaint(ReadOnlySpan<char> text, out string taint, out string? release, out string? build)
    {
        (taint, release, build) = ("", null, null);
        text = text.Trim();
        bool isTainted = text.StartsWith(Tainted, StringComparison.Ordinal);
        if (!isTainted && !text.StartsWith(NotTainted, StringComparison.Ordinal))
            return false;
        (taint, release, build) = TaintAndRelease(text, isTainted);
        return release is not null;
    }

    /// <summary>The number that some text begins with; null where it begins with none, or with one that is too large.</summary>
    public static int? Number(ReadOnlySpan<char> text)
    {
        int end = 0;
        while (end < text.Length && char.IsAsciiDigit(text[end]))
            end++;
        return int.TryParse(text[..end], NumberStyles.None, CultureInfo.InvariantCulture, out int value) ? value : null;
    }

    private static string Name(ReadOnlySpan<char> text)
    {
        text = text.TrimEnd();
        return (text.EndsWith(CrashKernel, StringComparison.Ordinal) ? text[..^CrashKernel.Length].TrimEnd() : text).ToString();
    }

    /// <summary>A task chooses its name, so the last of the words counts.</summary>
    private static int LastTaint(ReadOnlySpan<char> rest, out bool isTainted)
    {
        int yes = rest.LastIndexOf(Tainted, StringComparison.Ordinal), no = rest.LastIndexOf(NotTainted, StringComparison.Ordinal);
        isTainted = yes > no;
        return Math.Max(yes, no);
    }

    private static (string Taint, string? Release, string? Build) TaintAndRelease(ReadOnlySpan<char> text, bool isTainted)
    {
        text = text[(isTainted ? Tainted.Length : NotTainted.Length)..];
        var letters = new List<char>();
        while (true)
        {
            text = text.TrimStart(' ');
            int end = text.IndexOf(' ');
            ReadOnlySpan<char> word = end < 0 ? text : text[..end];
            if (word.IsEmpty)
                return (Letters(letters, isTainted), null, null);
            if (char.IsAsciiDigit(word[0]))
            {
                ReadOnlySpan<char> build = end < 0 ? [] : text[end..].Trim();
                return (Letters(letters, isTainted), word.ToString(), build.IsEmpty ? null : string.Join(' ', build.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries)));
            }

            foreach (char c in word)
            {
                if (letters.Count < 64 && char.IsAsciiLetterUpper(c))
                    letters.Add(c);
            }

            text = end < 0 ? [] : text[end..];
        }
    }

    /// <summary>G only says that P is not set; it is no taint.</summary>
    private static string Letters(List<char> letters, bool isTainted)
    {
        letters.Remove('G');
        return !isTainted || letters.Count == 0 ? "none" : new string([.. letters]);
    }
}
