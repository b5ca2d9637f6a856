using System.Formats.Tar;
using System.Text.RegularExpressions;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Setup;

/// <summary>The debug files of a kernel in the cache: made by the same build as the kernel itself.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Root">The directory that the package's files lie in, as they would below <c>/</c>.</param>
public sealed record DebugInstallation(KernelInstallation Kernel, string Root)
{
    /// <summary>What corresponds to <c>/usr/lib/debug</c>: <c>boot/</c> and <c>lib/modules/</c> are below it.</summary>
    public string Directory => Path.Combine(Root, "usr", "lib", "debug");

    /// <summary>The ELF kernel with symbols, DWARF and <c>.debug_frame</c>.</summary>
    public string Vmlinux => Path.Combine(Directory, "boot", $"vmlinux-{Kernel.Release}");

    /// <summary>The debug files of modules, <c>kernel/…/NAME.ko</c> below it.</summary>
    public string Modules => Path.Combine(Directory, "lib", "modules", Kernel.Release);
}

/// <summary>
/// Debian's <c>linux-image-…-dbg</c> packages, some 300 MB to download and some 600 MB unpacked for each kernel: fetched only where a test or a benchmark asks for
/// them. Out of the 1.8 GB of a package only vmlinux and the modules that the lab's guests load are kept.
/// </summary>
public static partial class DebugPackages
{
    private const string CompleteMark = ".complete";

    /// <summary>Room for the package, what is kept of it, and a gigabyte to spare.</summary>
    private const long RoomNeeded = 2L << 30;

    private static readonly TimeSpan DownloadLimit = TimeSpan.FromMinutes(30);

    /// <summary>The debug files of a kernel where the cache has them, else null.</summary>
    public static DebugInstallation? Cached(KernelInstallation kernel)
    {
        string root = RootOf(kernel);
        return File.Exists(Path.Combine(root, CompleteMark)) ? new DebugInstallation(kernel, root) : null;
    }

    /// <summary>The debug files of a kernel: from the cache, else downloaded. A download that was interrupted goes on where it stopped, as far as the package source can do that.</summary>
    /// <param name="kernel">The kernel that the guests boot.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up; what has been downloaded stays for the next time.</param>
    /// <exception cref="LabException">The package source has no such package any more, it is of another build than the kernel, or there is no room; says what to do.</exception>
    public static async Task<DebugInstallation> GetAsync(KernelInstallation kernel, Action<string>? report = null, CancellationToken cancel = default)
    {
        using var _ = await CacheLock.TakeAsync($"debuginfo-{kernel.Release}", cancel);
        if (Cached(kernel) is { } cached)
            return cached;
        string root = RootOf(kernel);
        long room = new DriveInfo(Path.GetDirectoryName(root)!).AvailableFreeSpace;
        if (room < RoomNeeded)
            throw new LabException($"the debug package of kernel {kernel.Release} takes 2 GiB in {LabPaths.Cache}, and {room >> 20} MiB are left: make room, or set XDG_CACHE_HOME");

        string download = root + ".download";
        string deb = await DownloadAsync(kernel, download, report, cancel);
        report?.Invoke($"unpacking the debug files of kernel {kernel.Release}");
        string work = root + ".new";
        foreach (string old in (string[])[work, root])
        {
            if (Directory.Exists(old))
                Directory.Delete(old, true);
        }

        var unpacked = new DebugInstallation(kernel, work);
        HashSet<string> wanted = [Path.GetRelativePath(work, unpacked.Vmlinux), .. GuestBuilder.ModulesOf(kernel).Select(m => Path.GetRelativePath(work, Path.Combine(unpacked.Modules, PlainName(m))))];
        int kept = await HostCommand.ReadOutputAsync("dpkg-deb", ["--fsys-tarfile", deb], (tar, token) => UnpackAsync(tar, work, wanted, token), cancel);
        if (kept == 0 || !File.Exists(unpacked.Vmlinux))
            throw new LabException($"{deb} has no {Path.GetFileName(unpacked.Vmlinux)}");
        string theirs = await BuildIdAsync(unpacked.Vmlinux, cancel), ours = await BuildIdAsync(kernel.Vmlinux, cancel);
        if (theirs != ours)
        {
            // A release keeps its name through several versions of its package.
            Directory.Delete(work, true);
            Directory.Delete(download, true);
            throw new LabException($"the package source's debug files of kernel {kernel.Release} are of another build ({theirs}) than the kernel in the cache ({ours}): delete {kernel.Root} to have the kernel downloaded again");
        }

        await File.WriteAllTextAsync(Path.Combine(work, CompleteMark), "", cancel);
        Directory.Move(work, root);
        Directory.Delete(download, true);
        return new DebugInstallation(kernel, root);
    }

