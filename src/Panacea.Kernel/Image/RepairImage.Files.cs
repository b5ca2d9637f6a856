using System.Buffers.Binary;
using System.Diagnostics;
using System.Text.Json;

namespace Panacea.Kernel.Image;

/// <summary>Where images come from and lie: files, mappings, other images.</summary>
public sealed partial class RepairImage
{
    /// <summary>Opens an image file. A packed one is unpacked into <paramref name="cache"/> first and mapped from there.</summary>
    /// <exception cref="RepairImageException">Damaged, foreign, of another version.</exception>
    public static RepairImage Open(string path, string cache)
    {
        string name = Path.GetFileName(path);
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 16);
        IReadOnlyList<ImageContainer.Entry> entries = ImageContainer.ReadTable(stream, name);
        if (entries.Any(e => e.IsZstd || e.IsDerived))
        {
            var stored = new Dictionary<int, ReadOnlyMemory<byte>>(entries.Count);
            for (int i = 0; i < entries.Count; i++)
            {
                if (!entries[i].IsDerived)
                    stored[i] = ImageContainer.ReadSection(stream, entries[i], name);
            }

            return MapAndUnlink(Store(DerivedSections.Complete(entries, stored, name), cache));
        }

        // Stored sections are checked through the file, not through the mapping, so that checking does not make every page resident.
        foreach (ImageContainer.Entry e in entries)
            _ = ImageContainer.ReadSection(stream, e, name);
        return Map(path);
    }

    /// <summary>Writes the packed image.</summary>
    /// <returns>Bytes on disk.</returns>
    public long Save(string path, int zstdLevel = 9) => ImageContainer.Write(path, Sections, zstdLevel);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        foreach (IDisposable region in _regions)
            region.Dispose();
    }

    /// <summary>An image over sections in memory, its identity among them.</summary>
    internal static RepairImage FromSections(IReadOnlyList<ImageContainer.Section> sections) => new(null, sections, null);

    /// <summary>An image over sections in memory: while building, and of a dump, which is looked at once.</summary>
    internal static RepairImage FromSections(ImageMeta meta, IReadOnlyList<ImageContainer.Section> sections) => new(meta, sections, null);

    /// <summary>The same kernel with other modules: everything else is shared, mapped memory too, which stays until the last of both images is disposed of.</summary>
    /// <param name="modules">The modules, by owner number from 1.</param>
    /// <param name="known">Those of them that this image has, by owner number: theirs in this image.</param>
    /// <param name="sections">Sections of all of them.</param>
    /// <param name="cache">Directory to store those in that lie in memory so far; null where they are to stay there.</param>
    /// <param name="startedTicks">When the work on it began (<see cref="Stopwatch"/>).</param>
    internal RepairImage WithModules(
        IReadOnlyList<ImageModule> modules, IReadOnlyDictionary<uint, uint> known, IReadOnlyList<ImageContainer.Section> sections, string? cache, long startedTicks)
    {
        List<ImageContainer.Section> all = [.. _byOwner[0].Where(s => s.Kind is not (ImageSection.Meta or ImageSection.BuildTime)), .. sections];
        List<int> loose = cache is null ? [] : [.. Enumerable.Range(0, all.Count).Where(i => all[i].Region is null)];
        MappedRegion? stored = null;
        if (loose.Count > 0)
        {
            string path = Store([.. loose.Select(i => all[i])], cache!);
            IReadOnlyList<ImageContainer.Section> mapped = MapSections(path, out stored);
            File.Delete(path);
            for (int i = 0; i < loose.Count; i++)
                all[loose[i]] = mapped[i];

            // Tables that were opened over the memory of before are opened again over the file, so that the memory goes.
            known = known.Where(k => !loose.Exists(i => all[i].Owner == k.Key)).ToDictionary();
        }

        List<MappedRegion> regions = [.. all.Select(s => s.Region).OfType<MappedRegion>().Distinct()];
        foreach (MappedRegion region in regions.Where(r => r != stored))
            region.Share();
        try
        {
            return new RepairImage(this, modules, known, [.. all, BuildTimeSince(startedTicks)], regions);
        }
        catch
        {
            foreach (IDisposable region in regions)
                region.Dispose();
            throw;
        }
    }

    /// <summary>An image has that section.</summary>
    internal bool HasSection(ImageSection kind, uint owner) => _byOwner.TryGetValue(owner, out List<ImageContainer.Section>? sections) && sections.Exists(s => s.Kind == kind);

    /// <summary>What identifies an image as its section.</summary>
    internal static ImageContainer.Section SectionOf(ImageMeta meta) => new(ImageSection.Meta, 0, JsonSerializer.SerializeToUtf8Bytes(meta, ImageMetaJson.Default.ImageMeta));

    /// <summary>How long building took, as a section.</summary>
    /// <param name="startedTicks">When it began (<see cref="Stopwatch"/>).</param>
    internal static ImageContainer.Section BuildTimeSince(long startedTicks)
    {
        byte[] time = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(time, (long)Stopwatch.GetElapsedTime(startedTicks).TotalMicroseconds);
        return new(ImageSection.BuildTime, 0, time);
    }

    /// <summary>Stores an image unpacked in the cache and maps it.</summary>
    internal static RepairImage StoreAndMap(ImageMeta meta, IReadOnlyList<ImageContainer.Section> sections, string cache) =>
        MapAndUnlink(Store([SectionOf(meta), .. sections], cache));

    private static string Store(IReadOnlyList<ImageContainer.Section> sections, string cache)
    {
        // Kernel text and addresses are nobody else's business.
        Directory.CreateDirectory(cache, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        string path = Path.Combine(cache, $"{Environment.ProcessId}-{Guid.NewGuid():n}.unpacked");
        ImageContainer.Write(path, sections, null);
        return path;
    }

    /// <summary>Maps an unpacked image and removes its name: it is of one boot of one guest, and goes when the last mapping of it does.</summary>
    private static RepairImage MapAndUnlink(string path)
    {
        RepairImage image = Map(path);
        File.Delete(path);
        return image;
    }

    private static RepairImage Map(string path)
    {
        IReadOnlyList<ImageContainer.Section> sections = MapSections(path, out MappedRegion mapping);
        try
        {
            return new RepairImage(null, sections, mapping);
        }
        catch (Exception e)
        {
            ((IDisposable)mapping).Dispose();
            if (e is not (JsonException or ArgumentException or InvalidDataException or OverflowException))
                throw;
            throw new RepairImageException($"{Path.GetFileName(path)} is damaged: {e.Message}; build it again");
        }
    }

    private static List<ImageContainer.Section> MapSections(string path, out MappedRegion mapping)
    {
        IReadOnlyList<ImageContainer.Entry> entries;
        using (FileStream stream = File.OpenRead(path))
            entries = ImageContainer.ReadTable(stream, Path.GetFileName(path));
        var region = mapping = new MappedRegion(path);
        try
        {
            return [.. entries.Select(e => new ImageContainer.Section(e.Kind, e.Owner, region.Memory.Slice(checked((int)e.Offset), checked((int)e.RawLength))) { Hash = e.Hash, Region = region })];
        }
        catch (Exception e) when (e is ArgumentException or OverflowException)
        {
            ((IDisposable)region).Dispose();
            throw new RepairImageException($"{Path.GetFileName(path)} is damaged: {e.Message}; build it again");
        }
    }
}
