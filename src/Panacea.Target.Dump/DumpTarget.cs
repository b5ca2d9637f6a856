using Panacea.Formats;
using Panacea.Formats.Vmcore;

namespace Panacea.Target.Dump;

/// <summary>What a caller may know of a dump that the dump does not tell.</summary>
public sealed record DumpOptions
{
    /// <summary>Of a raw image: how many bytes at its start lie below 4 GiB; the rest begin at 4 GiB. Null where the file offset is the physical address throughout (QEMU's pmemsave).</summary>
    /// <remarks>A file that backs a guest's RAM has no hole: QEMU's q35 keeps 2 GiB below 4 GiB, its i440fx 3 GiB, unless <c>max-ram-below-4g</c> says otherwise, and all of it where that is
    /// not more than 2.75 and 3.5 GiB (hw/i386/pc_q35.c, pc_piix.c).</remarks>
    public long? RawBytesBelow4GiB { get; init; }

    /// <summary>Ceilings for what the file's headers claim.</summary>
    public FormatLimits Formats { get; init; } = FormatLimits.Default;
}

/// <summary>A crash dump: a guest's memory and registers as they were, to read. Its cost follows what is read: opening reads headers, notes, page bitmaps and the index of a flattened file.</summary>
/// <remarks>Safe for concurrent use until disposed.</remarks>
public sealed class DumpTarget : IGuestCapture, IDisposable
{
    private static readonly (int Bit, string What)[] Filters = [(2, "page cache"), (4, "private page cache"), (8, "pages of user processes"), (16, "free pages")];

    private readonly IReadOnlyList<FileDumpBytes> _files;
    private readonly IReadOnlyList<string> _missing;
    private readonly VmcoreNotes _notes;

    private DumpTarget(IReadOnlyList<FileDumpBytes> files, DumpContent content, TargetLimits limits)
    {
        _files = files;
        _notes = content.Notes;
        Memory = content.Memory;
        Kind = content.Kind;
        Description = content.Description;
        _missing = content.Missing;
        Vcpus = DumpRegisters.Of(_notes, limits);
    }

    internal sealed record DumpContent(DumpKind Kind, string Description, IGuestMemory Memory, VmcoreNotes Notes, IReadOnlyList<string> Missing);

    /// <summary>Guest-physical memory. What was left out, lost or damaged is <see cref="MemoryFaultKind.NotCaptured"/>; where there was no RAM, <see cref="MemoryFaultKind.NotBacked"/>.</summary>
    public IGuestMemory Memory { get; }

    /// <summary>ELF, kdump or raw: of a flattened dump, what it is inside.</summary>
    public DumpKind Kind { get; }

    /// <summary>What it is, for a person: <c>kdump-compressed dump, version 6, 3 files</c>.</summary>
    public string Description { get; }

    /// <inheritdoc/>
    public IReadOnlyList<VcpuRegisters> Vcpus { get; }

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> VmcoreInfo => _notes.VmcoreInfo ?? default;

    /// <inheritdoc/>
    public bool IsBareMemory => Kind == DumpKind.Raw;

    /// <inheritdoc/>
    public IReadOnlyList<string> Missing => Memory is KdumpMemory kdump ? [.. _missing, .. kdump.Missing] : _missing;

