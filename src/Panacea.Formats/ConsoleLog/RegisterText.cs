using System.Globalization;

namespace Panacea.Formats.ConsoleLog;

/// <summary>The lines of a register dump (arch/x86/kernel/process_64.c: __show_regs) and of code bytes (arch/x86/kernel/dumpstack.c: show_opcodes).</summary>
internal static class RegisterText
{
    private const int MostCode = 256;

    /// <summary>True for a line of registers other than RIP's; its values are added.</summary>
    public static bool TryRead(ReadOnlySpan<char> line, Dictionary<string, ulong>? into)
    {
        line = line.Trim();
        if (line.Length < 7 || !(char.IsAsciiLetterUpper(line[0]) && line[..Math.Min(8, line.Length)].Contains(':')) || !IsKnown(line[..line.IndexOf(':')]))
            return false;
        while (!line.IsEmpty)
        {
            int colon = line.IndexOf(':');
            if (colon is < 2 or > 8)
                break;
            ReadOnlySpan<char> name = line[..colon];
            ReadOnlySpan<char> rest = line[(colon + 1)..].TrimStart(' ');
            int end = rest.IndexOf(' ');
            ReadOnlySpan<char> value = end < 0 ? rest : rest[..end];
            line = end < 0 ? [] : rest[end..].TrimStart(' ');
            if (NameOf(name) is not { } known)
                continue;

            // RSP: 0018:ffff…; FS: 0000000000000000(0000).
            int selector = value.IndexOf(':'), bracket = value.IndexOf('(');
            if (selector >= 0)
                value = value[(selector + 1)..];
            else if (bracket >= 0)
                value = value[..bracket];
            if (ulong.TryParse(value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong number))
                into?.TryAdd(known, number);
        }

        return true;
    }

    /// <summary>Reads <c>RIP: 0010:name+0x1/0x20 [module]</c> or <c>RIP: 0033:0x47b7a0</c>.</summary>
    public static bool TryReadInstruction(ReadOnlySpan<char> line, out LogFrame? instruction, out bool isUser)
    {
        instruction = null;
        isUser = false;
        line = line.Trim();
        if (!line.StartsWith("RIP: ", StringComparison.Ordinal) || line.Length < 10 || line[9] != ':')
            return false;
        isUser = (line[8] - '0') is >= 0 and <= 9 && ((line[8] - '0') & 3) == 3;
        ReadOnlySpan<char> rest = line[10..];
        if (rest.StartsWith("[<", StringComparison.Ordinal) && rest.IndexOf(">]", StringComparison.Ordinal) is > 0 and int close)
            rest = rest[(close + 2)..].Trim();
        if (FrameText.TryParse(rest, out LogFrame frame, out _))
            instruction = frame with { IsTrap = true };
        return true;
    }

    /// <summary>Reads <c>Code: 8b 00 &lt;89&gt; 05 …</c>.</summary>
    public static bool TryReadCode(ReadOnlySpan<char> line, out byte[] code, out int at)
    {
        (code, at) = ([], -1);
        line = line.Trim();
        if (!line.StartsWith("Code:", StringComparison.Ordinal))
            return false;
        var bytes = new List<byte>();
        ReadOnlySpan<char> rest = line["Code:".Length..].Trim();
        while (!rest.IsEmpty && bytes.Count < MostCode)
        {
            int end = rest.IndexOf(' ');
            ReadOnlySpan<char> word = end < 0 ? rest : rest[..end];
            rest = end < 0 ? [] : rest[end..].TrimStart(' ');
            if (word.Length == 4 && word[0] == '<' && word[3] == '>')
            {
                at = bytes.Count;
                word = word[1..3];
            }

            if (word.Length != 2 || !byte.TryParse(word, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
                break; // "Unable to access opcode bytes at 0x…", or the line's end was lost
            bytes.Add(value);
        }

        code = [.. bytes];
        if (bytes.Count == 0)
            at = -1;
        return true;
    }

    private static bool IsKnown(ReadOnlySpan<char> name) => NameOf(name) is not null;

    /// <summary>A register's name as values are kept by; null where it is none.</summary>
    public static string? NameOf(ReadOnlySpan<char> name) => name switch
    {
        "RAX" => "rax",
        "RBX" => "rbx",
        "RCX" => "rcx",
        "RDX" => "rdx",
        "RSI" => "rsi",
        "RDI" => "rdi",
        "RBP" => "rbp",
        "RSP" => "rsp",
        "R08" or "R8" => "r8",
        "R09" or "R9" => "r9",
        "R10" => "r10",
        "R11" => "r11",
        "R12" => "r12",
        "R13" => "r13",
        "R14" => "r14",
        "R15" => "r15",
        "EFLAGS" or "RFLAGS" => "rflags",
        "ORIG_RAX" => "orig_rax",
        "FS" => "fs_base",
        "GS" => "gs_base",
        "knlGS" => "kernel_gs_base",
        "CS" => "cs",
        "DS" => "ds",
        "ES" => "es",
        "CR0" => "cr0",
        "CR2" => "cr2",
        "CR3" => "cr3",
        "CR4" => "cr4",
        "PKRU" => "pkru",
        "DR0" => "dr0",
        "DR1" => "dr1",
        "DR2" => "dr2",
        "DR3" => "dr3",
        "DR6" => "dr6",
        "DR7" => "dr7",
        _ => null,
    };
}
