namespace Panacea.Lab.Setup;

/// <summary>A Debian package in the cache that is not installed on the host, where it might start a service or take part in shutting down: its files, and those of the packages that it needs and the host lacks.</summary>
/// <param name="Name">The package.</param>
/// <param name="Root">The directory that the files lie in, as they would below <c>/</c>.</param>
public sealed record UnpackedPackage(string Name, string Root)
{
    private static readonly string[] ProgramDirectories = ["usr/bin", "usr/sbin", "bin", "sbin"];

    /// <summary>Directories with libraries that were brought along, for <c>LD_LIBRARY_PATH</c>; other libraries are the host's.</summary>
    public string LibraryPath => string.Join(':', Directory.EnumerateFiles(Root, "*.so*", SearchOption.AllDirectories).Select(f => Path.GetDirectoryName(f)!).Distinct().Order(StringComparer.Ordinal));

    /// <summary>Path of a program in it.</summary>
    /// <exception cref="LabException">It has none of that name.</exception>
    public string Program(string name) =>
        ProgramDirectories.Select(d => Path.Combine(Root, d, name)).FirstOrDefault(File.Exists) ?? throw new LabException($"the package {Name} has no {name}");

    /// <summary>Where one of its files, or one of the host's, lies in a system that has it installed.</summary>
    public string InstalledPath(string file) => file.StartsWith(Root + "/", StringComparison.Ordinal) ? file[Root.Length..] : file;

    /// <summary>From the cache, else downloaded and unpacked. Needs no root.</summary>
    /// <param name="name">The package.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">The package source does not serve it.</exception>
    public static async Task<UnpackedPackage> GetAsync(string name, Action<string>? report = null, CancellationToken cancel = default)
    {
        using var _ = await CacheLock.TakeAsync(name, cancel);
        var package = new UnpackedPackage(name, Path.Combine(LabPaths.CacheDirectory("packages"), name));
        if (Directory.Exists(package.Root))
            return package;
        report?.Invoke($"downloading {name}");
        string work = package.Root + ".new", debs = Path.Combine(work, "debs");
        if (Directory.Exists(work))
            Directory.Delete(work, true);

        // Neither lock nor root is needed for a download.
        Directory.CreateDirectory(Path.Combine(debs, "partial"));
        string[] download =
        [
            "install", "--download-only", "--reinstall", "-y", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o", $"Dir::Cache::archives={debs}",
            "-o", $"APT::Sandbox::User={Environment.UserName}", "-o", "Acquire::Retries=3", name,
        ];
        if ((await HostCommand.RunAsync("apt-get", download, null, cancel)).ExitCode != 0)
        {
            // Package lists that are missing or old.
            await Apt.UpdateAsync(cancel);
            await HostCommand.MustAsync("apt-get", download, null, cancel);
        }

        foreach (string deb in Directory.GetFiles(debs, "*.deb"))
            await HostCommand.MustAsync("dpkg-deb", ["-x", deb, work], null, cancel);
        Directory.Delete(debs, true);

        // Only what is complete has the name.
        Directory.Move(work, package.Root);
        return package;
    }
}
