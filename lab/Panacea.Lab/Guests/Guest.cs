using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>A running guest of the lab. Disposing it kills its QEMU (by its pid) and deletes its run directory.</summary>
public sealed partial class Guest : IAsyncDisposable
{
    private const string FirstWords = "Linux version ", UserSpace = "panacea-lab: user space", Ready = "panacea-lab: ready";

    /// <summary>The disk behind the guest's own that a crash kernel writes to.</summary>
    internal const string VmcoreName = "vmcore";

    private static readonly string[] EarlyDeaths = ["Kernel panic - not syncing", "---[ end trace"];
    private static int _earlyDeaths;

    private readonly QemuProcess _qemu;
    private readonly Dictionary<int, int> _ports = [];

    private Guest(GuestSpec spec, GuestImage image, GuestAccelerator accelerator, string directory, QemuProcess qemu, QmpSocket monitor)
    {
        Spec = spec;
        Image = image;
        Accelerator = accelerator;
        RunDirectory = directory;
        _qemu = qemu;
        Monitor = monitor;
        Console = new GuestConsole(Path.Combine(directory, "console.log"));
        Control = new GuestControl(0);
    }

    /// <summary>How many boots of this process's guests died before user space and were repeated.</summary>
    public static int EarlyDeathCount => _earlyDeaths;

    /// <summary>What was asked for.</summary>
    public GuestSpec Spec { get; }

    /// <summary>What it booted from.</summary>
    public GuestImage Image { get; }

    /// <summary>What runs it: never <see cref="GuestAccelerator.Probe"/>.</summary>
    public GuestAccelerator Accelerator { get; }

    /// <summary>Console log, sockets and disk of this run.</summary>
    public string RunDirectory { get; }

    /// <summary>QEMU's pid.</summary>
    public int Pid => _qemu.Pid;

    /// <summary>True until QEMU has ended.</summary>
    public bool IsRunning => !_qemu.Ended.IsCompleted;

    /// <summary>The monitor socket that is free for whatever is tested.</summary>
    public string QmpPath => Path.Combine(RunDirectory, "qmp.sock");

    /// <summary>The lab's own monitor connection.</summary>
    public QmpSocket Monitor { get; }

    /// <summary>The serial console.</summary>
    public GuestConsole Console { get; }

    /// <summary>Runs commands in the guest.</summary>
    public GuestControl Control { get; private set; }

    /// <summary>Port on 127.0.0.1 that leads to the guest's redis.</summary>
    public int RedisPort => PortOf("redis");

    /// <summary>Port on 127.0.0.1 that leads to a service of the guest.</summary>
    /// <param name="service">One that was to be started with it and that serves a port; redis always has one.</param>
    /// <exception cref="LabException">It has none.</exception>
    public int PortOf(string service) =>
        GuestService.Of(service).Port is > 0 and int port && _ports.TryGetValue(port, out int host) ? host : throw new LabException($"no port of the host leads to {service} in this guest");

    /// <summary>The ext4 image behind /data, or null.</summary>
    public string? DiskPath => Spec.DiskMiB > 0 ? Path.Combine(RunDirectory, "disk.img") : null;

    /// <summary>The file behind its RAM, where that is <see cref="GuestMemoryBacking.SharedFile"/>.</summary>
    public string? MemoryFile => Spec.Memory == GuestMemoryBacking.SharedFile ? Path.Combine(RunDirectory, "ram") : null;

    /// <summary>Boots until this guest was ready: 1, or more where earlier ones died before user space.</summary>
    public int BootAttempts { get; private set; } = 1;

