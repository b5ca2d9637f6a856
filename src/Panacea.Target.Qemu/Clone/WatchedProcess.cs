using System.Diagnostics;
using System.Globalization;

namespace Panacea.Target.Qemu.Clone;

/// <summary>A process that is killed when this one ends, however that comes about, and of which no file is left then: a shell between the two sees its pipe close.</summary>
public sealed class WatchedProcess : IDisposable
{
    // $0: the directory. Prints the pid; at the end of standard input kills the process and removes the directory. Signals that a whole process group gets (a terminal's, a supervisor's) are for the one that watches.
    private const string Watcher = """
        trap '' INT QUIT HUP TERM
        exec 3<&0
        "$@" < /dev/null > "$0/log" 2>&1 3<&- &
        pid=$!
        exec 2> /dev/null
        echo $pid
        cat <&3 > /dev/null
        kill -9 $pid
        wait $pid
        rm -rf "$0"
        """;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Process _watcher;
    private bool _disposed;

    private WatchedProcess(Process watcher, int pid, string directory)
    {
        _watcher = watcher;
        Pid = pid;
        Directory = directory;
    }

    /// <summary>Its pid.</summary>
    public int Pid { get; }

    /// <summary>Where its files are; it goes with the process.</summary>
    public string Directory { get; }

    /// <summary>Starts it.</summary>
    /// <param name="program">The program.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="directory">A directory of its own, for its files and what it prints; removed at its end.</param>
    /// <exception cref="TargetException">It could not be started; the directory is gone.</exception>
    public static WatchedProcess Start(string program, IReadOnlyList<string> arguments, string directory)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", Watcher, directory, program, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.Environment["TMPDIR"] = directory;
        Process? watcher = null;
        try
        {
            watcher = Process.Start(start) ?? throw new TargetException("/bin/sh did not start");
            return int.TryParse(watcher.StandardOutput.ReadLine(), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                ? new WatchedProcess(watcher, pid, directory)
                : throw new TargetException($"{program} was not started");
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException)
        {
            watcher?.Dispose();
            if (System.IO.Directory.Exists(directory))
                System.IO.Directory.Delete(directory, recursive: true);
            throw e as TargetException ?? new TargetException($"{program} could not be started: {e.Message}", e);
        }
    }

    /// <summary>The end of what it has printed, for people.</summary>
    public string LogTail()
    {
        const int shown = 500;
        try
        {
            string text = File.ReadAllText(Path.Combine(Directory, "log")).Trim();
            return text[Math.Max(0, text.Length - shown)..];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>It has ended by itself.</summary>
    public bool HasEnded()
    {
        try
        {
            // It stays a zombie for as long as it is watched.
            string stat = File.ReadAllText($"/proc/{Pid}/stat");
            int close = stat.LastIndexOf(')');
            return close < 0 || close + 2 >= stat.Length || stat[close + 2] is 'Z' or 'X';
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }

    /// <summary>Kills it, and waits until it and its files are gone.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _watcher.StandardInput.Close();
        _watcher.WaitForExit(Patience);
        _watcher.Dispose();
    }
}
