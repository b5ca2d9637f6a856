namespace Panacea.Lab.Setup;

/// <summary>A program that reads dumps with a kernel's debug files, as an argument vector to put its own arguments behind.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Version">Its version, as the package says.</param>
/// <param name="Command">Program and arguments that run it.</param>
public sealed record DumpReader(string Name, string Version, IReadOnlyList<string> Command);

/// <summary>The programs that dumps are also read with, so that Panacea can be compared with them.</summary>
/// <param name="Crash"><c>crash</c>.</param>
/// <param name="Drgn"><c>drgn</c>.</param>
/// <param name="Makedumpfile"><c>makedumpfile</c>, which, other than that of Debian 12, knows Zstandard and kernels since 6.10.</param>
public sealed record DumpReaderInstallation(DumpReader Crash, DumpReader Drgn, DumpReader Makedumpfile);

/// <summary>
/// crash, drgn and makedumpfile of Debian 13, with the libraries that they need, in the cache: run by their own loader, nothing of the host is touched. Those of Debian 12 can't read its
/// own current kernels: crash 8.0.2 finds no tasks in 6.1 (a stable update made <c>pid.numbers</c> a flexible array) and gives up on the modules of 6.12; drgn 0.0.22 is older than both.
/// </summary>
public static class DumpReaders
{
    private const string Suite = "trixie";
    private const string CompleteMark = ".complete";
    private const string Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    private static readonly string[] Packages = ["crash", "python3-drgn", "makedumpfile"];
    private static readonly TimeSpan DownloadLimit = TimeSpan.FromMinutes(15);

    private static string Root => Path.Combine(LabPaths.CacheDirectory("oracles"), Suite);

    /// <summary>What the cache has, or null.</summary>
    public static DumpReaderInstallation? Cached => File.Exists(Path.Combine(Root, CompleteMark)) && File.ReadAllLines(Path.Combine(Root, CompleteMark)).Length == Packages.Length ? Installed() : null;

    /// <summary>From the cache, else downloaded (some 30 MB).</summary>
    /// <exception cref="LabException">The package source does not serve them.</exception>
    public static async Task<DumpReaderInstallation> GetAsync(Action<string>? report = null, CancellationToken cancel = default)
    {
        using var _ = await CacheLock.TakeAsync("oracles", cancel);
        if (Cached is { } cached)
            return cached;
        report?.Invoke("downloading crash and drgn");
        string work = Root + ".new", state = Path.Combine(work, "apt");
        if (Directory.Exists(work))
            Directory.Delete(work, true);
        foreach (string directory in (string[])["lists/partial", "archives/partial"])
            Directory.CreateDirectory(Path.Combine(state, directory));
        await File.WriteAllTextAsync(Path.Combine(state, "sources.list"), $"deb [signed-by={Keyring}] {await MirrorAsync(cancel)} {Suite} main\n", cancel);

        // An empty list of what is installed: apt then names every library that the programs need.
        await File.WriteAllTextAsync(Path.Combine(state, "status"), "", cancel);
        string[] apart =
        [
            "-o", $"Dir::Etc::sourcelist={state}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", $"Dir::State::lists={state}/lists", "-o", $"Dir::State::status={state}/status",
            "-o", $"Dir::Cache::archives={state}/archives", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "-o", $"APT::Sandbox::User={Environment.UserName}",
            "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30",
        ];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(DownloadLimit);
        try
        {
            await HostCommand.MustAsync("apt-get", ["update", "-qq", .. apart], null, limit.Token);
            await HostCommand.MustAsync("apt-get", ["install", "--download-only", "-y", "-qq", "--no-install-recommends", .. apart, .. Packages], null, limit.Token);
        }
        catch (LabException e)
        {
            throw new LabException($"crash and drgn of Debian 13 ({Suite}) could not be downloaded: {e.Message}");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new LabException($"downloading crash and drgn took more than {DownloadLimit.TotalMinutes:0} minutes: try again when the package source answers faster");
        }

        foreach (string deb in Directory.GetFiles(Path.Combine(state, "archives"), "*.deb"))
            await HostCommand.MustAsync("dpkg-deb", ["-x", deb, work], null, cancel);
        var versions = new List<string>();
        foreach (string package in Packages)
        {
            string deb = Directory.GetFiles(Path.Combine(state, "archives"), $"{package}_*.deb").Single();
            versions.Add((await HostCommand.MustAsync("dpkg-deb", ["-f", deb, "Version"], null, cancel)).Trim());
        }

        Directory.Delete(state, true);
        await File.WriteAllLinesAsync(Path.Combine(work, CompleteMark), versions, cancel);
        if (Directory.Exists(Root))
            Directory.Delete(Root, true);
        Directory.Move(work, Root);
        return Installed();
    }

    private static DumpReaderInstallation Installed()
    {
        string root = Root, libraries = Path.Combine(root, "usr", "lib", "x86_64-linux-gnu");
        string[] versions = File.ReadAllLines(Path.Combine(root, CompleteMark));
        string python = Directory.GetFiles(Path.Combine(root, "usr", "bin"), "python3.*").First(f => !f.EndsWith("-config", StringComparison.Ordinal));

        // Modules that Python loads itself are bound by the same loader, with the same path.
        string[] loader = [Path.Combine(libraries, "ld-linux-x86-64.so.2"), "--library-path", libraries];
        string[] environment = ["/usr/bin/env", $"PYTHONHOME={root}/usr", $"PYTHONPATH={root}/usr/lib/python3/dist-packages", "PYTHONDONTWRITEBYTECODE=1", "TERM=dumb"];
        return new DumpReaderInstallation(
            new DumpReader("crash", versions[0], ["/usr/bin/env", "TERM=dumb", .. loader, Path.Combine(root, "usr", "bin", "crash")]),
            new DumpReader("drgn", versions[1], [.. environment, .. loader, python, "-m", "drgn"]),
            new DumpReader("makedumpfile", versions[2], [.. loader, Path.Combine(root, "usr", "bin", "makedumpfile")]));
    }

    /// <summary>Where the host's own packages come from.</summary>
    private static async Task<string> MirrorAsync(CancellationToken cancel)
    {
        HostCommandResult targets = await HostCommand.RunAsync("apt-get", ["indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"], null, cancel);
        return targets.Output.Split('\n').Select(l => l.Split(' ')).Where(w => w is ["Debian", _, _] && !w[1].Contains('-')).Select(w => w[2]).FirstOrDefault()
            ?? throw new LabException("apt knows no package source of Debian's (see /etc/apt/sources.list): crash and drgn come from there");
    }
}
