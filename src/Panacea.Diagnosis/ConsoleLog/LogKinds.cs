using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>The kinds of a log in the words of diagnoses.</summary>
internal static class LogKinds
{
    /// <summary>The kind of a report that is no trap; <see cref="CrashKind.Unknown"/> for traps and fragments.</summary>
    public static CrashKind Of(LogReportKind kind) => kind switch
    {
        LogReportKind.Warning => CrashKind.Warning,
        LogReportKind.Panic => CrashKind.Panic,
        LogReportKind.StackCorruption => CrashKind.StackCorruption,
        LogReportKind.HungTask => CrashKind.HungTask,
        LogReportKind.SoftLockup => CrashKind.SoftLockup,
        LogReportKind.HardLockup => CrashKind.HardLockup,
        LogReportKind.RcuStall => CrashKind.RcuStall,
        LogReportKind.ListCorruption => CrashKind.ListCorruption,
        LogReportKind.Usercopy => CrashKind.Usercopy,
        LogReportKind.Refcount => CrashKind.Refcount,
        LogReportKind.Kasan => CrashKind.Kasan,
        LogReportKind.Ubsan => CrashKind.Ubsan,
        LogReportKind.Kfence => CrashKind.Kfence,
        LogReportKind.Kcsan => CrashKind.Kcsan,
        LogReportKind.Kmsan => CrashKind.Kmsan,
        LogReportKind.MemoryLeak => CrashKind.MemoryLeak,
        LogReportKind.Lockdep => CrashKind.Lockdep,
        LogReportKind.RcuUsage => CrashKind.RcuUsage,
        LogReportKind.SleepInAtomic => CrashKind.SleepInAtomic,
        LogReportKind.ScheduleInAtomic => CrashKind.ScheduleInAtomic,
        LogReportKind.OutOfMemory => CrashKind.OutOfMemory,
        LogReportKind.SlabCorruption => CrashKind.SlabCorruption,
        LogReportKind.BadPage => CrashKind.BadPage,
        LogReportKind.BadPageMap => CrashKind.BadPageMap,
        LogReportKind.AllocationFailure => CrashKind.AllocationFailure,
        LogReportKind.MachineCheck => CrashKind.MachineCheck,
        LogReportKind.UnknownNmi => CrashKind.UnknownNmi,
        LogReportKind.FilesystemError => CrashKind.FilesystemError,
        LogReportKind.IoError => CrashKind.IoError,
        LogReportKind.Sysrq => CrashKind.Sysrq,
        _ => CrashKind.Unknown,
    };

    /// <summary>The kernel died in a trap: the stack begins with what trapped.</summary>
    public static bool IsTrap(LogReportKind kind) => kind is >= LogReportKind.PageFault and <= LogReportKind.KernelBug or LogReportKind.ListCorruption or LogReportKind.Usercopy;

    /// <summary>The task or the kernel ended with it.</summary>
    public static bool IsDeath(CrashKind kind) => kind is > CrashKind.Unknown and < CrashKind.Warning;

    /// <summary>Memory is not what it should be: what dies later may well die of it.</summary>
    public static bool IsCorruption(CrashKind kind) => kind is CrashKind.Refcount or CrashKind.Kasan or CrashKind.Kfence or CrashKind.SlabCorruption or CrashKind.BadPage or CrashKind.BadPageMap or CrashKind.MachineCheck;

    /// <summary>Something does not go on.</summary>
    public static bool IsHang(CrashKind kind) => kind is CrashKind.HungTask or CrashKind.SoftLockup or CrashKind.HardLockup or CrashKind.RcuStall;

    /// <summary>No crash: what was going on around one.</summary>
    public static bool IsCircumstance(CrashKind kind) => kind is CrashKind.FilesystemError or CrashKind.IoError or CrashKind.Sysrq or CrashKind.UnknownNmi or CrashKind.AllocationFailure or CrashKind.MemoryLeak;
}
