using System.Text;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>Words for what only logs report.</summary>
internal static class LogWords
{
    /// <summary>What the title says instead of the kind's own noun; null where that is enough.</summary>
    public static string? Noun(LogReport report, CrashKind kind)
    {
        string? type = report.Fact("type"), access = report.Fact("access");
        return kind switch
        {
            CrashKind.Kasan when type is not null => $"KASAN: {type}{(access is null ? "" : $" {access}")}",
            CrashKind.Kfence when type is not null => $"KFENCE: {type}{(access is null ? "" : $" {access}")}",
            CrashKind.Ubsan when type is not null => $"UBSAN: {type}",
            CrashKind.Kcsan when type is not null => $"KCSAN: {type}",
            CrashKind.Kmsan when type is not null => $"KMSAN: {type}",
            CrashKind.Lockdep when type is not null => type,
            CrashKind.Refcount when type is not null => $"refcount: {type}",
            CrashKind.SlabCorruption when type is not null => $"slab corruption: {type}{(report.Fact("cache") is { } cache ? $" ({cache})" : "")}",
            CrashKind.BadPageMap when type == "counter" => "wrong memory counter",
            CrashKind.OutOfMemory => report.Fact("victim") is { } victim ? $"out of memory: killed {victim}" : null,
            CrashKind.AllocationFailure when report.Fact("order") is { } order => $"allocation failure (order {order})",
            CrashKind.MachineCheck => report.Fact("bank") is { } bank ? $"machine check (bank {bank})" : null,
            CrashKind.FilesystemError when type is not null => $"{type} file system error on {report.Fact("device")}",
            CrashKind.IoError => $"I/O error on {report.Fact("device")}",
            CrashKind.Sysrq => $"SysRq: {report.Fact("message")}",
            CrashKind.Unknown when report.Kind == LogReportKind.OtherTrap => report.Fact("trap"),
            CrashKind.Unknown => "stack trace without its headline",
            _ => null,
        };
    }

