using System.Buffers.Binary;

namespace Panacea.Formats.Elf;

/// <summary>The relocations of one section of a relocatable object (SHT_RELA), applied to what is read of it. Those that debug information has are absolute: R_X86_64_64, _32, _32S (x86-64 psABI).</summary>
internal sealed class Relocations
{
    private const int EntrySize = 24;
    private const uint None = 0, Absolute64 = 1, Absolute32 = 10, Absolute32Signed = 11;
    private readonly byte[] _table;
    private readonly ElfSymbols _symbols;

    private Relocations(byte[] table, ElfSymbols symbols) => (_table, _symbols) = (table, symbols);

    private int Count => _table.Length / EntrySize;

    /// <summary>The relocations of a section; null where it has none, and in an object that is linked already (a kernel linked with --emit-relocs keeps those that were applied).</summary>
    /// <exception cref="InvalidDataException">They are damaged, or beyond the limits.</exception>
    public static Relocations? Of(ElfObject elf, ElfSection? section, ElfSymbols symbols, FormatLimits limits)
    {
        if (elf.Type != ElfObjectType.Relocatable || section is null
            || elf.Sections.FirstOrDefault(s => s.Type == ElfSection.Rela && s.Info == (uint)section.Index) is not { } rela)
            return null;
        var relocations = new Relocations(ElfSymbols.Whole(elf, rela, limits), symbols);
        for (int i = 1; i < relocations.Count; i++)
        {
            // Assemblers and linkers write them so; with any other order a search would miss some and say something wrong.
            if (relocations.OffsetOf(i) < relocations.OffsetOf(i - 1))
                throw new InvalidDataException($"the relocations in {rela.Name} are in no order");
        }

        return relocations;
    }

    /// <summary>Relocates bytes that were read from the section at <paramref name="start"/>; of a value that they cut, the part that is there.</summary>
    /// <exception cref="InvalidDataException">A relocation is of another kind.</exception>
    public void Apply(ulong start, Span<byte> bytes)
    {
        Span<byte> value = stackalloc byte[8];
        for (int i = First(start < 8 ? 0 : start - 7); i < Count; i++)
        {
            ulong offset = OffsetOf(i);
            if (offset >= start && offset - start >= (ulong)bytes.Length)
                return;
            ReadOnlySpan<byte> entry = _table.AsSpan(i * EntrySize, EntrySize);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]);
            if (type == None)
                continue;
            int size = type switch
            {
                Absolute64 => 8,
                Absolute32 or Absolute32Signed => 4,
                _ => throw new InvalidDataException($"a relocation of type {type} has no place in debug information"),
            };
            BinaryPrimitives.WriteUInt64LittleEndian(value, unchecked(_symbols.ValueOf(BinaryPrimitives.ReadUInt32LittleEndian(entry[12..])) + BinaryPrimitives.ReadUInt64LittleEndian(entry[16..])));
            for (int b = 0; b < size; b++)
            {
                ulong at = unchecked(offset + (ulong)b - start);
                if (at < (ulong)bytes.Length)
                    bytes[(int)at] = value[b];
            }
        }
    }

    private ulong OffsetOf(int i) => BinaryPrimitives.ReadUInt64LittleEndian(_table.AsSpan(i * EntrySize));

    private int First(ulong offset)
    {
        int low = 0, high = Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (OffsetOf(middle) < offset)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }
}
