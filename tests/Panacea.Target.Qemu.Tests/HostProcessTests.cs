namespace Panacea.Target.Qemu.Tests;

public sealed class HostProcessTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("panacea-test-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData("7 (qemu) S 1 7", null, false)]
    [InlineData("7 (a) T (b) R 1 7", null, false)]
    [InlineData("7 (qemu) T 1 7", null, true)]
    [InlineData("7 (qemu) t 1 7", null, true)]
    [InlineData("7 (qemu) D 1 7", null, true)]
    [InlineData("7 (qemu", null, true)]
    [InlineData("7 (qemu)", null, true)]
    [InlineData(null, null, true)]
    [InlineData("7 (qemu) S 1 7", "populated 1\nfrozen 0\n", false)]
    [InlineData("7 (qemu) S 1 7", "populated 1\nfrozen 1\n", true)]
    public void What_the_host_does_not_let_run_is_suspended(string? stat, string? events, bool isSuspended)
    {
        Directory.CreateDirectory(Path.Combine(_root, "proc", "7"));
        Directory.CreateDirectory(Path.Combine(_root, "cgroup", "vm.slice", "one"));
        if (stat is not null)
            File.WriteAllText(Path.Combine(_root, "proc", "7", "stat"), stat);
        File.WriteAllText(Path.Combine(_root, "proc", "7", "cgroup"), "1:name=systemd:/other\n0::/vm.slice/one\n");
        if (events is not null)
            File.WriteAllText(Path.Combine(_root, "cgroup", "vm.slice", "one", "cgroup.events"), events);
        Assert.Equal(isSuspended, new HostProcess(7, Path.Combine(_root, "proc"), Path.Combine(_root, "cgroup")).IsSuspended());
    }

    [Fact]
    public void Who_asks_runs() => Assert.False(new HostProcess(Environment.ProcessId).IsSuspended());
}
