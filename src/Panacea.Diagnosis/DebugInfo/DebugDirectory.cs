using Panacea.Formats;
using Panacea.Formats.Dwarf;
using Panacea.Formats.Vmcore;

namespace Panacea.Diagnosis.DebugInfo;

/// <summary>
/// A place that holds debug information: an unpacked debug package, a debuginfod cache, any directory with vmlinux and module files in it, or one such file. What is in it is only looked at when
/// something is asked for.
/// </summary>
/// <param name="path">Directory or file.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class DebugDirectory(string path, FormatLimits limits)
{
    /// <summary>Entries of the directory that are looked at; a distribution's debug package has some 5,000.</summary>
    private const int MostEntries = 200_000;

    private readonly List<string> _kernels = [];
    private readonly Dictionary<string, List<string>> _modules = new(StringComparer.Ordinal);
    private bool _isListed;

    /// <summary>Files that may be those of the kernel, the likeliest first.</summary>
    /// <param name="release">uname -r.</param>
    /// <param name="buildId">Lower-case hex; null where it is not known.</param>
    public IEnumerable<string> Kernels(string? release, string? buildId)
    {
        if (File.Exists(path))
        {
            yield return path;
            yield break;
        }

        foreach (string file in ById(buildId))
            yield return file;
        if (release is not null && IsName(release))
        {
            foreach (string place in (string[])["vmlinux", "vmlinux-R", "boot/vmlinux-R", "usr/lib/debug/boot/vmlinux-R", "usr/lib/debug/lib/modules/R/vmlinux", "lib/debug/boot/vmlinux-R", "lib/modules/R/vmlinux"])
            {
                if (Existing(place.Replace("R", release, StringComparison.Ordinal)) is { } file)
                    yield return file;
            }
        }

        List(release);
        foreach (string file in _kernels)
            yield return file;
    }

    /// <summary>Files that may be those of a module, the likeliest first.</summary>
    /// <param name="module">Its name.</param>
    /// <param name="release">uname -r.</param>
    /// <param name="buildId">Lower-case hex; null where it is not known.</param>
    public IEnumerable<string> Modules(string module, string? release, string? buildId)
    {
        if (File.Exists(path))
            return ModuleOf(path) == Plain(module) ? [path] : [];
        List(release);
        return [.. ById(buildId), .. _modules.GetValueOrDefault(Plain(module)) ?? []];
    }

    /// <summary>Opens a file; false where it is no object with debug information, or can't be read.</summary>
    /// <param name="file">The file.</param>
    /// <param name="opened">The result, and what has to be disposed of with it.</param>
    /// <param name="whyNot">Why not.</param>
    public bool TryOpen(string file, out OpenDebugFile opened, out string whyNot)
    {
        opened = null!;
        FileDumpBytes? bytes = null;
        try
        {
            bytes = new FileDumpBytes(file);
            if (DebugFile.TryOpen(bytes, limits, out DebugFile debug, out whyNot))
            {
                opened = new OpenDebugFile(file, debug, bytes);
                if (debug.HasDebugInformation)
                    return true;
                whyNot = "it has no debug information";
                opened.Dispose();
                return false;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            whyNot = e.Message.TrimEnd('.');
        }

        bytes?.Dispose();
        return false;
    }

    /// <summary>The build id of a file; null where it has none.</summary>
    public string? BuildIdOf(string file)
    {
        try
        {
            using var bytes = new FileDumpBytes(file);
            return DebugFile.BuildIdOf(bytes, limits);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Where files lie by their build id: .build-id/ab/cdef….debug of debug packages, ID/debuginfo of debuginfod's cache.</summary>
    private IEnumerable<string> ById(string? id)
    {
        if (id is not { Length: > 2 })
            yield break;
        foreach (string place in (string[])["debuginfo", $"{id}/debuginfo", $".build-id/{id[..2]}/{id[2..]}.debug", $"usr/lib/debug/.build-id/{id[..2]}/{id[2..]}.debug", $"lib/debug/.build-id/{id[..2]}/{id[2..]}.debug"])
        {
            if (Existing(place) is { } file)
                yield return file;
        }
    }

    private string? Existing(string below)
    {
        string file = Path.Combine(path, below);
        return File.Exists(file) ? file : null;
    }

    /// <summary>Lists the directory once. Links to directories are not followed: they may lead in circles.</summary>
    private void List(string? release)
    {
        if (_isListed)
            return;
        _isListed = true;

        // Where a package has its modules, the rest of what may be a whole system is not looked through.
        string[] places = release is not null && IsName(release) ? ["usr/lib/debug/lib/modules/", "lib/debug/lib/modules/", "lib/modules/"] : [];
        string top = places.Select(p => Path.Combine(path, p + release)).FirstOrDefault(Directory.Exists) ?? path;
        var options = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.None, MaxRecursionDepth = 24, MatchType = MatchType.Simple };
        var walk = new System.IO.Enumeration.FileSystemEnumerable<string>(top, (ref System.IO.Enumeration.FileSystemEntry entry) => entry.ToFullPath(), options)
        {
            ShouldIncludePredicate = (ref System.IO.Enumeration.FileSystemEntry entry) => !entry.IsDirectory,
            ShouldRecursePredicate = (ref System.IO.Enumeration.FileSystemEntry entry) => (entry.Attributes & FileAttributes.ReparsePoint) == 0,
        };
        try
        {
            foreach (string file in walk.Take(MostEntries))
            {
                if (Path.GetFileName(file).StartsWith("vmlinux", StringComparison.Ordinal))
                    _kernels.Add(file);
                else if (ModuleOf(file) is { } module)
                    (_modules.TryGetValue(module, out List<string>? files) ? files : _modules[module] = []).Add(file);
            }
        }
        catch (IOException)
        {
            // A directory that goes away while it is listed: what was found before counts.
        }

        _kernels.Sort(StringComparer.Ordinal);
    }

    private static string? ModuleOf(string file)
    {
        string name = Path.GetFileName(file);
        foreach (string end in (string[])[".ko", ".ko.debug"])
        {
            if (name.EndsWith(end, StringComparison.Ordinal))
                return Plain(name[..^end.Length]);
        }

        return null;
    }

    /// <summary>A module's name has underscores where its file may have hyphens.</summary>
    private static string Plain(string module) => module.Replace('-', '_');

    /// <summary>A guest chooses its release: it must not lead out of the directory.</summary>
    private static bool IsName(string name) => name.Length is > 0 and < 200 && !name.Contains('/', StringComparison.Ordinal) && !name.Contains('\0', StringComparison.Ordinal) && name is not ("." or "..");
}

/// <summary>A file with debug information, opened.</summary>
internal sealed record OpenDebugFile(string Path, DebugFile Debug, FileDumpBytes Bytes) : IDisposable
{
    public void Dispose()
    {
        Debug.Dispose();
        Bytes.Dispose();
    }
}
