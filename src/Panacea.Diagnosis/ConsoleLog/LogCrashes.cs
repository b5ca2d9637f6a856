using Panacea.Formats.ConsoleLog;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>One report of a log to its diagnosis.</summary>
internal static class LogCrashes
{
    /// <summary>What an incomplete report lacks, where nothing tells more.</summary>
    public const string EndMissing = "the end of the report: the log stops before it, or it was lost";

    /// <summary>Diagnoses a report by itself; its rank comes from the others.</summary>
    public static LogCrash Diagnose(LogReport report)
    {
        LogBlock? block = BlockOf(report);
        IReadOnlyList<LogFrame> frames = block?.Frames ?? [];
        FaultAccess? access = null;
        ulong? address = null;
        AccessKind accessKind = AccessKind.None;
        CrashKind kind = LogKinds.Of(report.Kind);
        if (kind == CrashKind.Unknown && report.Kind != LogReportKind.Fragment)
            kind = LogTraps.Classify(report, out access, out address, out accessKind);
        kind = CrashKinds.Refine(kind, frames.TakeWhile(f => f.Reliable).Select(f => f.Function));

        LogBlame blame = LogBlame.Find(report, kind, frames);
        string? where = kind == CrashKind.Kcsan && report.Fact("first") is { } first ? $"{first}{(report.Fact("second") is { } second ? $" / {second}" : "")}"
            : blame.Frame is { Function: { } function } ? Causes.Where(function, blame.Frame.Module)
            : blame.Frame is { Address: { } bare } ? $"0x{bare:x}"
            : null;
        ClassifiedAddress? looks = access?.Class ?? (address is { } a && LogKinds.IsTrap(report.Kind) ? ClassifiedAddress.Of(a, null) : null);
        string? message = kind is CrashKind.Panic or CrashKind.StackCorruption ? report.Fact("message") : null;
        string? noun = LogWords.Noun(report, kind);
        // Where the unwinder proved nothing, as after a call through a wild pointer, the order of the stack is the best there is.
        IEnumerable<LogFrame> callers = frames.Skip(blame.Index + 1).Where(f => f.Reliable || blame.Frame is { Reliable: false });
        LogIdentity? who = block?.Identity is { Comm: not null } own ? own : report.Blocks.Select(b => b.Identity).FirstOrDefault(i => i?.Comm is not null) ?? block?.Identity;
        var disassembly = block?.Registers is { } registers ? LogDisassembly.Of(registers, out string? instruction) : LogDisassembly.Of(Nothing, out instruction);
        bool isFetch = kind is CrashKind.NullCall or CrashKind.WildCall;
        return new LogCrash
        {
            Title = Causes.Title(kind, where, message, noun),
            Bucket = blame.Frame is null
                ? Buckets.Of(kind, null, where, [Causes.Stable(message ?? noun ?? "")])
                : Buckets.Of(kind, blame.Frame.Module, blame.Frame.Function, callers.Select(f => f.Function)),
            Kind = kind,
            Cause = LogWords.Cause(report, kind, where, address is { } accessed ? Causes.At(accessed, looks) : null, isFetch ? address : null, Caller(frames, blame), who?.Comm),
            Context = LogContexts.Of(frames, who, block?.Registers is not null),
            Confidence = blame.Confidence,
            Location = blame.Frame is { } frame ? LogLocation.Of(frame) : null,
            Boot = report.Boot,
            Line = report.Headline.Number,
            TimestampNs = report.Headline.TimestampNs,
            WallClock = report.Headline.WallClock,
            Cpu = who?.Cpu ?? Number(report.Fact("cpu")),
            Pid = who?.Pid ?? Number(report.Fact("pid")),
            Comm = who?.Comm ?? report.Fact("comm"),
            Workqueue = report.Workqueue,
            Taint = who?.Taint,
            KernelRelease = who?.Release ?? BannerRelease(report.BannerRelease),
            Banner = report.BannerRelease,
            KernelBuild = who?.Build,
            Hardware = report.Hardware,
            Source = report.Fact("file") is { } file ? $"{file}:{report.Fact("line")}" : null,
            Fault = accessKind != AccessKind.None || address is not null && LogKinds.IsTrap(report.Kind)
                ? new ReportFault(Word(accessKind), address, looks?.ToString(), isFetch ? null : instruction, Operand(access))
                : null,
            PanicMessage = message,
            Stack = [.. frames.Select(Entry)],
            OtherStacks = [.. report.Blocks.Where(b => b != block && b.Frames.Count > 0).Select(b => new LogStack(b.Title, [.. b.Frames.Select(Entry)]))],
            Registers = block?.Registers?.Values ?? Nothing.Values,
            Disassembly = disassembly,
            Modules = [.. report.Modules.Select(m => m.Taints.Length == 0 ? m.Name : $"{m.Name}({m.Taints})")],
            Details = report.Facts,
            Unavailable = Unavailable(report, block, blame, who),
        };
    }