    /// <summary>Opens a dump by its content.</summary>
    /// <param name="paths">Its file; of a split dump, all files that there are, in any order.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="options">What the dump does not tell.</param>
    /// <exception cref="DumpException">A file can't be opened, or is no dump that can be used.</exception>
    public static DumpTarget Open(IReadOnlyList<string> paths, TargetLimits limits, DumpOptions? options = null)
    {
        options ??= new DumpOptions();
        if (paths.Count == 0 || paths.Count > options.Formats.MaxDumpFiles)
            throw new DumpException($"{paths.Count} files are given; a dump has 1 to {options.Formats.MaxDumpFiles}");
        var files = new List<FileDumpBytes>();
        try
        {
            foreach (string path in paths)
                files.Add(OpenFile(path));
            return new DumpTarget(files, Recognize([.. files], paths, limits, options), limits);
        }
        catch
        {
            files.ForEach(f => f.Dispose());
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (FileDumpBytes file in _files)
            file.Dispose();
    }

    private static FileDumpBytes OpenFile(string path)
    {
        try
        {
            return new FileDumpBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new DumpException($"{path} can't be opened: {e.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Tells what the files are and reads their headers.</summary>
    /// <exception cref="DumpException">They are no dump.</exception>
    internal static DumpContent Recognize(IReadOnlyList<IDumpBytes> files, IReadOnlyList<string> names, TargetLimits limits, DumpOptions options)
    {
        var contents = new List<IDumpBytes>();
        List<string> missing = [];
        DumpKind? kind = null;
        bool flattened = false;
        for (int i = 0; i < files.Count; i++)
        {
            IDumpBytes content = files[i];
            DumpKind what = Detect(content, names[i]);
            if (what == DumpKind.Flattened)
            {
                flattened = true;
                if (!FlattenedDump.TryOpen(content, options.Formats, out FlattenedDump ordered, out string whyNot))
                    throw new DumpException($"{names[i]} can't be read: {whyNot}");
                missing.AddRange(ordered.Missing);
                content = ordered;
                what = Detect(content, names[i]);
                if (what is DumpKind.Flattened or DumpKind.Raw)
                    throw new DumpException($"{names[i]} is a flattened file of neither an ELF core nor a kdump-compressed dump");
            }

            if (kind is { } other && other != what)
                throw new DumpException($"{names[i]} and {names[0]} are not of one dump: give the files of one dump at a time");
            kind = what;
            contents.Add(content);
        }

        if (contents.Count > 1 && kind != DumpKind.Kdump)
            throw new DumpException("only a kdump-compressed dump can be split into several files: give one file");
        string form = flattened ? "flattened " : "";
        return kind switch
        {
            DumpKind.Kdump => Kdump(contents, names[0], missing, form, limits, options),
            DumpKind.Elf => Elf(contents[0], names[0], missing, form, limits, options),
            _ => Raw(contents[0], names[0], limits, options),
        };
    }

    private static DumpKind Detect(IDumpBytes file, string name) =>
        DumpDetector.TryDetect(file, out DumpKind kind, out string whyNot) ? kind : throw new DumpException($"{name} is no dump that can be read: it is {whyNot}");

    private static DumpContent Kdump(List<IDumpBytes> files, string name, List<string> missing, string form, TargetLimits limits, DumpOptions options)
    {
        if (!KdumpFile.TryOpen(files, options.Formats, out KdumpFile dump, out string whyNot))
            throw new DumpException($"{name} can't be read as a kdump-compressed dump: {whyNot}");
        KdumpHeader header = dump.Header;
        string parts = files.Count == 1 ? "" : $", {files.Count} files", level = header.DumpLevel > 1 ? $", filtered (level {header.DumpLevel})" : "";
        if (header.DumpLevel > 1)
            missing.Add($"the dump was filtered when it was written (level {header.DumpLevel}): {Filtered(header.DumpLevel)} are not in it");
        return new DumpContent(
            DumpKind.Kdump, $"{form}kdump-compressed dump, version {header.Version}{parts}{level}", new KdumpMemory(dump, limits), dump.Notes, missing);
    }

    /// <summary>makedumpfile(8), -d.</summary>
    private static string Filtered(int level) => string.Join(", ", Filters.Where(f => (level & f.Bit) != 0).Select(f => f.What));

    private static DumpContent Elf(IDumpBytes file, string name, List<string> missing, string form, TargetLimits limits, DumpOptions options)
    {
        if (!ElfCore.TryRead(file, options.Formats, out ElfCore core, out string whyNot))
            throw new DumpException($"{name} can't be read as an ELF core: {whyNot}");
        return new DumpContent(
            DumpKind.Elf, $"{form}ELF core", new ExtentMemory(file, core.Extents, core.Ranges, limits), core.Notes, [.. missing, .. core.Missing]);
    }

    private static DumpContent Raw(IDumpBytes file, string name, TargetLimits limits, DumpOptions options)
    {
        const ulong fourGiB = 1UL << 32;
        ulong length = (ulong)file.Length, below = length;
        if (options.RawBytesBelow4GiB is { } split)
        {
            if (split <= 0 || (ulong)split > fourGiB)
                throw new DumpException($"{name}: {split} bytes can't lie below 4 GiB");
            below = Math.Min(below, (ulong)split);
        }

        List<DumpExtent> extents = [new(0, below, 0)];
        if (length > below)
            extents.Add(new DumpExtent(fourGiB, length - below, below));
        return new DumpContent(
            DumpKind.Raw, "raw memory image", new ExtentMemory(file, extents, [.. extents.Select(e => new DumpRange(e.Physical, e.Length))], limits), VmcoreNotes.None,
            ["a raw image holds no registers: what ran on each CPU is told from memory alone"]);
    }
}
