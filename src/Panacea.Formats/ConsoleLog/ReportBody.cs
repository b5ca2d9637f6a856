using System.Globalization;

namespace Panacea.Formats.ConsoleLog;

/// <summary>What a line is within a report.</summary>
internal enum BodyLine
{
    /// <summary>Nothing that reports are made of.</summary>
    None,
    /// <summary>Who ran, on which hardware, with which work.</summary>
    Identity,
    /// <summary>Registers or code bytes.</summary>
    Registers,
    /// <summary>An entry, the heading or a section mark of a stack trace.</summary>
    Trace,
    /// <summary>A line that introduces a stack trace.</summary>
    Title,
    /// <summary>The list of modules.</summary>
    Modules,
}

/// <summary>Collects registers, stack traces and modules of one report, as one writer (a task or a processor) writes them.</summary>
internal sealed class ReportBody
{
    private const int MostBlocks = 64, MostFrames = 512, MostModules = 1024;

    private readonly List<Block> _blocks = [];
    private readonly List<LogModule> _modules = [];
    private Block? _current;
    private bool _modulesOpen;

    /// <summary>Registers or a stack have been seen.</summary>
    public bool HasDump => _blocks.Exists(b => b.HasRegisters || b.Frames.Count > 0);

    /// <summary>Of the report's own stack something has been seen, or who ran.</summary>
    public bool HasMain => _blocks.Exists(b => b.Role == LogBlockRole.Main && (b.HasRegisters || b.Frames.Count > 0 || b.Identity is not null));

    /// <summary>The current stack trace has entries and is not closed.</summary>
    public bool InTrace => _current is { InTrace: true };

    /// <summary>A stack trace has been closed by its section's end.</summary>
    public bool TraceClosed => _current is { TraceClosed: true };

    /// <summary>Hardware name.</summary>
    public string? Hardware { get; private set; }

    /// <summary>The work that a kworker was doing.</summary>
    public string? Workqueue { get; private set; }

    /// <summary>Modules.</summary>
    public IReadOnlyList<LogModule> Modules => _modules;

    /// <summary>What a line would be, without taking it in.</summary>
    public static BodyLine Classify(string text)
    {
        if (text.Length < 4)
            return BodyLine.None;
        ReadOnlySpan<char> plain = text.AsSpan().TrimStart();
        if (plain.IsEmpty)
            return BodyLine.None;
        switch (plain[0])
        {
            case 'C' when plain.StartsWith("CPU: ", StringComparison.Ordinal) && IdentityText.TryParse(plain, out _):
            case 'H' when plain.StartsWith("Hardware name: ", StringComparison.Ordinal):
            case 'W' when plain.StartsWith("Workqueue: ", StringComparison.Ordinal):
            case 'T' when plain.StartsWith("Tainted: [", StringComparison.Ordinal):
                return BodyLine.Identity;
            case 'C' when plain.StartsWith("Code:", StringComparison.Ordinal):
            case 'R' when plain.StartsWith("RIP: ", StringComparison.Ordinal):
                return BodyLine.Registers;
            case 'C' or 'c' when IsTraceHead(plain):
                return BodyLine.Trace;
            case 'M' when plain.StartsWith("Modules linked in:", StringComparison.Ordinal):
                return BodyLine.Modules;
            case '<' when SectionOf(ref plain, out _, out _):
                return BodyLine.Trace;
        }

        if (char.IsAsciiLetterUpper(plain[0]) && RegisterText.TryRead(plain, null))
            return BodyLine.Registers;
        if (BlockTitles.Find(plain, out _))
            return BodyLine.Title;
        return plain.Contains("+0x", StringComparison.Ordinal) && FrameText.TryParseLine(text, null, out _) ? BodyLine.Trace : BodyLine.None;
    }

    /// <summary>A line of registers says what the current stack does not have yet.</summary>
    public bool Lacks(string text)
    {
        if (_current is not { } block)
            return true;
        ReadOnlySpan<char> plain = text.AsSpan().Trim();
        if (plain.StartsWith("RIP: ", StringComparison.Ordinal))
            return block.InTrace || !block.HasRegisters;
        if (plain.StartsWith("Code:", StringComparison.Ordinal))
            return block.Target == Target.Main && block.Code.Length == 0;
        int colon = plain.IndexOf(':');
        return block.Target == Target.Main && !block.InTrace && colon > 0 && !block.Values.ContainsKey(RegisterText.NameOf(plain[..colon]) ?? "");
    }