    private static LogRegisters Nothing { get; } = new(new Dictionary<string, ulong>(), null, false, [], -1);

    /// <summary>The stack that the report is about.</summary>
    private static LogBlock? BlockOf(LogReport report)
    {
        List<LogBlock> stacks = [.. report.Blocks.Where(b => b.Frames.Count > 0 && b.Role is LogBlockRole.Main or LogBlockRole.Other)];
        if (report.Kind is LogReportKind.RcuStall or LogReportKind.HardLockup or LogReportKind.SoftLockup && Number(report.Fact("cpu")) is { } cpu
            && stacks.Find(b => b.Identity?.Cpu == cpu) is { } stalled)
            return stalled;
        if (report.Kind == LogReportKind.RcuStall && Number(report.Fact("task")) is { } pid && stacks.Find(b => b.Identity?.Pid == pid) is { } blocked)
            return blocked;
        return stacks.Find(b => b.Role == LogBlockRole.Main) ?? (report.Kind == LogReportKind.Lockdep ? stacks.LastOrDefault() : stacks.FirstOrDefault())
            ?? report.Blocks.FirstOrDefault(b => b.Role == LogBlockRole.Main);
    }

    private static string? Caller(IReadOnlyList<LogFrame> frames, LogBlame blame) =>
        blame.Index >= 0 && blame.Index + 1 < frames.Count && frames[blame.Index].Reliable && frames[blame.Index + 1] is { Reliable: true, Function: { } caller } ? caller : null;

    private static LogStackEntry Entry(LogFrame frame) => new(LogLocation.Of(frame), frame.Reliable, frame.IsTrap, frame.Section?.ToLowerInvariant());

    private static string Word(AccessKind kind) => kind switch
    {
        AccessKind.Read => "read",
        AccessKind.Write => "write",
        AccessKind.Execute => "execute",
        _ => "none",
    };

    private static string? Operand(FaultAccess? access) =>
        access?.BadRegister is { } r ? $"%{r.Register.ToString().ToLowerInvariant()} = 0x{r.Value:x}" : null;

    private static int? Number(string? text) => int.TryParse(text, out int number) ? number : null;

    /// <summary>"Linux version 6.1.0-56-cloud-amd64 (debian-kernel@…) …".</summary>
    private static string? BannerRelease(string? banner) => banner?.Split(' ') is { Length: > 2 } words ? words[2] : null;

    private static List<string> Unavailable(LogReport report, LogBlock? block, LogBlame blame, LogIdentity? who)
    {
        var missing = new List<string>();
        bool isTrap = LogKinds.IsTrap(report.Kind);
        if (report.Kind == LogReportKind.Fragment)
            missing.Add("the headline: the log does not say what kind of report this is");
        if (isTrap && block?.Registers is null)
            missing.Add("registers: the log has none for this report");
        else if (isTrap && block?.Registers is { } registers && !LogTraps.Registers(registers).IsComplete)
            missing.Add("some registers: their lines are damaged or lost");
        if (isTrap && block?.Registers is { CodeAt: < 0 })
            missing.Add("code bytes: the instruction that trapped is not in the log");
        if (block is null or { Frames.Count: 0 } && blame.WhyNot is not null)
            missing.Add("the stack: the log has none for this report");
        else if (blame.WhyNot is { } why)
            missing.Add($"the faulty function: {why}");
        if (who is null && isTrap)
            missing.Add("processor and task: the line that names them is not in the log");
        if (!report.IsComplete)
            missing.Add(EndMissing);
        if (report.IsTruncated)
            missing.Add("some lines of the report: it is longer than the limit");
        return missing;
    }
}