    /// <summary>The cause in a sentence.</summary>
    /// <param name="report">The report.</param>
    /// <param name="kind">Its kind.</param>
    /// <param name="where">The function at fault; null where there is none.</param>
    /// <param name="at">The address accessed, in words.</param>
    /// <param name="ip">Where a call went to that found no code.</param>
    /// <param name="caller">The proved caller.</param>
    /// <param name="comm">Who ran.</param>
    public static string Cause(LogReport report, CrashKind kind, string? where, string? at, ulong? ip, string? caller, string? comm)
    {
        string place = where ?? "a function that the log does not name";
        string by = caller is null ? "" : $", called from {caller}";
        string who = report.Fact("comm") ?? comm ?? "a task";
        string? seconds = report.Fact("seconds"), size = report.Fact("size"), message = report.Fact("message");
        if (LogKinds.IsDeath(kind) && kind is not (CrashKind.ListCorruption or CrashKind.Usercopy or CrashKind.Panic))
            return Causes.Sentence(kind, place, at, ip, message, caller);
        return kind switch
        {
            CrashKind.Panic => where is null ? $"the kernel gave up: {message}" : $"{where} called panic(\"{message}\"){by}",
            CrashKind.ListCorruption or CrashKind.Usercopy => Causes.Sentence(kind, place, null, null, null, caller) + (message is null ? "" : $" ({message})"),
            CrashKind.Warning => $"{place} found something that should not be{(message is null ? "" : $": {message}")}{by}",
            CrashKind.HungTask => $"{who} has been blocked for more than {seconds ?? "?"} s in {place}{Blocker(report)}{by}",
            CrashKind.SoftLockup => $"processor {report.Fact("cpu")} has run {place} for {seconds ?? "?"} s without scheduling{by}",
            CrashKind.HardLockup => $"processor {report.Fact("cpu")} has run {place} with interrupts off for longer than the watchdog waits{by}",
            CrashKind.RcuStall => $"an RCU grace period does not end, because {(report.Fact("cpu") is { } cpu ? $"processor {cpu}" : report.Fact("task") is { } task ? $"task {task}" : "a processor")} stays in {place}{by}",
            CrashKind.Refcount => $"{place} used a reference count that was wrong ({report.Fact("type")}): an object is freed too early or twice{by}",
            CrashKind.Kasan or CrashKind.Kfence => Memory(report, place, size, by),
            CrashKind.Ubsan => $"{place} did what C leaves undefined: {message ?? report.Fact("type")}{by}",
            CrashKind.Kcsan => $"{report.Fact("first")} and {report.Fact("second") ?? "itself"} touch the same data at the same time without protection",
            CrashKind.Kmsan => $"{place} used a value that was never set{by}",
            CrashKind.MemoryLeak => $"{size ?? "some"} bytes that {place} allocated are referenced by nothing any more",
            CrashKind.Lockdep => $"{place} broke a locking rule ({report.Fact("type")}){Locks(report)}{by}",
            CrashKind.RcuUsage => $"{place} used RCU outside of its rules{(message is null ? "" : $": {message}")}{by}",
            CrashKind.SleepInAtomic => $"{place} called a function that may sleep where nothing may{by}",
            CrashKind.ScheduleInAtomic => $"{place} slept where nothing may: preemption is off{by}",
            CrashKind.OutOfMemory => report.Fact("victim") is { } victim
                ? $"memory ran out when {who} asked for some; {victim} (pid {report.Fact("victim-pid")}{(report.Fact("rss") is { } rss ? $", {rss} of its own" : "")}) was killed"
                : $"memory ran out when {who} asked for some",
            CrashKind.SlabCorruption => $"an object of the cache {report.Fact("cache") ?? "that is not named"} is damaged ({report.Fact("type")}), seen in {place}{Owners(report)}",
            CrashKind.BadPage => $"a page that {place} {(message is null ? "took or freed is in a wrong state" : $"took or freed cannot be as it is: {message}")}{by}",
            CrashKind.BadPageMap => $"the address space of {who} is damaged: {message}",
            CrashKind.AllocationFailure => $"{place} could not get memory: {message}",
            CrashKind.MachineCheck => $"the hardware reported an error: {message}",
            CrashKind.UnknownNmi => $"a non-maskable interrupt came that nothing had asked for: {message}",
            CrashKind.FilesystemError => $"the file system on {report.Fact("device")} found itself damaged: {message}",
            CrashKind.IoError => $"{report.Fact("device")} failed: {message}",
            CrashKind.Sysrq => $"somebody asked for it with the SysRq key or /proc/sysrq-trigger: {message}",
            _ => where is null ? "the log has only a part of a report" : $"the log has only a part of a report; it was made in {where}{by}",
        };
    }

    private static string Blocker(LogReport report) => report.Fact("blocker") is { } blocker ? $" ({blocker})" : "";

    private static string Locks(LogReport report) =>
        report.Fact("wants") is { } wants ? $": it takes {wants}{(report.Fact("holds") is { } holds ? $" while it holds {holds}" : "")}" : "";

    private static string Memory(LogReport report, string place, string? size, string by)
    {
        string did = report.Fact("access") switch
        {
            "read" => "read",
            "write" => "wrote",
            _ => "touched",
        };
        return $"{place} {did}{(size is null ? "" : $" {size} bytes of")} memory that it must not ({report.Fact("type")}){by}{Owners(report)}";
    }

    /// <summary>Who allocated and who freed the object.</summary>
    private static string Owners(LogReport report)
    {
        var text = new StringBuilder();
        foreach ((LogBlockRole role, string word) in ((LogBlockRole, string)[])[(LogBlockRole.Allocated, "allocated"), (LogBlockRole.Freed, "freed")])
        {
            LogBlock? block = report.Blocks.FirstOrDefault(b => b.Role == role && b.Frames.Count > 0);
            LogFrame? frame = block?.Frames.FirstOrDefault(f => f.Function is { } name && !BlamelessFunctions.StandsAbove(CrashKind.Kasan, name));
            if (frame?.Function is { } function)
                text.Append($"; the object was {word} in {Causes.Where(function, frame.Module)}");
        }

        return text.ToString();
    }
}