    private static string RootOf(KernelInstallation kernel) => Path.Combine(LabPaths.CacheDirectory("debuginfo"), kernel.Release);

    /// <summary>The image package may compress its modules, the debug package does not.</summary>
    private static string PlainName(string module) => module[..(module.LastIndexOf(".ko", StringComparison.Ordinal) + 3)];

    private static async Task<string> DownloadAsync(KernelInstallation kernel, string directory, Action<string>? report, CancellationToken cancel)
    {
        string package = $"linux-image-{kernel.Release}-dbg";
        Directory.CreateDirectory(Path.Combine(directory, "partial"));
        // "install --download-only" where "download" would do: it keeps what it has of an interrupted file. Neither lock nor root is needed for it.
        string[] arguments =
        [
            "install", "--download-only", "--reinstall", "-y", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o", $"Dir::Cache::archives={directory}",
            "-o", $"APT::Sandbox::User={Environment.UserName}", "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30", package,
        ];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(DownloadLimit);
        try
        {
            report?.Invoke($"downloading the debug files of kernel {kernel.Release} (some 300 MB)");
            HostCommandResult result = await HostCommand.RunAsync("apt-get", arguments, null, limit.Token);
            if (result.ExitCode != 0)
            {
                // Package lists that are missing or old.
                await Apt.UpdateAsync(limit.Token);
                result = await HostCommand.RunAsync("apt-get", arguments, null, limit.Token);
            }

            string[] debs = Directory.GetFiles(directory, package + "_*.deb");
            if (result.ExitCode == 0 && debs.Length == 1)
                return debs[0];
            HostCommandResult known = await HostCommand.RunAsync("apt-cache", ["show", package], null, limit.Token);
            throw new LabException(known.ExitCode != 0 || known.Output.Length == 0
                ? $"the package source has no {package} (any more): \"setup --refresh\" of the lab's tool takes the newest kernel of the {kernel.Line} line, whose debug package it has"
                : $"{package} could not be downloaded: {result.Error.Trim()}");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new LabException($"downloading {package} took more than {DownloadLimit.TotalMinutes:0} minutes; what there is of it is kept, so trying again goes on from there");
        }
    }

    /// <summary>Writes the wanted regular files of a tar archive below a directory; whatever else it has is skipped.</summary>
    /// <returns>How many there were.</returns>
    private static async Task<int> UnpackAsync(Stream archive, string directory, HashSet<string> wanted, CancellationToken cancel)
    {
        int kept = 0;
        await using var reader = new TarReader(archive, leaveOpen: true);
        while (await reader.GetNextEntryAsync(false, cancel) is { } entry)
        {
            string name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || !wanted.Contains(name))
                continue;
            string path = Path.Combine(directory, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            await entry.ExtractToFileAsync(path, true, cancel);
            kept++;
        }

        return kept;
    }

    private static async Task<string> BuildIdAsync(string elf, CancellationToken cancel)
    {
        Match id = BuildId().Match(await HostCommand.MustAsync("readelf", ["-n", elf], null, cancel));
        return id.Success ? id.Groups[1].Value : throw new LabException($"{elf} has no build id");
    }

    [GeneratedRegex("Build ID: ([0-9a-f]+)")]
    private static partial Regex BuildId();
}
