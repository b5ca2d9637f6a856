using System.Text;
using System.Text.RegularExpressions;
using Panacea.Kernel.Code;

namespace Panacea.Diagnosis;

/// <summary>Words for a crash; the same for crashes read from memory and from a log.</summary>
internal static partial class Causes
{
    /// <summary>A function as titles name it.</summary>
    public static string Where(CodeLocation location) =>
        location.Function is null ? $"0x{location.Address:x}" : Where(location.Function, location.Module);

    /// <summary>A function as titles name it.</summary>
    public static string Where(string function, string? module) => Buckets.Plain(function) + (module is null ? "" : $" [{module}]");

    /// <summary>An address with what it looks like.</summary>
    public static string At(ulong address, ClassifiedAddress? looks) =>
        looks is { } c && c.Class != AddressClass.Wild ? $"{c} (0x{address:x})" : $"0x{address:x}";

    /// <summary>One line a person can search for.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="where">The function at fault; null where there is none.</param>
    /// <param name="panic">What panic() was called with: its format, or what became of it.</param>
    /// <param name="noun">Says more than the kind, such as <c>KASAN slab-use-after-free read</c>; null for the kind's own noun.</param>
    public static string Title(CrashKind kind, string? where, string? panic, string? noun = null)
    {
        string place = where is null ? "" : $" in {where}";
        return kind == CrashKind.Panic && panic is not null ? $"panic{place}: {Stable(panic)}" : $"{noun ?? Noun(kind)}{place}";
    }

    /// <summary>The cause in a sentence without its full stop.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="where">The function at fault.</param>
    /// <param name="at">The address accessed, as <see cref="At"/> words it; null where there is none.</param>
    /// <param name="ip">Instruction pointer; null where it is not known.</param>
    /// <param name="panic">What panic() was called with.</param>
    /// <param name="caller">The faulty function's proved caller.</param>
    public static string Sentence(CrashKind kind, string where, string? at, ulong? ip, string? panic, string? caller)
    {
        string target = at ?? "an unknown address";
        var text = new StringBuilder(kind switch
        {
            CrashKind.NullRead or CrashKind.WildRead => $"{where} read from {target}",
            CrashKind.NullWrite or CrashKind.WildWrite or CrashKind.ReadOnlyWrite => $"{where} wrote to {target}",
            CrashKind.NullCall or CrashKind.WildCall => ip is null ? $"{where} called a function at {target}, where there is none" : $"{where} called a function at 0x{ip:x}, where there is none",
            CrashKind.UserAccess => $"{where} touched user memory at {target} in a way that is not permitted",
            CrashKind.GeneralProtection => $"{where} caused a general protection fault{(at is null ? "" : $" at {at}")}",
            CrashKind.Bug => $"{where} ran into BUG()",
            CrashKind.InvalidOpcode => $"{where} executed an invalid instruction",
            CrashKind.DivideError => $"{where} divided by zero or the quotient was too large",
            CrashKind.DoubleFault => $"{where} caused a double fault, as a rule a stack overflow",
            CrashKind.Breakpoint => $"{where} ran into a breakpoint that nobody had set",
            CrashKind.StackSegment => $"{where} used a stack address that is no canonical one",
            CrashKind.StackOverflow => $"{where} used up its stack and hit the guard page",
            CrashKind.ControlProtection => $"{where} branched to a place that is no valid target of a branch",
            CrashKind.AlignmentCheck => $"{where} made an access that is not aligned",
            CrashKind.StackCorruption => $"{where} overwrote its stack frame: the canary was not what it had been at its entry",
            CrashKind.ListCorruption => $"{where} found a linked list whose pointers do not agree: an entry was freed, or added or deleted twice, or overwritten",
            CrashKind.Usercopy => $"{where} copied beyond the end of an object, to or from user space",
            CrashKind.HardLockup => $"{where} has not let the processor take an interrupt for seconds",
            CrashKind.LostTick => $"{where} does not come any more on a processor that runs: the timer of its tick is in no queue, or has expired without an interrupt",
            CrashKind.StalledIo => $"{where} is not told, or has not told the device, of what is under way: requests of its disk have not got on for seconds, although the device has nothing to do with them",
            CrashKind.HungTask => $"{where} waits for a lock that it will never get",
            CrashKind.SoftLockup => $"{where} has not let the processor run anything else for seconds",
            CrashKind.Panic => panic is null ? $"{where} called panic()" : $"{where} called panic(\"{panic}\")",
            _ => $"{where} trapped in a way that could not be told",
        });
        if (caller is not null)
            text.Append($", called from {caller}");
        return text.ToString();
    }

