using System.Runtime.InteropServices;

namespace Panacea.Lab.Bench;

/// <summary>The processor time of any process, to the nanosecond: /proc has it in hundredths of a second.</summary>
internal static partial class CpuClock
{
    /// <summary>User and system time that a process has used, all of its threads together, those that ended too.</summary>
    /// <param name="pid">The process.</param>
    /// <exception cref="LabException">There is none.</exception>
    public static TimeSpan Of(int pid)
    {
        // MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel, as clock_getcpuclockid() makes it.
        int clock = (~pid << 3) | 2;
        return GetTime(clock, out Timespec time) == 0
            ? TimeSpan.FromTicks((time.Seconds * TimeSpan.TicksPerSecond) + (time.Nanoseconds / 100))
            : throw new LabException($"the processor time of process {pid} can't be read: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime", SetLastError = true)]
    private static partial int GetTime(int clock, out Timespec time);

    /// <summary>struct timespec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct Timespec
    {
        public readonly long Seconds, Nanoseconds;
    }
}
