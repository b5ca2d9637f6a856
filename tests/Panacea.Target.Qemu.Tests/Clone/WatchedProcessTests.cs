using System.Diagnostics;
using Panacea.Target.Qemu.Clone;

namespace Panacea.Target.Qemu.Tests.Clone;

/// <summary>Whatever ends the one that watches, the process and its files go with it.</summary>
public sealed class WatchedProcessTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void Nothing_is_left_of_it()
    {
        string directory = NewDirectory();
        WatchedProcess process = WatchedProcess.Start("/bin/sh", ["-c", "echo started; echo $TMPDIR; exec sleep 1000"], directory);
        Assert.True(SpinWait.SpinUntil(() => process.LogTail() == $"started\n{directory}", Patience), process.LogTail());
        Assert.False(process.HasEnded());
        Assert.True(SpinWait.SpinUntil(() => File.ReadAllText($"/proc/{process.Pid}/cmdline").Contains("sleep", StringComparison.Ordinal), Patience));
        process.Dispose();
        Assert.False(Directory.Exists(directory));
        Assert.True(HasGone(process.Pid));
    }

    [Fact]
    public void What_it_said_stays_to_be_read_after_it_has_ended_by_itself()
    {
        string directory = NewDirectory();
        using WatchedProcess process = WatchedProcess.Start("/bin/sh", ["-c", "echo no such machine >&2; exit 1"], directory);
        Assert.True(SpinWait.SpinUntil(process.HasEnded, Patience));
        Assert.Equal("no such machine", process.LogTail());
        Assert.True(Directory.Exists(directory));
    }

    [Fact]
    public void A_program_that_is_not_there_says_so()
    {
        string directory = NewDirectory();
        using WatchedProcess process = WatchedProcess.Start("/nonexistent/qemu", [], directory);
        Assert.True(SpinWait.SpinUntil(process.HasEnded, Patience));
        Assert.Contains("/nonexistent/qemu", process.LogTail(), StringComparison.Ordinal);
    }

    /// <summary>A terminal or a supervisor signals whole process groups: the process may end of it, and its files go when the one that watches does.</summary>
    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    [InlineData("HUP")]
    public void A_signal_to_all_leaves_the_files_to_be_removed(string signal)
    {
        string directory = NewDirectory();
        WatchedProcess process = WatchedProcess.Start("/bin/sh", ["-c", $"trap 'exit 3' {signal}; exec sleep 1000"], directory);
        int watcher = Parent(process.Pid);
        using (Process? kill = Process.Start("/bin/kill", ["-s", signal, $"{watcher}", $"{process.Pid}"]))
            kill!.WaitForExit();
        process.Dispose();
        Assert.False(Directory.Exists(directory));
        Assert.True(HasGone(process.Pid) && HasGone(watcher));
    }

    private static string NewDirectory() => Directory.CreateTempSubdirectory("panacea-watched-").FullName;

    private static int Parent(int pid) => int.Parse(File.ReadLines($"/proc/{pid}/status").First(l => l.StartsWith("PPid:", StringComparison.Ordinal))[5..], System.Globalization.CultureInfo.InvariantCulture);

    private static bool HasGone(int pid) => SpinWait.SpinUntil(() => !Directory.Exists($"/proc/{pid}"), Patience);
}
