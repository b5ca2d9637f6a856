namespace Panacea.Target.Qemu.Tests;

/// <summary>Processor time of a thread, from /proc/PID/task/TID/stat.</summary>
public sealed class VcpuThreadsTests
{
    private const string Numbers = "S 1 2 3 0 -1 4194560 11 0 0 0 250 75 0 0 20 0 3 0 99";

    [Theory]
    [InlineData("4242 (CPU 0/TCG) " + Numbers)]
    [InlineData("4242 (a) b (c)) " + Numbers)]
    public void User_and_system_time_are_added(string stat) => Assert.Equal(TimeSpan.FromSeconds(3.25), VcpuThreads.Parse(stat));

    [Theory]
    [InlineData("")]
    [InlineData("4242 (name")]
    [InlineData("4242 (name) S 1 2 3")]
    [InlineData("4242 (name) S 1 2 3 0 -1 4194560 11 0 0 0 x 75 0 0")]
    [InlineData("4242 (name) S 1 2 3 0 -1 4194560 11 0 0 0 250 -75 0 0")]
    [InlineData("4242 (name) S 1 2 3 0 -1 4194560 11 0 0 0 18446744073709551615 1 0 0")]
    public void What_is_no_such_line_is_not_told(string stat) => Assert.Null(VcpuThreads.Parse(stat));

    [Fact]
    public void This_thread_has_used_some()
    {
        Assert.NotNull(VcpuThreads.Parse(File.ReadAllText("/proc/self/stat")));
    }
}