    /// <summary>Builds what is missing, starts a guest and waits until it is ready; one that dies before user space is started again.</summary>
    /// <exception cref="LabException">It does not boot; the message has the console's last lines.</exception>
    public static async Task<Guest> StartAsync(GuestSpec spec, Action<string>? report = null, CancellationToken cancel = default)
    {
        GuestImage image = await PackagedPrograms.AddAsync(await GuestBuilder.GetAsync(spec.Line, report, cancel), spec.Start, report, cancel);
        if (spec.CrashKernelMiB > 0)
            image = await CrashKernelBuilder.GetAsync(image, report, cancel);
        GuestAccelerator accelerator = spec.Accelerator == GuestAccelerator.Probe ? await AcceleratorProbe.ChooseAsync(image, cancel) : spec.Accelerator;
        for (int attempt = 1; ; attempt++)
        {
            report?.Invoke($"booting {image.Kernel.Release} under {(accelerator == GuestAccelerator.Kvm ? "KVM" : "emulation")}");
            Guest guest = await LaunchAsync(spec, image, accelerator, cancel);
            guest.BootAttempts = attempt;
            try
            {
                await guest.WaitUntilReadyAsync(spec.BootTimeout, cancel);
                return guest;
            }
            catch (Exception e) when (e is LabException or TimeoutException)
            {
                string tail = guest.Console.Tail(25);
                bool early = !guest.Console.TextFrom().Contains(UserSpace, StringComparison.Ordinal);
                await guest.DisposeAsync();
                if (!early || attempt > spec.BootRetries)
                    throw new LabException($"{image.Kernel.Release} did not boot ({e.Message})\n{tail}", e);
                Interlocked.Increment(ref _earlyDeaths);
            }
            catch
            {
                await guest.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>Starts QEMU without waiting for the guest in it.</summary>
    internal static Task<Guest> LaunchAsync(GuestSpec spec, GuestImage image, GuestAccelerator accelerator, CancellationToken cancel) => LaunchAsync(spec, image, accelerator, null, cancel);

    /// <summary>Starts QEMU with nothing in it yet that runs, where there is a snapshot, else without waiting for the guest in it.</summary>
    internal static async Task<Guest> LaunchAsync(GuestSpec spec, GuestImage image, GuestAccelerator accelerator, GuestSnapshot? snapshot, CancellationToken cancel)
    {
        string directory = LabPaths.NewRunDirectory();
        if (spec.DiskMiB > 0 && snapshot is not null)
            await GuestSnapshot.CopyAsync(snapshot.Disk, Path.Combine(directory, "disk.img"), cancel);
        else if (spec.DiskMiB > 0)
            await DiskImage.CreateAsync(Path.Combine(directory, "disk.img"), spec.DiskMiB, cancel);
        if (spec.CrashKernelMiB > 0)
        {
            // Room for all of the memory and for headers.
            using FileStream disk = File.Create(Path.Combine(directory, VmcoreName));
            disk.SetLength((spec.MemoryMiB + 1L) << 20);
        }

        if (spec.Memory == GuestMemoryBacking.SharedFile && snapshot is not null)
            await GuestSnapshot.CopyAsync(snapshot.Memory, Path.Combine(directory, "ram"), cancel);
        QemuProcess qemu = await QemuProcess.StartAsync(QemuArguments.For(spec, image, accelerator, directory, snapshot?.Memory), directory, cancel);
        try
        {
            QmpSocket monitor = await qemu.ConnectAsync(Path.Combine(directory, "lab.sock"), cancel);
            var guest = new Guest(spec, image, accelerator, directory, qemu, monitor);
            await guest.FindPortsAsync(cancel);
            return guest;
        }
        catch
        {
            await qemu.DisposeAsync();
            Directory.Delete(directory, true);
            throw;
        }
    }

    /// <summary>Waits until the guest's init has set everything up and its agent answers. Takes a mark so that it can wait for a reboot too.</summary>
    /// <exception cref="LabException">The guest died before user space, or QEMU ended.</exception>
    /// <exception cref="TimeoutException">It was not ready in time.</exception>
    public async Task WaitUntilReadyAsync(TimeSpan timeout, CancellationToken cancel = default, long consoleMark = 0)
    {
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        Task<string> said = Console.WaitForAsync([UserSpace, .. EarlyDeaths], timeout, consoleMark, cancel);
        if (await Task.WhenAny(said, _qemu.Ended) != said)
            throw new LabException($"QEMU ended: {_qemu.LogTail()}");
        if (await said != UserSpace)
            throw new LabException($"the guest died before user space: {await said}");
        await Console.WaitForAsync(Ready, Left(), consoleMark, cancel);
        while (true)
        {
            try
            {
                TimeSpan left = Left();
                await Control.RunAsync("true", left < TimeSpan.FromSeconds(5) ? left : TimeSpan.FromSeconds(5), cancel);
                return;
            }
            catch (Exception e) when (e is IOException or TimeoutException)
            {
                if (Left() <= TimeSpan.FromMilliseconds(100))
                    throw new TimeoutException("the guest's agent did not answer", e);
                await Task.Delay(50, cancel);
            }
        }

        TimeSpan Left() => TimeSpan.FromMilliseconds(Math.Max(1, deadline - Environment.TickCount64));
    }

    /// <summary>Waits until the guest has booted again and is ready.</summary>
    /// <param name="consoleMark">The console's mark from before what makes it reboot.</param>
    /// <param name="timeout">For all of it.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TimeoutException">It was not ready in time.</exception>
    /// <exception cref="LabException">It died again before user space, or QEMU ended.</exception>
    public async Task WaitUntilRebootedAsync(long consoleMark, TimeSpan timeout, CancellationToken cancel = default)
    {
        await Console.WaitForAsync(FirstWords, timeout, consoleMark, cancel);
        string before = Console.TextFrom(consoleMark);
        before = before[..before.IndexOf(FirstWords, StringComparison.Ordinal)];
        await WaitUntilReadyAsync(timeout, cancel, consoleMark + Encoding.UTF8.GetByteCount(before));
    }

    /// <summary>Waits until the crash kernel has stored the memory of the kernel that died, and QEMU has ended.</summary>
    /// <param name="consoleMark">The console's mark from before the crash.</param>
    /// <param name="timeout">For all of it.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>Path of the copy of /proc/vmcore, in the run directory.</returns>
    /// <exception cref="LabException">The crash kernel failed.</exception>
    /// <exception cref="TimeoutException">It was not done in time.</exception>
    public async Task<string> WaitForVmcoreAsync(long consoleMark, TimeSpan timeout, CancellationToken cancel = default)
    {
        const string stored = "panacea-lab: vmcore of ";
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        string said = await Console.WaitForAsync([stored, "panacea-lab: no vmcore", UserSpace], timeout, consoleMark, cancel);
        if (said != stored)
            throw new LabException($"the crash kernel stored nothing ({said})\n{Console.Tail(25)}");
        await _qemu.Ended.WaitAsync(TimeSpan.FromMilliseconds(Math.Max(1, deadline - Environment.TickCount64)), cancel);
        Match bytes = StoredBytes().Match(Console.TextFrom(consoleMark));
        string path = Path.Combine(RunDirectory, VmcoreName);
        using FileStream disk = File.OpenWrite(path);
        disk.SetLength(long.Parse(bytes.Groups[1].Value, CultureInfo.InvariantCulture));
        return path;
    }

    /// <summary>Runs a shell command in the guest; see <see cref="GuestControl.RunAsync"/>.</summary>
    public Task<GuestCommandResult> RunAsync(string command, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        Control.RunAsync(command, timeout, cancel);

    /// <summary>Powers the guest off as an administrator would, waits for QEMU to end, and checks the disk.</summary>
    /// <returns>What e2fsck found, or null where there is no disk.</returns>
    /// <exception cref="TimeoutException">It did not power off in time.</exception>
    public async Task<FsckResult?> ShutDownAsync(TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        await Control.RunAsync("poweroff", TimeSpan.FromSeconds(15), cancel);
        await _qemu.Ended.WaitAsync(timeout ?? TimeSpan.FromSeconds(60), cancel);
        return DiskPath is null ? null : await DiskImage.CheckAsync(DiskPath, cancel);
    }

    /// <summary>Completes when QEMU has ended.</summary>
    public Task Ended => _qemu.Ended;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Monitor.DisposeAsync();
        await _qemu.DisposeAsync();
        if (!Spec.KeepRunDirectory && Directory.Exists(RunDirectory))
            Directory.Delete(RunDirectory, true);
    }

    /// <summary>QEMU picked the host's ports itself (port 0), so that no two guests race for one.</summary>
    private async Task FindPortsAsync(CancellationToken cancel)
    {
        string text = await Monitor.HumanAsync("info usernet", cancel);
        foreach (Match match in Forward().Matches(text))
            _ports[int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture)] = int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
        if (QemuArguments.PortsOf(Spec).Any(port => !_ports.ContainsKey(port)))
            throw new LabException($"QEMU does not tell its forwarded ports: {text}");
        Control = new GuestControl(_ports[QemuArguments.AgentPort]);
    }

    [GeneratedRegex(@"panacea-lab: vmcore of (\d+) bytes")]
    private static partial Regex StoredBytes();

    // "  TCP[HOST_FORWARD]  11       127.0.0.1 37649       10.0.2.15  6379     0     0"
    [GeneratedRegex(@"TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)")]
    private static partial Regex Forward();
}
