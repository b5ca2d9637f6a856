using System.Text;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>Builds what a guest with a crash kernel boots from: the lab's initramfs, followed by an archive with kexec, the guest's own kernel once more, and a small initramfs for that, whose
/// init stores /proc/vmcore. The kernel unpacks archives that stand behind each other (Documentation/driver-api/early-userspace/buffer-format.rst).</summary>
internal static class CrashKernelBuilder
{
    private const int Alignment = 512;
    private static readonly string[] Modules = ["virtio_pci", "virtio_blk"];

    /// <summary>The image, built where the cache has none.</summary>
    /// <param name="image">What the guest boots from without a crash kernel.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<GuestImage> GetAsync(GuestImage image, Action<string>? report, CancellationToken cancel)
    {
        // Not installed on the host, where it would take part in shutting down.
        UnpackedPackage kexec = await UnpackedPackage.GetAsync("kexec-tools", report, cancel);
        string program = kexec.Program("kexec");
        string busybox = HostCommand.Find("busybox") ?? throw new LabException("busybox is not installed (package busybox-static)");
        IReadOnlyList<string> libraries = await GuestBuilder.LibrariesAsync(program, cancel, kexec.LibraryPath);
        using var hash = new ContentHash();
        hash.Add("2").Add(Path.GetFileName(image.Initramfs)).AddFile(program).AddFile(busybox);
        foreach (string library in libraries)
            hash.AddFile(library);
        foreach (string name in Resources.Names("kdump"))
            hash.Add(name).Add(Resources.Read(name));
        string path = Path.Combine(LabPaths.CacheDirectory("initramfs"), $"{image.Kernel.Release}-kdump-{hash.Finish()}.cpio");

        using var _ = await CacheLock.TakeAsync($"initramfs-{image.Kernel.Release}", cancel);
        if (!File.Exists(path))
        {
            report?.Invoke($"building the crash kernel of {image.Kernel.Release}");
            byte[] inner = await InnerAsync(image.Kernel, busybox, cancel);
            using (FileStream output = File.Create(path + ".new"))
            {
                await using (FileStream first = File.OpenRead(image.Initramfs))
                    await first.CopyToAsync(output, cancel);
                output.Position = (output.Length + Alignment - 1) / Alignment * Alignment;
                await WriteAsync(new CpioWriter(output), image.Kernel, kexec, libraries, inner, cancel);
            }

            File.Move(path + ".new", path, true);
        }

        return image with { Initramfs = path };
    }

    private static async Task WriteAsync(CpioWriter cpio, KernelInstallation kernel, UnpackedPackage kexec, IReadOnlyList<string> libraries, byte[] inner, CancellationToken cancel)
    {
        cpio.AddFile("bin/kexec", await File.ReadAllBytesAsync(kexec.Program("kexec"), cancel), true);
        foreach (string library in libraries)
            cpio.AddFile(kexec.InstalledPath(library), await File.ReadAllBytesAsync(library, cancel), true);
        cpio.AddFile("bin/start-kdump", Resources.Read("kdump/start-kdump"), true);
        cpio.AddFile("kdump/vmlinuz", await File.ReadAllBytesAsync(kernel.Image, cancel));
        cpio.AddFile("kdump/initramfs", inner);
        cpio.Finish();
    }

    private static async Task<byte[]> InnerAsync(KernelInstallation kernel, string busybox, CancellationToken cancel)
    {
        using var output = new MemoryStream();
        var cpio = new CpioWriter(output);
        foreach (string directory in (string[])["bin", "dev", "proc", "sys", "modules"])
            cpio.AddDirectory(directory);
        cpio.AddCharacterDevice("dev/console", 5, 1);
        cpio.AddFile("bin/busybox", await File.ReadAllBytesAsync(busybox, cancel), true);
        foreach (string applet in (string[])["sh", "mount", "insmod", "dd", "stat", "poweroff"])
            cpio.AddLink($"bin/{applet}", "busybox");
        cpio.AddFile("init", Resources.Read("kdump/init"), true);
        var files = new ModuleFiles(kernel);
        var order = new StringBuilder();
        foreach (string module in files.LoadOrder(Modules))
        {
            cpio.AddFile($"modules/{ModuleFiles.NameOf(module)}.ko", await files.ReadAsync(module, cancel));
            order.Append(ModuleFiles.NameOf(module)).Append('\n');
        }

        cpio.AddFile("modules/order", Encoding.UTF8.GetBytes(order.ToString()));
        cpio.Finish();
        return output.ToArray();
    }
}
