using System.Globalization;
using System.Text.RegularExpressions;

namespace Panacea.Lab.Setup;

/// <summary>A Debian kernel in the cache: image, modules, headers.</summary>
/// <param name="Line">The stable line, as "6.1".</param>
/// <param name="Release">What uname -r says in it, as "6.1.0-50-cloud-amd64".</param>
/// <param name="Root">The directory that its packages were extracted to.</param>
public sealed record KernelInstallation(string Line, string Release, string Root)
{
    /// <summary>The bootable image.</summary>
    public string Image => Path.Combine(Root, "boot", $"vmlinuz-{Release}");

    /// <summary>The modules' directory: lib/modules/RELEASE.</summary>
    public string Modules => Path.Combine(Root, "lib", "modules", Release);

    /// <summary>The build directory for external modules.</summary>
    public string Headers => Path.Combine(Root, "usr", "src", $"linux-headers-{Release}");

    /// <summary>The ELF kernel taken out of <see cref="Image"/>: no symbols, but with its sections, .BTF among them.</summary>
    public string Vmlinux => Path.Combine(Root, "boot", "vmlinux");

    /// <summary>The System.map that came with it.</summary>
    public string SystemMap => Path.Combine(Root, "boot", $"System.map-{Release}");
}

/// <summary>
/// Debian's cloud kernels, resolved when the lab is set up: the newest of a line that the package source serves (old ones vanish from it, so none is
/// ever pinned). What is in the cache keeps working without a package source.
/// </summary>
public static partial class KernelPackages
{
    /// <summary>The lines that the lab's guests run.</summary>
    public static IReadOnlyList<string> Lines { get; } = ["6.1", "6.12"];

    /// <summary>A release belongs to a line, or is the one that is written in full: 6.12.1-amd64 belongs to 6.12, and not to 6.1.</summary>
    /// <param name="release">The release.</param>
    /// <param name="line">The line.</param>
    public static bool IsOf(string release, string line) => release.StartsWith(line, StringComparison.Ordinal) && (release.Length == line.Length || !char.IsAsciiDigit(release[line.Length]));

    private const string CompleteMark = ".complete";

    /// <summary>The kernel of a line to use: from the cache where it has one, else the newest served.</summary>
    /// <param name="line">As "6.1".</param>
    /// <param name="refresh">True to look for a newer one than the cache has.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<KernelInstallation> GetAsync(string line, bool refresh = false, Action<string>? report = null, CancellationToken cancel = default)
    {
        using var _ = await CacheLock.TakeAsync($"kernel-{line}", cancel);
        KernelInstallation? cached = Cached(line);
        if (cached is not null && !refresh)
            return cached;

        IReadOnlyList<string> releases;
        try
        {
            releases = await ServedAsync(line, cancel);
        }
        catch (LabException) when (cached is not null)
        {
            return cached;
        }

        var failures = new List<string>();
        // The package lists can be older than what the source still serves: the newest that can be had.
        foreach (string release in releases.Take(3))
        {
            if (cached?.Release == release)
                return cached;
            try
            {
                return await DownloadAsync(line, release, report, cancel);
            }
            catch (LabException e)
            {
                failures.Add(e.Message);
            }
        }

        return cached ?? throw new LabException(releases.Count == 0
            ? $"no cloud kernel of line {line} is known to apt: run apt-get update, or add Debian 12 and its security updates to the package sources"
            : $"no cloud kernel of line {line} could be downloaded: {string.Join("; ", failures)}");
    }

    /// <summary>The newest complete kernel of a line in the cache, or null.</summary>
    public static KernelInstallation? Cached(string line)
    {
        string root = LabPaths.CacheDirectory("kernels");
        return Directory.EnumerateDirectories(root)
            .Where(d => File.Exists(Path.Combine(d, CompleteMark)))
            .Select(d => new KernelInstallation(line, Path.GetFileName(d), d))
            .Where(k => IsOfLine(k.Release, line))
            .OrderByDescending(k => k.Release, ReleaseOrder)
            .FirstOrDefault();
    }

