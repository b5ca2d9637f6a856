using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>Compiles what the lab brings into its guests: its few static programs, and the crash-test modules.</summary>
internal static class GuestPrograms
{
    private const string Compiler = "gcc";

    /// <summary>Where the modules' debug information is, below the directory of the modules.</summary>
    private const string DebugDirectory = "debug";

    /// <summary>The static programs in lab/guest.</summary>
    /// <returns>The directory that holds them, each under its own name.</returns>
    public static async Task<string> ProgramsAsync(CancellationToken cancel)
    {
        string[] sources = [.. Resources.Names("guest").Where(n => n.EndsWith(".c", StringComparison.Ordinal))];
        using var hash = new ContentHash();
        foreach (string source in sources)
            hash.Add(source).Add(Resources.Read(source));
        hash.AddFile(HostCommand.Find(Compiler) ?? throw new LabException($"{Compiler} is not installed"));
        return await CachedAsync("programs", hash.Finish(), async directory =>
        {
            foreach (string source in sources)
            {
                string file = Path.Combine(directory, Path.GetFileName(source));
                await File.WriteAllBytesAsync(file, Resources.Read(source), cancel);
                await HostCommand.MustAsync(
                    Compiler, ["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o", Path.ChangeExtension(file, null), file], directory, cancel);
            }
        }, cancel);
    }

    /// <summary>The debug information of the modules that <see cref="ModulesAsync"/> has built: NAME.ko.debug, each with its module's build id, as debug packages have them.</summary>
    /// <param name="modules">The modules' directory.</param>
    public static string DebugOf(string modules) => Path.Combine(modules, DebugDirectory);

    /// <summary>crashtest.ko and crashtest_extra.ko for one kernel, with BTF of their own like the distribution's modules.</summary>
    /// <returns>The directory that holds them.</returns>
    public static async Task<string> ModulesAsync(KernelInstallation kernel, CancellationToken cancel)
    {
        IReadOnlyList<string> sources = Resources.Names("crashtest");
        using var hash = new ContentHash();
        hash.Add("2").Add(kernel.Release);
        foreach (string source in sources)
            hash.Add(source).Add(Resources.Read(source));
        return await CachedAsync("modules", hash.Finish(), async directory =>
        {
            foreach (string source in sources)
                await File.WriteAllBytesAsync(Path.Combine(directory, Path.GetFileName(source)), Resources.Read(source), cancel);
            // KBUILD_BUILD_* so that the same sources make the same modules.
            await HostCommand.MustAsync("make", ["-s", "-C", kernel.Headers, $"M={directory}", "KBUILD_BUILD_TIMESTAMP=@0", "modules"], directory, cancel);
            Directory.CreateDirectory(DebugOf(directory));
            foreach (string module in Directory.GetFiles(directory, "*.ko"))
            {
                // The headers of 6.1 have no vmlinux to base BTF on, so kbuild leaves it out; those of 6.12 have.
                if (!(await HostCommand.MustAsync("objdump", ["-h", module], null, cancel)).Contains(" .BTF ", StringComparison.Ordinal))
                {
                    // By itself pahole looks for LLVM's objcopy; kbuild tells it the same way.
                    await HostCommand.MustAsync("env", ["LLVM_OBJCOPY=objcopy", "pahole", "-J", $"--btf_base={kernel.Vmlinux}", module], directory, cancel);
                }

                await HostCommand.MustAsync("objcopy", ["--only-keep-debug", module, Path.Combine(DebugOf(directory), Path.GetFileName(module) + ".debug")], directory, cancel);
                await HostCommand.MustAsync("objcopy", ["--strip-debug", module], directory, cancel);
            }
        }, cancel);
    }

    /// <summary>A directory in the cache that is filled once.</summary>
    private static async Task<string> CachedAsync(string kind, string key, Func<string, Task> fill, CancellationToken cancel)
    {
        using var _ = await CacheLock.TakeAsync($"{kind}-{key}", cancel);
        string directory = Path.Combine(LabPaths.CacheDirectory(kind), key);
        string done = Path.Combine(directory, ".complete");
        if (File.Exists(done))
            return directory;
        if (Directory.Exists(directory))
            Directory.Delete(directory, true);
        Directory.CreateDirectory(directory);
        await fill(directory);
        await File.WriteAllTextAsync(done, "", cancel);
        return directory;
    }
}
