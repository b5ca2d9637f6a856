using Panacea.Formats;
using Panacea.Formats.Dwarf;
using Panacea.Formats.Elf;

namespace Panacea.Diagnosis.DebugInfo;

/// <summary>A file whose debug information was used.</summary>
/// <param name="Module">The module that it is of; null for the kernel itself.</param>
/// <param name="File">Path.</param>
/// <param name="BuildId">GNU build id, lower-case hex; null where it has none.</param>
/// <param name="MatchedBy">What shows that it is of the same build: <c>build-id</c>; of a log, which has none, <c>banner</c> or <c>sizes</c> (of its functions).</param>
public sealed record UsedDebugFile(string? Module, string File, string? BuildId, string MatchedBy);

/// <summary>Debug information that a user has named, and what of it was used. A file is used only where something shows that it is of the same build as what is diagnosed; a name alone never does.</summary>
/// <param name="paths">Directories and files, see <see cref="DebugDirectory"/>.</param>
/// <param name="limits">Ceilings.</param>
public sealed class DebugFiles(IReadOnlyList<string> paths, FormatLimits limits) : IDisposable
{
    private readonly List<DebugDirectory> _directories = [.. paths.Select(p => new DebugDirectory(p, limits))];
    private readonly List<OpenDebugFile> _open = [];
    private readonly List<UsedDebugFile> _used = [];
    private readonly List<string> _said = [];

    /// <summary>The files that were used.</summary>
    public IReadOnlyList<UsedDebugFile> Used => _used;

    /// <summary>What was not used, and why, in sentences.</summary>
    public IReadOnlyList<string> NotUsed => _said;

    /// <summary>The kernel's file, by its build id.</summary>
    internal OpenDebugFile? KernelById(string release, string? buildId)
    {
        if (buildId is null)
        {
            Say("debug information: the kernel's build id could not be read, so no file can be shown to be of its build");
            return null;
        }

        return ById(null, buildId, _directories.SelectMany(d => d.Kernels(release, buildId).Select(f => (d, f))));
    }

    /// <summary>A module's file, by its build id.</summary>
    internal OpenDebugFile? ModuleById(string module, string release, string? buildId)
    {
        if (buildId is null)
        {
            Say($"debug information of module {module}: its build id could not be read, so no file can be shown to be of its build");
            return null;
        }

        return ById(module, buildId, _directories.SelectMany(d => d.Modules(module, release, buildId).Select(f => (d, f))));
    }

    /// <summary>Kernel files, opened one after the other, for a log: the caller says whether one is the right one.</summary>
    internal OpenDebugFile? KernelWhere(string release, Func<DebugFile, (string? MatchedBy, string WhyNot)> matches) =>
        Where(null, _directories.SelectMany(d => d.Kernels(release, null).Select(f => (d, f))), matches, $"kernel {release}");

    /// <summary>As <see cref="KernelWhere"/>, for a module.</summary>
    internal OpenDebugFile? ModuleWhere(string module, string? release, Func<DebugFile, (string? MatchedBy, string WhyNot)> matches) =>
        Where(module, _directories.SelectMany(d => d.Modules(module, release, null).Select(f => (d, f))), matches, $"module {module}");

    /// <summary>Adds a sentence to <see cref="NotUsed"/>, once.</summary>
    internal void Say(string sentence)
    {
        if (!_said.Contains(sentence))
            _said.Add(sentence);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (OpenDebugFile each in _open)
            each.Dispose();
        _open.Clear();
    }

    /// <summary>Where a function and an offset in it lie in a file: the function that has this size where several have the name.</summary>
    /// <param name="debug">The file.</param>
    /// <param name="function">Its name as kallsyms has it.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="size">Its size as the kernel prints it; 0 where it is not known.</param>
    internal static ulong? AddressOf(DebugFile debug, string function, ulong offset, ulong size)
    {
        IReadOnlyList<ElfSymbol> found = debug.Symbols.Find(function);
        if (found.Count > 1)
            found = [.. found.Where(s => Agrees(s, size)).DistinctBy(s => s.Address)];
        return found is [var one] && (one.Room == 0 || offset < Math.Max(one.Room, one.Size)) ? unchecked(one.Address + offset) : null;
    }

    /// <summary>The size that the kernel prints is that of the symbol. It counts to the next symbol, which is further away where sections were put one behind the other.</summary>
    internal static bool Agrees(ElfSymbol symbol, ulong size) => size == symbol.Room || (symbol.IsLast && size >= symbol.Size);

    private OpenDebugFile? ById(string? module, string buildId, IEnumerable<(DebugDirectory Directory, string File)> candidates)
    {
        string what = module is null ? "the kernel" : $"module {module}";
        var others = new List<string>();
        foreach ((DebugDirectory directory, string file) in candidates)
        {
            if (directory.BuildIdOf(file) is not { } theirs)
                others.Add($"{file} has no build id, so it can't be shown to be of {what}; it is not used");
            else if (theirs != buildId)
                others.Add($"{file} is of another build (build id {theirs}) than {what} (build id {buildId}); it is not used");
            else if (directory.TryOpen(file, out OpenDebugFile opened, out string whyNot))
                return Use(module, opened, "build-id");
            else
                others.Add($"{file} can't be used: {whyNot}");
        }

        SayOf(what, others);
        return null;
    }

    private OpenDebugFile? Where(string? module, IEnumerable<(DebugDirectory Directory, string File)> candidates, Func<DebugFile, (string? MatchedBy, string WhyNot)> matches, string what)
    {
        var others = new List<string>();
        foreach ((DebugDirectory directory, string file) in candidates.DistinctBy(c => c.File))
        {
            if (!directory.TryOpen(file, out OpenDebugFile opened, out string whyNot))
            {
                others.Add($"{file} can't be used: {whyNot}");
                continue;
            }

            (string? by, string why) = matches(opened.Debug);
            if (by is not null)
                return Use(module, opened, by);
            others.Add($"{file} is not used: {why}");
            opened.Dispose();
        }

        SayOf(what, others);
        return null;
    }

    private void SayOf(string what, List<string> others)
    {
        const int most = 3;
        if (others.Count == 0)
            Say($"debug information of {what}: there is none in {string.Join(", ", paths)}");
        foreach (string other in others.Distinct().Take(most))
            Say($"debug information: {other}");
    }

    private OpenDebugFile Use(string? module, OpenDebugFile opened, string by)
    {
        _open.Add(opened);
        _used.Add(new UsedDebugFile(module, opened.Path, opened.Debug.BuildId, by));
        return opened;
    }
}
