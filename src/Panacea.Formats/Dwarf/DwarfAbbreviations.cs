namespace Panacea.Formats.Dwarf;

/// <summary>One attribute of an abbreviation.</summary>
/// <param name="Name">DW_AT_….</param>
/// <param name="Form">DW_FORM_….</param>
/// <param name="Constant">The value of DW_FORM_implicit_const.</param>
internal readonly record struct DwarfAttribute(uint Name, uint Form, long Constant);

/// <summary>The shape of an entry.</summary>
/// <param name="Tag">DW_TAG_….</param>
/// <param name="HasChildren">Entries follow that belong to it.</param>
/// <param name="Attributes">In the order of their values.</param>
internal sealed record DwarfAbbreviation(uint Tag, bool HasChildren, DwarfAttribute[] Attributes);

/// <summary>The shapes that one unit's entries have (DWARF 5, 7.5.3).</summary>
internal sealed class DwarfAbbreviations
{
    private const int FirstRead = 32 << 10, MaxAttributes = 1024;
    private readonly Dictionary<ulong, DwarfAbbreviation> _byCode = [];

    private DwarfAbbreviations(ReadOnlySpan<byte> bytes, FormatLimits limits)
    {
        var at = new DwarfCursor(bytes);
        var attributes = new List<DwarfAttribute>();
        while (at.Uleb() is not 0 and { } code)
        {
            ulong tag = at.Uleb();
            bool children = at.U8() != 0;
            attributes.Clear();
            while (true)
            {
                ulong name = at.Uleb(), form = at.Uleb();
                long constant = form == Form.ImplicitConst ? at.Sleb() : 0;
                if (name == 0 && form == 0)
                    break;
                if (attributes.Count == MaxAttributes)
                    throw new InvalidDataException($"an abbreviation of its debug information has more than {MaxAttributes} attributes");
                attributes.Add(new DwarfAttribute((uint)Math.Min(name, uint.MaxValue), (uint)Math.Min(form, uint.MaxValue), constant));
            }

            if (_byCode.Count >= limits.MaxDwarfUnitBytes / 8)
                throw new InvalidDataException("its debug information has too many abbreviations");
            _byCode.TryAdd(code, new DwarfAbbreviation((uint)Math.Min(tag, uint.MaxValue), children, [.. attributes]));
        }
    }

    /// <summary>The shape of a code.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public DwarfAbbreviation this[ulong code] => _byCode.TryGetValue(code, out DwarfAbbreviation? found) ? found : throw new InvalidDataException("an entry of its debug information has no abbreviation");

    /// <summary>Reads a table; where it ends is not known beforehand.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or beyond the limits.</exception>
    public static DwarfAbbreviations Read(DwarfSections sections, ulong offset) => sections.Growing(sections.Abbrev, offset, FirstRead, bytes => new DwarfAbbreviations(bytes, sections.Limits));
}
