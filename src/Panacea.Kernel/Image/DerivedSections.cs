using System.IO.Hashing;
using Panacea.Formats.Kallsyms;
using Panacea.Kernel.Types;

namespace Panacea.Kernel.Image;

/// <summary>Makes again what a packed image leaves out, and checks it against the checksums that the image keeps.</summary>
internal static class DerivedSections
{
    /// <summary>All sections of an image in the order of its table.</summary>
    /// <param name="entries">The table.</param>
    /// <param name="stored">The sections that the file holds, by position in the table.</param>
    /// <param name="name">The file, for messages.</param>
    /// <exception cref="RepairImageException">What was made does not match, or can't be made.</exception>
    public static List<ImageContainer.Section> Complete(
        IReadOnlyList<ImageContainer.Entry> entries, IReadOnlyDictionary<int, ReadOnlyMemory<byte>> stored, string name)
    {
        var catalogs = new Dictionary<uint, (ReadOnlyMemory<byte> Types, ReadOnlyMemory<byte> Names)>();
        TypeCatalog? kernelTypes = null;
        var sections = new List<ImageContainer.Section>(entries.Count);
        for (int i = 0; i < entries.Count; i++)
        {
            ImageContainer.Entry entry = entries[i];
            if (!stored.TryGetValue(i, out ReadOnlyMemory<byte> bytes))
            {
                bytes = Make(entry);
                if (XxHash3.HashToUInt64(bytes.Span) != entry.Hash)
                    throw new RepairImageException($"{name} is damaged: {entry.Kind} does not match its checksum; build it again");
            }

            sections.Add(new ImageContainer.Section(entry.Kind, entry.Owner, bytes));
        }

        return sections;

        ReadOnlyMemory<byte> Make(ImageContainer.Entry entry)
        {
            try
            {
                if (entry.Kind == ImageSection.Symbols5)
                    return SymbolTable.MakeNameIndex(Find(ImageSection.Symbols3, entry.Owner).Span, Find(ImageSection.Symbols4, entry.Owner).Span);
                (ReadOnlyMemory<byte> types, ReadOnlyMemory<byte> names) = Index(entry.Owner);
                return entry.Kind == ImageSection.BtfTypeIndex ? types : names;
            }
            catch (InvalidDataException e)
            {
                throw new RepairImageException($"{name} is damaged: {e.Message}; build it again");
            }
        }

        (ReadOnlyMemory<byte> Types, ReadOnlyMemory<byte> Names) Index(uint owner)
        {
            if (catalogs.TryGetValue(owner, out var known))
                return known;
            if (owner != 0 && kernelTypes is null)
            {
                var kernel = Index(0);
                kernelTypes = TypeCatalog.Open(Find(ImageSection.Btf, 0), kernel.Types, kernel.Names);
            }

            if (!TypeCatalog.TryIndex(Find(ImageSection.Btf, owner), owner == 0 ? null : kernelTypes, out var types, out var names, out string whyNot))
                throw new RepairImageException($"{name} is damaged: its types can't be used ({whyNot}); build it again");
            return catalogs[owner] = (types, names);
        }

        ReadOnlyMemory<byte> Find(ImageSection kind, uint owner)
        {
            for (int i = 0; i < entries.Count; i++)
            {
                if (entries[i].Kind == kind && entries[i].Owner == owner && stored.TryGetValue(i, out ReadOnlyMemory<byte> bytes))
                    return bytes;
            }

            throw new RepairImageException($"{name} is damaged: it lacks {kind}; build it again");
        }
    }
}
