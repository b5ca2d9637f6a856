using System.Runtime.InteropServices;

namespace Panacea.Lab.Quiet;

/// <summary>Takes the host's processor from a process: for a share of the time, as on a host that has too much to do, or for a while, as when the host is suspended.</summary>
public static partial class HostStarvation
{
    private const int Sigcont = 18, Sigstop = 19;
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(200);

    /// <summary>Lets a process run for half of each fifth of a second only.</summary>
    public static async Task HalveAsync(int pid, TimeSpan time, CancellationToken cancel)
    {
        long end = Environment.TickCount64 + (long)time.TotalMilliseconds;
        while (Environment.TickCount64 < end)
        {
            await SuspendAsync(pid, Period / 2, cancel);
            await Task.Delay(Period / 2, cancel);
        }
    }

    /// <summary>Stops a process for a while. It goes on whatever happens here.</summary>
    public static async Task SuspendAsync(int pid, TimeSpan time, CancellationToken cancel)
    {
        try
        {
            _ = Kill(pid, Sigstop);
            await Task.Delay(time, cancel);
        }
        finally
        {
            _ = Kill(pid, Sigcont);
        }
    }

    /// <summary>All threads of a process share one of the host's processors.</summary>
    public static void Pin(int pid, int cpu)
    {
        foreach (string thread in Directory.EnumerateDirectories($"/proc/{pid}/task"))
        {
            ulong mask = 1UL << cpu;
            _ = SetAffinity(int.Parse(Path.GetFileName(thread), System.Globalization.CultureInfo.InvariantCulture), sizeof(ulong), ref mask);
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int pid, nint size, ref ulong mask);
}
