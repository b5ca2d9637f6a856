using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Qmp;

public sealed class QmpSocketFinderTests
{
    [Theory]
    [InlineData("qemu -qmp unix:/run/a,server=on,wait=off", "/run/a")]
    [InlineData("qemu --qmp unix:/run/a,server,nowait", "/run/a")]
    [InlineData("qemu -qmp-pretty unix:rel/a,server=on", "rel/a")]
    [InlineData("qemu -qmp unix:/run/with,,comma,server=on", "/run/with,comma")]
    [InlineData("qemu -chardev socket,id=m,path=/run/lib,server=on -mon chardev=m,id=monitor,mode=control", "/run/lib")]
    [InlineData("qemu -mon m,mode=control -chardev socket,path=/run/b,id=m", "/run/b")]
    [InlineData("qemu -chardev socket,id=c,path=/run/c -qmp chardev:c -qmp unix:/run/d -qmp unix:/run/d", "/run/d /run/c")]
    [InlineData("qemu -chardev socket,id=m,path=/run/x -mon chardev=m,mode=readline", "")]
    [InlineData("qemu -chardev socket,id=m,fd=25,server=on -mon chardev=m,mode=control", "")]
    [InlineData("qemu -qmp tcp:127.0.0.1:4444 -qmp stdio -monitor unix:/run/hmp", "")]
    [InlineData("qemu -qmp", "")]
    [InlineData("qemu -qmp unix: -mon , -chardev socket,", "")]
    public void Sockets_are_found_in_arguments(string command, string expected) =>
        Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries), QmpSocketFinder.FromArguments(command.Split(' ')));

    [Fact]
    public void A_process_that_is_no_qemu_and_one_that_is_not_there_are_told_apart()
    {
        Assert.Equal(AttachFailure.NoQmp, Assert.Throws<AttachException>(() => QmpSocketFinder.Find(Environment.ProcessId)).Reason);
        Assert.Equal(AttachFailure.NoSuchProcess, Assert.Throws<AttachException>(() => QmpSocketFinder.Find(int.MaxValue)).Reason);
    }

    [Fact]
    public void A_relative_path_is_below_the_process_own_directory() =>
        Assert.Equal(Path.Combine(Environment.CurrentDirectory, "a/b"), QmpSocketFinder.Resolve(Environment.ProcessId, "a/b"));

    [Theory]
    [InlineData("qmp:/run/a", "/run/a", 0)]
    [InlineData("pid:123", null, 123)]
    public void Targets_are_parsed(string text, string? path, int pid)
    {
        QemuTargetSpec spec = QemuTargetSpec.Parse(text);
        Assert.Equal((path, pid, text), (spec.QmpPath, spec.Pid, spec.ToString()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("qmp:")]
    [InlineData("pid:0")]
    [InlineData("pid:-1")]
    [InlineData("pid:99999999999")]
    [InlineData("pid:1x")]
    [InlineData("/run/a")]
    public void Other_targets_are_refused(string text) =>
        Assert.Equal(AttachFailure.BadTarget, Assert.Throws<AttachException>(() => QemuTargetSpec.Parse(text)).Reason);

    [Theory]
    [InlineData("disconnected:unix:/tmp/x/gdb,server=on", "/tmp/x/gdb", false)]
    [InlineData("disconnected:unix:/tmp/x/gdb,server", "/tmp/x/gdb", false)]
    [InlineData("disconnected:unix:/tmp/panacea-gdb-1-2/gdb,server=on", "/tmp/panacea-gdb-1-2/gdb", true)]
    [InlineData("disconnected:tcp:0.0.0.0:1234,server=on", "127.0.0.1:1234", false)]
    [InlineData("disconnected:tcp:[::]:1234,server=on", "[::1]:1234", false)]
    [InlineData("disconnected:tcp:localhost:1,server=on", "127.0.0.1:1", false)]
    public void Stub_addresses_are_read(string fileName, string endPoint, bool ours)
    {
        GdbStub stub = GdbStub.FromFileName(fileName, Environment.ProcessId);
        Assert.Equal(endPoint, stub.EndPoint.ToString());
        Assert.Equal(ours, stub.SessionDirectory != null);
    }

    [Theory]
    [InlineData("unix:/tmp/x/gdb,server=on")]
    [InlineData("tcp:127.0.0.1:1234,server=on <-> 127.0.0.1:5555")]
    [InlineData("disconnected:tcp:127.0.0.1:0,server=on")]
    [InlineData("disconnected:tcp:127.0.0.1:99999,server=on")]
    [InlineData("disconnected:vsock:2:1")]
    [InlineData("pty:/dev/pts/1")]
    [InlineData("")]
    public void Stubs_that_are_in_use_or_out_of_reach_are_refused(string fileName) =>
        Assert.Equal(AttachFailure.StubUnreachable, Assert.Throws<AttachException>(() => GdbStub.FromFileName(fileName, Environment.ProcessId)).Reason);
}
