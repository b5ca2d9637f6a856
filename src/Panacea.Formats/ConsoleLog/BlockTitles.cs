namespace Panacea.Formats.ConsoleLog;

/// <summary>Lines that introduce a stack trace and say whose it is.</summary>
internal static class BlockTitles
{
    private static readonly (string Start, LogBlockRole Role)[] Known =
    [
        ("Allocated by task ", LogBlockRole.Allocated), ("allocated by task ", LogBlockRole.Allocated), ("Allocated in ", LogBlockRole.Allocated), ("Uninit was created at:", LogBlockRole.Allocated),
        ("Freed by task ", LogBlockRole.Freed), ("freed by task ", LogBlockRole.Freed), ("Freed in ", LogBlockRole.Freed),
        ("stack backtrace:", LogBlockRole.Main), ("NMI backtrace for cpu ", LogBlockRole.Other), ("-> #", LogBlockRole.Other), ("the existing dependency chain", LogBlockRole.Other),
        ("Last potentially related work creation:", LogBlockRole.Other), ("Second to last potentially related work creation:", LogBlockRole.Other),
        ("Uninit was stored to memory at:", LogBlockRole.Other), ("Local variable ", LogBlockRole.Other),
        ("rcu: Stack dump where RCU GP kthread last ran:", LogBlockRole.Other), ("Stack dump where RCU GP kthread last ran:", LogBlockRole.Other),
        ("page last allocated via ", LogBlockRole.Other), ("page last free ", LogBlockRole.Other), ("Showing all locks held in the system:", LogBlockRole.Other),
        ("{HARDIRQ-ON-W} state was registered at:", LogBlockRole.Other), ("{SOFTIRQ-ON-W} state was registered at:", LogBlockRole.Other), ("{IN-HARDIRQ-W} state was registered at:", LogBlockRole.Other),
        ("{IN-SOFTIRQ-W} state was registered at:", LogBlockRole.Other), ("kernel backtrace", LogBlockRole.Other), ("the shortest dependencies between", LogBlockRole.Other),
        ("backtrace:", LogBlockRole.Main), ("backtrace (crc ", LogBlockRole.Main),
    ];

    private static readonly string[] Accesses = ["read ", "write ", "read-write ", "assert no "];

    /// <summary>The line introduces a stack trace.</summary>
    public static bool Find(ReadOnlySpan<char> text, out LogBlockRole role)
    {
        foreach ((string start, LogBlockRole known) in Known)
        {
            if (!text.StartsWith(start, StringComparison.Ordinal))
                continue;
            role = known;
            return true;
        }

        // KCSAN: "write to 0xffff… of 4 bytes by task 135 on cpu 1:", "read (marked) to …"; the first access is the report's own.
        role = LogBlockRole.Main;
        if (text.Length > 10 && text[^1] == ':' && text.Contains(" by ", StringComparison.Ordinal) && text.Contains(" on cpu ", StringComparison.Ordinal))
        {
            foreach (string access in Accesses)
            {
                if (text.StartsWith(access, StringComparison.Ordinal))
                    return true;
            }
        }

        // "task:sh              state:D stack:0     pid:135   ppid:1"
        return text.StartsWith("task:", StringComparison.Ordinal) && text.Contains(" state:", StringComparison.Ordinal);
    }

    /// <summary>Who such a line is about, where it says so.</summary>
    public static LogIdentity? TaskOf(ReadOnlySpan<char> text)
    {
        int? pid = After(text, " pid:") ?? After(text, " by task "), cpu = After(text, " cpu ");
        string? comm = null;
        if (text.StartsWith("task:", StringComparison.Ordinal) && text.IndexOf(" state:", StringComparison.Ordinal) is > 5 and int end)
            comm = text[5..end].Trim().ToString();
        return pid is null && cpu is null && comm is null ? null : new LogIdentity(cpu, pid, comm, null, null, null);
    }

    private static int? After(ReadOnlySpan<char> text, string word)
    {
        int at = text.LastIndexOf(word, StringComparison.Ordinal);
        return at < 0 ? null : IdentityText.Number(text[(at + word.Length)..].TrimStart(' '));
    }
}
