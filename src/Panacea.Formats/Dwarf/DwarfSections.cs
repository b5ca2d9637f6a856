using Panacea.Formats.Elf;

namespace Panacea.Formats.Dwarf;

/// <summary>The sections of an object that hold DWARF, opened when they are first asked for.</summary>
internal sealed class DwarfSections(ElfObject elf, ElfSymbols symbols, FormatLimits limits) : IDisposable
{
    private readonly Dictionary<string, SectionBytes> _open = [];

    public delegate T Parse<T>(ReadOnlySpan<byte> bytes);

    public FormatLimits Limits => limits;

    /// <summary>Bytes that one question may still cost: lists that all entries share would else be read for each.</summary>
    public long Budget { get; private set; } = limits.MaxDwarfWork;

    public SectionBytes Info => Open(".debug_info");

    public SectionBytes Abbrev => Open(".debug_abbrev");

    public SectionBytes Line => Open(".debug_line");

    public SectionBytes Text => Open(".debug_str");

    public SectionBytes LineText => Open(".debug_line_str");

    public SectionBytes Aranges => Open(".debug_aranges");

    public SectionBytes Ranges => Open(".debug_ranges");

    public SectionBytes RangeLists => Open(".debug_rnglists");

    public SectionBytes TextOffsets => Open(".debug_str_offsets");

    public SectionBytes Addresses => Open(".debug_addr");

    /// <summary>Parses something whose length is not known: from a first part of the section, then from more of it as long as that was too little.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or longer than a unit may be.</exception>
    public T Growing<T>(SectionBytes section, ulong offset, int first, Parse<T> parse)
    {
        for (int size = first; ; size = Math.Min(size * 8, limits.MaxDwarfUnitBytes))
        {
            byte[] bytes = section.ReadUpTo(offset, size);
            Spend(bytes.Length);
            try
            {
                return parse(bytes);
            }
            catch (DwarfCutException) when (bytes.Length == size && size < limits.MaxDwarfUnitBytes)
            {
                // The table goes on behind what was read.
            }
        }
    }

    /// <summary>A question begins.</summary>
    public void Begin() => Budget = limits.MaxDwarfWork;

    /// <summary>Takes from the budget.</summary>
    /// <exception cref="InvalidDataException">Nothing is left of it.</exception>
    public void Spend(int bytes)
    {
        Budget -= bytes;
        if (Budget < 0)
            throw new InvalidDataException("its debug information leads to too much work");
    }

    public void Dispose()
    {
        foreach (SectionBytes each in _open.Values)
            each.Dispose();
        _open.Clear();
    }

    private SectionBytes Open(string name)
    {
        if (_open.TryGetValue(name, out SectionBytes? open))
            return open;
        ElfSection? section = elf.Find(name);
        return _open[name] = SectionBytes.Open(elf, section, Relocations.Of(elf, section, symbols, limits), limits);
    }
}
