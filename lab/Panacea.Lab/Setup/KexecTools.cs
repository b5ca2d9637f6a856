namespace Panacea.Lab.Setup;

/// <summary><c>kexec</c> in the cache.</summary>
/// <param name="Root">The directory that its packages' files lie in, as they would below <c>/</c>.</param>
public sealed record KexecInstallation(string Root)
{
    /// <summary>The program.</summary>
    public string Program => Path.Combine(Root, "sbin", "kexec");

    /// <summary>Libraries that its packages brought; others are the host's.</summary>
    public string Libraries => Path.Combine(Root, "usr", "lib", "x86_64-linux-gnu");
}

/// <summary>Debian's kexec-tools, with which guests load their crash kernel. It is not installed on the host, where it would take part in shutting down.</summary>
public static class KexecTools
{
    private const string Package = "kexec-tools";

    /// <summary>From the cache, else downloaded with the libraries that the host lacks (some 2 MB, most of them Xen's).</summary>
    /// <exception cref="LabException">The package source does not serve it.</exception>
    public static async Task<KexecInstallation> GetAsync(Action<string>? report = null, CancellationToken cancel = default)
    {
        using var _ = await CacheLock.TakeAsync(Package, cancel);
        var installed = new KexecInstallation(Path.Combine(LabPaths.CacheDirectory("packages"), Package));
        if (File.Exists(installed.Program))
            return installed;
        report?.Invoke($"downloading {Package}");
        string work = installed.Root + ".new", debs = Path.Combine(work, "debs");
        foreach (string old in (string[])[work, installed.Root])
        {
            if (Directory.Exists(old))
                Directory.Delete(old, true);
        }

        // Neither lock nor root is needed for a download.
        Directory.CreateDirectory(Path.Combine(debs, "partial"));
        string[] download =
        [
            "install", "--download-only", "--reinstall", "-y", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o", $"Dir::Cache::archives={debs}",
            "-o", $"APT::Sandbox::User={Environment.UserName}", "-o", "Acquire::Retries=3", Package,
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
        Directory.Move(work, installed.Root);
        return File.Exists(installed.Program) ? installed : throw new LabException($"the package {Package} has no sbin/kexec");
    }
}
