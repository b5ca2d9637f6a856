using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>Builds what a guest with services of its own boots from: the lab's initramfs, followed by an archive with the programs of Debian's packages and the libraries that the first has not. Guests that
/// start no such service boot from the first alone, which stays as small as it is.</summary>
internal static class PackagedPrograms
{
    private const int Alignment = 512;

    /// <summary>The image, built where the cache has none.</summary>
    /// <param name="image">What the guest boots from without them.</param>
    /// <param name="services">What it starts; those whose programs every guest has add nothing.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">A package can't be had, or there is no such service.</exception>
    public static async Task<GuestImage> AddAsync(GuestImage image, IEnumerable<string> services, Action<string>? report, CancellationToken cancel)
    {
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var names = new List<string>();
        foreach (GuestService service in services.Select(GuestService.Of).Where(s => s.Package is not null).OrderBy(s => s.Name, StringComparer.Ordinal))
        {
            UnpackedPackage package = await UnpackedPackage.GetAsync(service.Package!, report, cancel);
            string program = package.Program(service.Program!);
            names.Add(service.Name);
            files[$"/bin/{service.Program}"] = program;
            foreach (string library in await GuestBuilder.LibrariesAsync(program, cancel, package.LibraryPath))
                files[package.InstalledPath(library)] = library;
        }

        if (names.Count == 0)
            return image;
        foreach (string library in await GuestBuilder.LibrariesAsync(cancel))
            files.Remove(library);
        using var hash = new ContentHash();
        hash.Add("1").Add(Path.GetFileName(image.Initramfs));
        foreach ((string path, string file) in files)
            hash.Add(path).AddFile(file);
        string built = Path.Combine(LabPaths.CacheDirectory("initramfs"), $"{image.Kernel.Release}-{string.Join('-', names)}-{hash.Finish()}.cpio");

        using var _ = await CacheLock.TakeAsync($"initramfs-{image.Kernel.Release}", cancel);
        if (!File.Exists(built))
        {
            report?.Invoke($"building the guest with {string.Join(", ", names)} for {image.Kernel.Release}");
            using (FileStream output = File.Create(built + ".new"))
            {
                await using (FileStream first = File.OpenRead(image.Initramfs))
                    await first.CopyToAsync(output, cancel);
                output.Position = (output.Length + Alignment - 1) / Alignment * Alignment;
                var cpio = new CpioWriter(output);
                foreach ((string path, string file) in files)
                    cpio.AddFile(path, await File.ReadAllBytesAsync(file, cancel), true);
                cpio.Finish();
            }

            File.Move(built + ".new", built, true);
        }

        return image with { Initramfs = built };
    }
}