    /// <summary>A panic's words without what differs from time to time: numbers, and the conversions that stand for them in the format. Memory has the format, a log has what became of it.</summary>
    internal static string Stable(string panic) => Varying().Replace(panic, "…");

    /// <summary>The kind as titles name it.</summary>
    internal static string Noun(CrashKind kind) => kind switch
    {
        CrashKind.NullRead => "NULL read",
        CrashKind.NullWrite => "NULL write",
        CrashKind.NullCall => "call of a NULL pointer",
        CrashKind.WildRead => "read through a wild pointer",
        CrashKind.WildWrite => "write through a wild pointer",
        CrashKind.WildCall => "call of a wild pointer",
        CrashKind.ReadOnlyWrite => "write to read-only memory",
        CrashKind.UserAccess => "forbidden access to user memory",
        CrashKind.GeneralProtection => "general protection fault",
        CrashKind.Bug => "kernel BUG",
        CrashKind.InvalidOpcode => "invalid opcode",
        CrashKind.DivideError => "divide error",
        CrashKind.DoubleFault => "double fault",
        CrashKind.Panic => "panic",
        CrashKind.Breakpoint => "breakpoint trap",
        CrashKind.StackSegment => "stack segment fault",
        CrashKind.StackOverflow => "stack overflow",
        CrashKind.ControlProtection => "control protection fault",
        CrashKind.AlignmentCheck => "alignment check",
        CrashKind.StackCorruption => "stack corruption",
        CrashKind.ListCorruption => "list corruption",
        CrashKind.Usercopy => "copy beyond an object",
        CrashKind.Warning => "WARNING",
        CrashKind.HungTask => "hung task",
        CrashKind.SoftLockup => "soft lockup",
        CrashKind.HardLockup => "hard lockup",
        CrashKind.LostTick => "lost timer tick",
        CrashKind.StalledIo => "stalled I/O",
        CrashKind.RcuStall => "RCU stall",
        CrashKind.Refcount => "reference count error",
        CrashKind.Kasan => "KASAN report",
        CrashKind.Ubsan => "undefined behaviour",
        CrashKind.Kfence => "KFENCE report",
        CrashKind.Kcsan => "data race",
        CrashKind.Kmsan => "use of uninitialised memory",
        CrashKind.MemoryLeak => "memory leak",
        CrashKind.Lockdep => "locking rule broken",
        CrashKind.RcuUsage => "suspicious RCU usage",
        CrashKind.SleepInAtomic => "sleeping function called in atomic context",
        CrashKind.ScheduleInAtomic => "scheduling while atomic",
        CrashKind.OutOfMemory => "out of memory",
        CrashKind.SlabCorruption => "slab corruption",
        CrashKind.BadPage => "bad page state",
        CrashKind.BadPageMap => "bad page map",
        CrashKind.AllocationFailure => "allocation failure",
        CrashKind.MachineCheck => "hardware error",
        CrashKind.UnknownNmi => "unknown NMI",
        CrashKind.FilesystemError => "file system error",
        CrashKind.IoError => "I/O error",
        CrashKind.Sysrq => "SysRq",
        _ => "crash of unknown kind",
    };

    // A printf conversion; a number that is a word of its own.
    [GeneratedRegex(@"(?<=\b0x)[0-9a-f]+\b|\b(?<!0x)\d+\b|%p[a-zA-Z]*|%[-#0-9.]*(?:hh|ll|[hlzj])?[a-zA-Z]")]
    private static partial Regex Varying();
}