    /// <summary>Takes a line in.</summary>
    public BodyLine Read(string text)
    {
        BodyLine line = Classify(text);
        ReadOnlySpan<char> plain = text.AsSpan().Trim();
        switch (line)
        {
            case BodyLine.Identity:
                ReadIdentity(plain);
                break;
            case BodyLine.Registers:
                ReadRegisters(plain);
                break;
            case BodyLine.Trace:
                ReadTrace(text, plain);
                break;
            case BodyLine.Title:
                BlockTitles.Find(plain, out LogBlockRole role);
                Begin(role, plain.ToString());
                _current!.Identity = BlockTitles.TaskOf(plain);
                break;
            case BodyLine.Modules:
                _modulesOpen = true;
                ReadModules(plain["Modules linked in:".Length..]);
                return line;
            default:
                // A list that is longer than a record goes on in the next.
                if (_modulesOpen && plain.Length > 0 && (text[0] == ' ' || plain.Contains("(", StringComparison.Ordinal)) && !plain.Contains(':'))
                {
                    ReadModules(plain);
                    return BodyLine.Modules;
                }

                break;
        }

        _modulesOpen = false;
        return line;
    }

    /// <summary>The lines "Tainted: … 6.1.0 #1" of hung task reports and lockdep.</summary>
    public void ReadTaint(string text)
    {
        if (!IdentityText.TryParseTaint(text, out string taint, out string? release, out string? build))
            return;
        Block block = Current();
        block.Identity = (block.Identity ?? new LogIdentity(null, null, null, null, null, null)) with { Taint = taint, Release = release, Build = build };
    }

    /// <summary>The blocks so far.</summary>
    public IEnumerable<LogBlock> Finish() => _blocks.Where(b => b.HasRegisters || b.Frames.Count > 0 || b.Identity is not null).Select(b => b.ToBlock());

    private static bool IsTraceHead(ReadOnlySpan<char> plain) =>
        plain.StartsWith("Call Trace:", StringComparison.OrdinalIgnoreCase) || plain.StartsWith("Call trace", StringComparison.OrdinalIgnoreCase);

    private Block Current()
    {
        if (_current is null)
            Begin(LogBlockRole.Main, "");
        return _current!;
    }

    private void Begin(LogBlockRole role, string title)
    {
        _current = new Block(role, title);
        if (_blocks.Count < MostBlocks)
            _blocks.Add(_current);
    }

    private void ReadIdentity(ReadOnlySpan<char> plain)
    {
        if (plain.StartsWith("Hardware name: ", StringComparison.Ordinal))
        {
            Hardware ??= plain["Hardware name: ".Length..].Trim().ToString();
            return;
        }

        if (plain.StartsWith("Workqueue: ", StringComparison.Ordinal))
        {
            Workqueue ??= plain["Workqueue: ".Length..].Trim().ToString();
            return;
        }

        if (!IdentityText.TryParse(plain, out LogIdentity identity))
            return;
        if (_current is { } c && (c.Frames.Count > 0 || c.Identity?.Cpu is not null))
            Begin(LogBlockRole.Main, "");
        Current().Identity = identity;
    }