    /// <summary>Orders kernel releases by their numbers: 6.1.0-9 before 6.1.0-10.</summary>
    public static IComparer<string> ReleaseOrder { get; } = Comparer<string>.Create((a, b) =>
    {
        int[] x = NumbersOf(a), y = NumbersOf(b);
        for (int i = 0; i < Math.Min(x.Length, y.Length); i++)
        {
            if (x[i] != y[i])
                return x[i].CompareTo(y[i]);
        }

        return x.Length.CompareTo(y.Length);
    });

    /// <summary>The releases named by <c>apt-cache search --names-only</c> output that are cloud kernels of a line, newest first.</summary>
    public static IReadOnlyList<string> ReleasesIn(string searchOutput, string line) =>
        [.. ImageName().Matches(searchOutput).Select(m => m.Groups[1].Value).Where(r => IsOfLine(r, line)).Distinct()
            .OrderByDescending(r => r, ReleaseOrder)];

    private static bool IsOfLine(string release, string line) =>
        release.StartsWith(line + ".", StringComparison.Ordinal) && release.EndsWith("-cloud-amd64", StringComparison.Ordinal);

    private static int[] NumbersOf(string release) =>
        [.. Number().Matches(release.Replace("amd64", "", StringComparison.Ordinal)).Select(m => int.Parse(m.Value, CultureInfo.InvariantCulture))];

    private static async Task<IReadOnlyList<string>> ServedAsync(string line, CancellationToken cancel)
    {
        string[] search = ["search", "--names-only", "^linux-image-6[.].*-cloud-amd64-unsigned$"];
        // A fresh machine has no package lists, an older one lists kernels that are gone.
        await Apt.UpdateAsync(cancel);
        return ReleasesIn(await HostCommand.MustAsync("apt-cache", search, null, cancel), line);
    }

    private static async Task<KernelInstallation> DownloadAsync(string line, string release, Action<string>? report, CancellationToken cancel)
    {
        report?.Invoke($"downloading Debian's kernel {release}");
        string root = Path.Combine(LabPaths.CacheDirectory("kernels"), release);
        string work = root + ".new";
        if (Directory.Exists(work))
            Directory.Delete(work, true);
        string debs = Directory.CreateDirectory(Path.Combine(work, "debs")).FullName;
        string headers = $"linux-headers-{release}";
        await HostCommand.MustAsync("apt-get", ["download", "-qq", $"linux-image-{release}-unsigned", headers], debs, cancel);

        // The headers name the other two that building a module takes: …-common and linux-kbuild-….
        string headersDeb = Directory.GetFiles(debs, headers + "_*.deb").Single();
        string depends = await HostCommand.MustAsync("dpkg-deb", ["-f", headersDeb, "Depends"], null, cancel);
        string[] more = [.. BuildDependency().Matches(depends).Select(m => m.Value).Distinct()];
        await HostCommand.MustAsync("apt-get", ["download", "-qq", .. more], debs, cancel);

        report?.Invoke($"unpacking Debian's kernel {release}");
        foreach (string deb in Directory.GetFiles(debs))
            await HostCommand.MustAsync("dpkg-deb", ["-x", deb, work], null, cancel);
        Directory.Delete(debs, true);
        await HostCommand.MustAsync("depmod", ["-b", work, release], null, cancel);
        var kernel = new KernelInstallation(line, release, root);
        if (Directory.Exists(root))
            Directory.Delete(root, true);
        Directory.Move(work, root);
        if (!File.Exists(kernel.Image))
            throw new LabException($"the package of kernel {release} has no {kernel.Image}");

        await KernelImage.ExtractAsync(kernel.Image, kernel.Vmlinux, cancel);

        // Debian's stub names the common headers by their installed place.
        string common = Directory.GetDirectories(Path.Combine(root, "usr", "src"), "linux-headers-*-common").Single();
        await File.WriteAllTextAsync(Path.Combine(kernel.Headers, "Makefile"), $"include {common}/Makefile\n", cancel);
        await File.WriteAllTextAsync(Path.Combine(root, CompleteMark), "", cancel);
        return kernel;
    }

    [GeneratedRegex(@"^linux-image-(\S+)-unsigned\b", RegexOptions.Multiline)]
    private static partial Regex ImageName();

    [GeneratedRegex(@"linux-(headers-[^ ,]+-common|kbuild-[^ ,]+)")]
    private static partial Regex BuildDependency();

    [GeneratedRegex("[0-9]+")]
    private static partial Regex Number();
}
