using System.Diagnostics;
using System.Globalization;

namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>A QEMU of the test's own, ended by pid when the test ends. It detaches only when its sockets listen, so nothing is waited for.</summary>
internal sealed class TestVm : IDisposable
{
    /// <summary>Among the arguments: boot by QEMU's own BIOS from a disk.</summary>
    public const string Bios = "bios";

    private readonly string _directory;
    private readonly Process _qemu;

    public TestVm(byte[] sector, string accel = "tcg", int vcpus = 1, params string[] more)
    {
        _directory = Directory.CreateTempSubdirectory("pnc-vm-").FullName;
        string firmware = Path.Combine(_directory, "firmware"), disk = Path.Combine(_directory, "disk"), pidFile = Path.Combine(_directory, "pid");
        File.WriteAllBytes(firmware, TinyGuest.Firmware(sector));
        File.WriteAllBytes(disk, sector);
        QmpPath = Path.Combine(_directory, "qmp");
        var start = new ProcessStartInfo("qemu-system-x86_64") { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = _directory };
        string[] arguments =
        [
            "-accel", accel, "-cpu", "qemu64", "-smp", vcpus.ToString(CultureInfo.InvariantCulture), "-nodefaults", "-display", "none", "-no-user-config",
            .. more.Contains(Bios) ? ["-drive", $"file={disk},format=raw,if=ide"] : (string[])["-bios", firmware], "-qmp", $"unix:{QmpPath},server=on,wait=off", "-daemonize", "-pidfile", pidFile,
            .. more.Contains("-m") ? [] : (string[])["-m", "64"], .. more.Where(m => m != Bios),
        ];
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument.Replace("$DIR", _directory, StringComparison.Ordinal));
        using Process parent = Process.Start(start) ?? throw new InvalidOperationException("QEMU does not start");
        string said = parent.StandardError.ReadToEnd();
        parent.WaitForExit();
        if (parent.ExitCode != 0)
        {
            Directory.Delete(_directory, recursive: true);
            throw new InvalidOperationException($"QEMU does not start: {said}");
        }

        _qemu = Process.GetProcessById(int.Parse(File.ReadAllText(pidFile).Trim(), CultureInfo.InvariantCulture));
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
}
