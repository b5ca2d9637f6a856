using System.Collections;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Panacea.Lab.Bench;

/// <summary>What one run of a program took.</summary>
/// <param name="WallUs">From before its start to after its end, in microseconds.</param>
/// <param name="CpuUs">User and system time, in microseconds.</param>
/// <param name="PeakBytes">The most memory that was resident (ru_maxrss).</param>
/// <param name="ExitCode">Exit status; 128 and the signal where one ended it.</param>
internal readonly record struct MeasuredRun(double WallUs, double CpuUs, long PeakBytes, int ExitCode);

/// <summary>Runs a program and measures what <c>wait4</c> knows of it. Not <see cref="Process"/>, which reaps its children without asking for their resources.</summary>
internal static partial class MeasuredProcess
{
    /// <summary>Runs a program to its end, standard output and standard error into files.</summary>
    public static Task<MeasuredRun> RunAsync(IReadOnlyList<string> command, string output, string errors, CancellationToken cancel) => Task.Run(() =>
    {
        // The shell opens the files and becomes the program: the same process, measured from its own start.
        string[] words = ["sh", "-c", "exec 0< /dev/null 1> \"$0\" 2> \"$1\"; shift; exec \"$@\"", output, errors, .. command];
        nint[] argv = Strings(words), environment = Strings(Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(v => $"{v.Key}={v.Value}"));
        try
        {
            long started = Stopwatch.GetTimestamp();
            int error = Spawn(out int pid, "/bin/sh", 0, 0, argv, environment);
            if (error != 0)
                throw new LabException($"{command[0]} could not be started: {Marshal.GetPInvokeErrorMessage(error)}");
            using CancellationTokenRegistration killed = cancel.Register(() => _ = Kill(pid, 9));
            if (Wait(pid, out int status, 0, out Usage usage) != pid)
                throw new LabException($"waiting for {command[0]} failed: {Marshal.GetLastPInvokeErrorMessage()}");
            double wall = Stopwatch.GetElapsedTime(started).TotalMicroseconds;
            cancel.ThrowIfCancellationRequested();
            int code = (status & 0x7f) == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f);
            return new MeasuredRun(wall, ((usage.UserSeconds + usage.SystemSeconds) * 1e6) + usage.UserMicroseconds + usage.SystemMicroseconds, usage.MaxResidentKib * 1024, code);
        }
        finally
        {
            foreach (nint text in argv.Concat(environment))
                Marshal.FreeCoTaskMem(text);
        }
    }, cancel);

    /// <summary>Has the host forget what it has of a file in its page cache. What has not been written to the disk would stay, so that is done first.</summary>
    public static void DropFromCache(string file)
    {
        using SafeFileHandle handle = File.OpenHandle(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        _ = Synchronize(handle);
        const int dontNeed = 4;
        int error = Advise(handle, 0, 0, dontNeed);
        if (error != 0)
            throw new LabException($"{file} can't be dropped from the page cache: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    private static nint[] Strings(IEnumerable<string> words) => [.. words.Select(Marshal.StringToCoTaskMemUTF8), 0];

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Spawn(out int pid, string path, nint fileActions, nint attributes, nint[] argv, nint[] environment);

    [LibraryImport("libc", EntryPoint = "wait4", SetLastError = true)]
    private static partial int Wait(int pid, out int status, int options, out Usage usage);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Synchronize(SafeFileHandle file);

    /// <summary>struct rusage, 144 bytes: two struct timeval, ru_maxrss in KiB, thirteen more numbers.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 144)]
    private readonly struct Usage
    {
        public readonly long UserSeconds, UserMicroseconds, SystemSeconds, SystemMicroseconds, MaxResidentKib;
    }
}
