using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Panacea.Cli.Output;
using Panacea.Cli.Services;

namespace Panacea.Cli.Tests;

/// <summary>Bad input against the real parts: each gets one clear sentence, its exit code, and changes nothing.</summary>
public sealed class BadTargetTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("panacea-bad-");
    private readonly List<Process> _processes = [];

    public void Dispose()
    {
        foreach (Process process in _processes)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        _directory.Delete(recursive: true);
    }

    private static Outcome Run(params string[] args)
    {
        var output = new StringWriter { NewLine = "\n" };
        var error = new StringWriter { NewLine = "\n" };
        int code = CliApplication.Run(args, new CliConsole(output, error, colourOut: false, colourError: false), CliServices.Real());
        return new Outcome(code, output.ToString(), error.ToString());
    }

    private static void AssertOneSentence(Outcome outcome, int code, string says)
    {
        Assert.Equal(code, outcome.ExitCode);
        Assert.StartsWith("panacea: ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
        Assert.Equal(1, outcome.Error.Count(c => c == '\n'));
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
    }

    public static TheoryData<string> TargetCommands => ["guard TARGET", "image build TARGET -o FILE", "image show TARGET", "inspect TARGET ps", "inspect TARGET bt"];

    private Outcome RunOn(string command, string target) =>
        Run([.. command.Split(' ').Select(word => word switch { "TARGET" => target, "FILE" => Path.Combine(_directory.FullName, "x.rimg"), _ => word })]);

    [Theory]
    [MemberData(nameof(TargetCommands))]
    public void No_such_socket(string command)
    {
        AssertOneSentence(RunOn(command, $"qmp:{_directory.FullName}/none.sock"), ExitCodes.Target, "there is no QMP socket");
        Assert.Empty(_directory.GetFiles());
    }

    [Theory]
    [MemberData(nameof(TargetCommands))]
    public void No_such_process(string command) => AssertOneSentence(RunOn(command, $"pid:{int.MaxValue}"), ExitCodes.Target, "there is no process");

    [Fact]
    public void A_socket_that_nobody_serves()
    {
        string path = Path.Combine(_directory.FullName, "dead.sock");
        using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            socket.Bind(new UnixDomainSocketEndPoint(path));

            // The name outlives the socket, as it does when QEMU is killed.
            File.Move(path, path + ".kept");
        }

        AssertOneSentence(Run("inspect", $"qmp:{path}.kept", "ps"), ExitCodes.Target, "nobody serves");
    }

    [Fact]
    public void A_file_that_is_no_socket()
    {
        string path = Path.Combine(_directory.FullName, "file");
        File.WriteAllText(path, "");
        AssertOneSentence(Run("inspect", $"qmp:{path}", "ps"), ExitCodes.Target, "no socket");
    }

    [Fact]
    public void A_process_that_is_no_qemu() =>
        AssertOneSentence(Run("inspect", $"pid:{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}", "ps"), ExitCodes.Target, "QMP");

    [Fact]
    public void A_socket_that_speaks_something_else()
    {
        string path = Path.Combine(_directory.FullName, "other.sock");
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        var server = new Thread(() =>
        {
            using Socket client = listener.Accept();
            client.Send("SSH-2.0-OpenSSH_9.2\r\n"u8);
        });
        server.Start();
        AssertOneSentence(Run("inspect", $"qmp:{path}", "ps"), ExitCodes.Target, "not a QMP socket");
        server.Join();
    }

    [Theory]
    [InlineData("")]
    [InlineData("PANACEA")]
    [InlineData("this is not a repair image, whatever its name says, and it is long enough to have a header")]
    public void A_file_that_is_no_repair_image(string content)
    {
        string path = Path.Combine(_directory.FullName, "foreign.rimg");
        File.WriteAllText(path, content);
        AssertOneSentence(Run("image", "show", path), ExitCodes.Image, "not a repair image");
    }

    /// <summary>Much of a file that libvirt or VMware made is text, and yet it is no log.</summary>
    [Theory]
    [InlineData("LibvirtQemudSave", "virsh dump --memory-only")]
    [InlineData("QEVM", "virsh dump --memory-only")]
    [InlineData("# Disk DescriptorFile", "a VMDK disk image")]
    public void A_file_that_is_no_dump(string mark, string says)
    {
        string path = Path.Combine(_directory.FullName, "saved");
        File.WriteAllText(path, mark + string.Concat(Enumerable.Repeat("<domain type='kvm'><name>guest</name></domain>\n", 100_000)));
        foreach (string[] command in (string[][])[["diagnose", path], ["check", path], ["inspect", path, "ps"]])
            AssertOneSentence(Run(command), ExitCodes.Target, says);
    }

    [Fact]
    public void A_qemu_without_qmp()
    {
        Process qemu = StartQemu();
        AssertOneSentence(RunOn("guard TARGET", $"pid:{qemu.Id.ToString(CultureInfo.InvariantCulture)}"), ExitCodes.Target, "no QMP socket");
        Assert.False(qemu.HasExited);
    }

    [Theory]
    [MemberData(nameof(TargetCommands))]
    public void A_guest_that_is_still_in_its_firmware(string command)
    {
        string path = Path.Combine(_directory.FullName, "qmp.sock");
        Process qemu = StartQemu("-qmp", $"unix:{path},server=on,wait=off");
        for (int i = 0; i < 1000 && !IsServed(path); i++)
            qemu.WaitForExit(10);
        AssertOneSentence(RunOn(command, $"qmp:{path}"), ExitCodes.Target, "firmware");
        Assert.False(qemu.HasExited);
        Assert.False(File.Exists(Path.Combine(_directory.FullName, "x.rimg")));
    }

    /// <summary>The socket's file is there a moment before anybody listens.</summary>
    private static bool IsServed(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private Process StartQemu(params string[] arguments)
    {
        const string Qemu = "/usr/bin/qemu-system-x86_64";
        Assert.SkipUnless(File.Exists(Qemu), "qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)");
        Process process = Process.Start(new ProcessStartInfo(Qemu, ["-nodefaults", "-no-user-config", "-display", "none", "-m", "32", "-accel", "tcg", .. arguments]))!;
        _processes.Add(process);
        return process;
    }
}
