using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>A QEMU of the test's own, ended with the test. A second QMP monitor on its standard streams plays the operator.</summary>
internal sealed class TestVm : IDisposable
{
    /// <summary>Among the arguments: boot by QEMU's own BIOS from a disk.</summary>
    public const string Bios = "bios";

    private readonly string _directory;
    private readonly Process _qemu;
    private readonly ConcurrentQueue<string> _said = new();

    public TestVm(byte[] sector, string accel = "tcg", int vcpus = 1, params string[] more)
    {
        _directory = Directory.CreateTempSubdirectory("pnc-vm-").FullName;
        string firmware = Path.Combine(_directory, "firmware"), disk = Path.Combine(_directory, "disk");
        File.WriteAllBytes(firmware, TinyGuest.Firmware(sector));
        File.WriteAllBytes(disk, sector);
        QmpPath = Path.Combine(_directory, "qmp");
        var start = new ProcessStartInfo("qemu-system-x86_64")
        {
            RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true, WorkingDirectory = _directory,
        };
        string[] arguments =
        [
            "-accel", accel, "-cpu", "qemu64", "-smp", vcpus.ToString(CultureInfo.InvariantCulture), "-nodefaults", "-display", "none", "-no-user-config",
            .. more.Contains(Bios) ? ["-drive", $"file={disk},format=raw,if=ide"] : (string[])["-bios", firmware], "-qmp", $"unix:{QmpPath},server=on,wait=off",
            "-chardev", "stdio,id=operator", "-mon", "chardev=operator,mode=control", .. more.Contains("-m") ? [] : (string[])["-m", "64"],
            .. more.Where(m => m != Bios),
        ];
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument.Replace("$DIR", _directory, StringComparison.Ordinal));
        _qemu = Process.Start(start) ?? throw new InvalidOperationException("QEMU does not start");
        _qemu.ErrorDataReceived += (_, e) => _said.Enqueue(e.Data ?? "");
        _qemu.BeginErrorReadLine();
        try
        {
            // The greeting: everything listens by now.
            NextLine();
            Operator("qmp_capabilities");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string QmpPath { get; }

    public string Folder => _directory;

    public int Pid => _qemu.Id;

    public QemuTargetSpec Spec => new(QmpPath, 0);

    /// <summary>Attaches and runs the guest until one of its vCPUs stands at <paramref name="point"/>.</summary>
    public QemuTarget AttachAndReach(ulong point, out QemuStoppedGuest guest, QemuAttachOptions? options = null)
    {
        QemuTarget target = QemuTarget.Attach(Spec, options);
        try
        {
            guest = target.ArmBreakpoints(point) ?? Hit(target);
            return target;
        }
        catch
        {
            target.Dispose();
            throw;
        }
    }

    /// <summary>Waits for the next stop at a breakpoint, passing over events.</summary>
    public static QemuStoppedGuest Hit(QemuTarget target)
    {
        var patience = Stopwatch.StartNew();
        while (patience.Elapsed < TimeSpan.FromSeconds(30))
        {
            QemuWait wait = target.WaitForStop(TimeSpan.FromSeconds(30));
            if (wait.Kind == QemuWaitKind.Stopped)
            {
                Assert.Equal(StopReason.Breakpoint, wait.Guest!.Reason);
                return wait.Guest;
            }

            Assert.Equal(QemuWaitKind.Woken, wait.Kind);
            while (target.TryTakeEvent(out _))
            {
            }
        }

        throw new TimeoutException("the guest did not reach its breakpoint");
    }

    /// <summary>Executes a QMP command on the operator's monitor and returns its answer as text, past any events.</summary>
    public string Operator(string command)
    {
        _qemu.StandardInput.WriteLine($"{{\"execute\":\"{command}\"}}");
        _qemu.StandardInput.Flush();
        while (true)
        {
            string line = NextLine();
            if (!line.Contains("\"event\":", StringComparison.Ordinal))
                return line;
        }
    }

    /// <summary>Reads the operator's monitor until an event of this name.</summary>
    public void AwaitEvent(string name)
    {
        while (!NextLine().Contains($"\"event\": \"{name}\"", StringComparison.Ordinal))
        {
        }
    }

    public void Kill()
    {
        if (!_qemu.HasExited)
            _qemu.Kill();
        _qemu.WaitForExit();
    }

    public void Dispose()
    {
        Kill();
        _qemu.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private string NextLine() => _qemu.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"QEMU does not run: {string.Join(' ', _said)}");
}