    private void ReadRegisters(ReadOnlySpan<char> plain)
    {
        Block block = Current();
        if (RegisterText.TryReadInstruction(plain, out LogFrame? instruction, out bool isUser))
        {
            if (isUser || block.TraceClosed)
            {
                block.Target = Target.None;
            }
            else if (block.InTrace)
            {
                // Registers of what the trap interrupted; the kernel does not repeat its place as an entry.
                block.Target = Target.None;
                if (instruction is not null && block.Frames.Count < MostFrames)
                    block.Frames.Add(instruction with { Section = block.Section });
            }
            else if (block.HasRegisters)
            {
                block.Target = Target.None;
            }
            else
            {
                (block.Target, block.HasRegisters, block.Instruction) = (Target.Main, true, instruction);
            }
        }
        else if (RegisterText.TryReadCode(plain, out byte[] code, out int at))
        {
            if (block.Target == Target.Main && block.Code.Length == 0 || !block.HasRegisters && !block.InTrace && !block.TraceClosed)
                (block.Code, block.CodeAt) = (code, at);
        }
        else if (plain.StartsWith("CR2: ", StringComparison.Ordinal) && !plain.Contains("CR3", StringComparison.Ordinal))
        {
            // The last line before the end mark: the address of the fault itself, when the register has been overwritten since.
            if (ulong.TryParse(plain["CR2: ".Length..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong cr2))
                block.Values["cr2"] = cr2;
        }
        else if (block.Target == Target.Main || (!block.HasRegisters && !block.InTrace && !block.TraceClosed))
        {
            // Registers whose RIP line was lost are registers still.
            (block.Target, block.HasRegisters) = (Target.Main, true);
            RegisterText.TryRead(plain, block.Values);
        }
    }

    private void ReadTrace(string text, ReadOnlySpan<char> plain)
    {
        if (IsTraceHead(plain))
        {
            if (_current is { } c && (c.Frames.Count > 0 || c.TraceClosed))
                Begin(LogBlockRole.Other, "");
            Current().InTrace = true;
            Current().Target = Target.None;
            plain = plain[(plain.IndexOf(':') + 1)..].Trim();
            if (plain.IsEmpty)
                return;
        }

        Block block = Current();
        while (SectionOf(ref plain, out string section, out bool ends))
        {
            block.Section = ends ? null : section;
            block.FirstSection ??= section;
            (block.InTrace, block.TraceClosed) = (!ends || section != "TASK", ends && section == "TASK");
            text = plain.ToString();
        }

        if (!FrameText.TryParseLine(text, block.Section, out LogFrame frame))
            return;
        block.InTrace = true;
        if (block.Frames.Count < MostFrames)
            block.Frames.Add(frame);
    }

    /// <summary>Takes <c>&lt;TASK&gt;</c>, <c>&lt;/IRQ&gt;</c>, <c>&lt;#DF&gt;</c> off (arch/x86/kernel/dumpstack_64.c: stack_type_name).</summary>
    private static bool SectionOf(ref ReadOnlySpan<char> plain, out string section, out bool ends)
    {
        (section, ends) = ("", false);
        if (plain.Length < 4 || plain[0] != '<')
            return false;
        int close = plain.IndexOf('>');
        if (close is < 2 or > 20)
            return false;
        ReadOnlySpan<char> inside = plain[1..close];
        ends = inside[0] == '/';
        if (ends)
            inside = inside[1..];
        if (inside.Length < 2 || inside.ContainsAnyExcept("ABCDEFGHIJKLMNOPQRSTUVWXYZ_#0123456789 ") || char.IsAsciiDigit(inside[0]))
            return false;
        section = inside.ToString();
        plain = plain[(close + 1)..].Trim();
        return true;
    }

    private void ReadModules(ReadOnlySpan<char> list)
    {
        int unloaded = list.IndexOf("[last unloaded:", StringComparison.Ordinal);
        foreach (string word in (unloaded < 0 ? list : list[..unloaded]).ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (_modules.Count == MostModules)
                break;
            int open = word.IndexOf('(', StringComparison.Ordinal);
            if (open == 0)
                continue;
            _modules.Add(open < 0 ? new LogModule(word, "") : new LogModule(word[..open], word[(open + 1)..].TrimEnd(')', '+', '-')));
        }
    }

    private enum Target
    {
        None,
        Main,
    }

    private sealed class Block(LogBlockRole role, string title)
    {
        public LogBlockRole Role => role;

        public LogIdentity? Identity { get; set; }

        public bool HasRegisters { get; set; }

        public LogFrame? Instruction { get; set; }

        public Dictionary<string, ulong> Values { get; } = new(StringComparer.Ordinal);

        public byte[] Code { get; set; } = [];

        public int CodeAt { get; set; } = -1;

        public List<LogFrame> Frames { get; } = [];

        public Target Target { get; set; }

        public bool InTrace { get; set; }

        public bool TraceClosed { get; set; }

        public string? Section { get; set; }

        public string? FirstSection { get; set; }

        public LogBlock ToBlock()
        {
            LogRegisters? registers = null;
            IReadOnlyList<LogFrame> frames = Frames;
            if (HasRegisters || Code.Length > 0)
            {
                LogFrame? at = Instruction is null ? null : Instruction with { Section = FirstSection };
                if (at?.Address is { } rip)
                    Values.TryAdd("rip", rip);
                registers = new LogRegisters(Values, at, false, Code, CodeAt);
                if (at is not null)
                    frames = [at, .. Frames];
            }

            return new LogBlock(role, title, Identity, registers, frames);
        }
    }
}
