using System.Text;
using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>What a guest boots from.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Initramfs">Path of the initramfs in the cache.</param>
/// <param name="ModuleDebug">The directory with the debug information of the crash-test modules.</param>
public sealed record GuestImage(KernelInstallation Kernel, string Initramfs, string ModuleDebug);

/// <summary>Builds the initramfs of the lab's guests: busybox, redis-server and sqlite3 with their libraries, the kernel's virtio modules, the crash-test modules, our few
/// programs. The same inputs give the same bytes; the result is cached by what it was made from.</summary>
public static partial class GuestBuilder
{
    private static readonly string[] Modules =
        ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "ext4", "pvpanic_mmio", "pvpanic_pci"];

    /// <summary>Loaded where <see cref="GuestSpec.VmcoreInfo"/> asks for it.</summary>
    private const string OnDemand = "qemu_fw_cfg";

    /// <summary>The files of the kernel's own modules that the guests load, in that order, relative to <see cref="KernelInstallation.Modules"/>.</summary>
    public static IReadOnlyList<string> ModulesOf(KernelInstallation kernel) => new ModuleFiles(kernel).LoadOrder(Modules);

    /// <summary>The image of a kernel line, built where the cache has none.</summary>
    public static async Task<GuestImage> GetAsync(string line, Action<string>? report = null, CancellationToken cancel = default)
    {
        KernelInstallation kernel = await KernelPackages.GetAsync(line, false, report, cancel);
        string programs = await GuestPrograms.ProgramsAsync(cancel);
        string crashtest = await GuestPrograms.ModulesAsync(kernel, cancel);
        string busybox = HostCommand.Find("busybox") ?? throw new LabException("busybox is not installed (package busybox-static)");
        (string redis, string sqlite) = Servers();
        IReadOnlyList<string> libraries = await LibrariesAsync(cancel);

        using var hash = new ContentHash();
        hash.Add("3").Add(kernel.Release).Add(programs).Add(crashtest).AddFile(busybox).AddFile(redis).AddFile(sqlite);
        foreach (string library in libraries)
            hash.AddFile(library);
        foreach (string name in Resources.Names("guest"))
            hash.Add(name).Add(Resources.Read(name));
        string path = Path.Combine(LabPaths.CacheDirectory("initramfs"), $"{kernel.Release}-{hash.Finish()}.cpio");

        using var _ = await CacheLock.TakeAsync($"initramfs-{kernel.Release}", cancel);
        if (!File.Exists(path))
        {
            report?.Invoke($"building the guest for {kernel.Release}");
            foreach (string old in Directory.GetFiles(Path.GetDirectoryName(path)!).Where(f => File.GetLastWriteTimeUtc(f) < DateTime.UtcNow.AddDays(-2)))
                File.Delete(old);
            // Not compressed: QEMU hands it over at once, while the emulated guest would be slow to decompress it.
            using (FileStream output = File.Create(path + ".new"))
                await WriteAsync(new CpioWriter(output), kernel, programs, crashtest, busybox, [("redis-server", redis), ("sqlite3", sqlite)], libraries, cancel);
            File.Move(path + ".new", path, true);
        }

        return new GuestImage(kernel, path, GuestPrograms.DebugOf(crashtest));
    }

    private static async Task WriteAsync(
        CpioWriter cpio, KernelInstallation kernel, string programs, string crashtest, string busybox, IReadOnlyList<(string Name, string File)> servers, IReadOnlyList<string> libraries,
        CancellationToken cancel)
    {
        foreach (string directory in (string[])["bin", "dev", "etc", "proc", "sys", "tmp", "run", "modules", "root", "var/lib", "var/log"])
            cpio.AddDirectory(directory);
        // The kernel opens /dev/console before anything is mounted.
        cpio.AddCharacterDevice("dev/console", 5, 1);

        cpio.AddFile("bin/busybox", await File.ReadAllBytesAsync(busybox, cancel), true);
        string applets = await HostCommand.MustAsync(busybox, ["--list"], null, cancel);
        foreach (string applet in applets.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal))
        {
            if (applet != "busybox")
                cpio.AddLink($"bin/{applet}", "busybox");
        }

        cpio.AddLink("init", "bin/init");
        cpio.AddLink("sbin", "bin");
        foreach ((string name, string file) in servers)
            cpio.AddFile($"bin/{name}", await File.ReadAllBytesAsync(file, cancel), true);
        foreach (string library in libraries)
            cpio.AddFile(library, await File.ReadAllBytesAsync(library, cancel), true);
        foreach (string program in (string[])["agent", "counter", "recorder", "sleepers"])
            cpio.AddFile($"bin/{program}", await File.ReadAllBytesAsync(Path.Combine(programs, program), cancel), true);
        cpio.AddFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"u8);
        cpio.AddFile("etc/group", "root:x:0:\n"u8);
        foreach (string name in Resources.Names("guest"))
        {
            string file = Path.GetFileName(name);
            if (file.StartsWith("start-", StringComparison.Ordinal))
                cpio.AddFile($"bin/{file}", Resources.Read(name), true);
            else if (Path.GetExtension(file) != ".c")
                cpio.AddFile($"etc/{file}", Resources.Read(name), true);
        }

        var files = new ModuleFiles(kernel);
        foreach (string module in files.LoadOrder([OnDemand]))
            cpio.AddFile($"modules/{ModuleFiles.NameOf(module)}.ko", await files.ReadAsync(module, cancel));
        var order = new StringBuilder();
        foreach (string module in files.LoadOrder(Modules))
        {
            cpio.AddFile($"modules/{ModuleFiles.NameOf(module)}.ko", await files.ReadAsync(module, cancel));
            order.Append(ModuleFiles.NameOf(module)).Append('\n');
        }

        order.Append("crashtest\n");
        foreach (string module in Directory.GetFiles(crashtest, "*.ko").Order(StringComparer.Ordinal))
            cpio.AddFile($"modules/{Path.GetFileName(module)}", await File.ReadAllBytesAsync(module, cancel));
        cpio.AddFile("modules/order", Encoding.UTF8.GetBytes(order.ToString()));
        cpio.Finish();
    }

    /// <summary>The shared libraries that every guest has, by their paths.</summary>
    internal static async Task<IReadOnlyList<string>> LibrariesAsync(CancellationToken cancel)
    {
        (string redis, string sqlite) = Servers();
        return [.. (await LibrariesAsync(redis, cancel)).Union(await LibrariesAsync(sqlite, cancel)).Order(StringComparer.Ordinal)];
    }

    private static (string Redis, string Sqlite) Servers() =>
        (HostCommand.Find("redis-server") ?? throw new LabException("redis-server is not installed"), HostCommand.Find("sqlite3") ?? throw new LabException("sqlite3 is not installed"));

    /// <summary>The shared libraries that a program needs, and its loader, by the paths at which they are found.</summary>
    /// <param name="program">The program.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="directory">Where libraries are looked for before the host's own places, with colons between them.</param>
    /// <exception cref="LabException">One is nowhere.</exception>
    internal static async Task<IReadOnlyList<string>> LibrariesAsync(string program, CancellationToken cancel, string directory = "")
    {
        string output = await HostCommand.MustAsync("env", [$"LD_LIBRARY_PATH={directory}", "ldd", program], null, cancel);
        return output.Contains("=> not found", StringComparison.Ordinal)
            ? throw new LabException($"{program} lacks libraries: {string.Join("; ", output.Split('\n').Where(l => l.EndsWith("not found", StringComparison.Ordinal)).Select(l => l.Trim()))}")
            : [.. LibraryPath().Matches(output).Select(m => m.Value).Order(StringComparer.Ordinal)];
    }

    [GeneratedRegex(@"/\S+(?= \(0x)")]
    private static partial Regex LibraryPath();
}
