using System.Text;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;

namespace Panacea.Formats.Dwarf;

/// <summary>
/// An ELF object with debug information: a kernel, a module, or the debug information of either alone. Says which line of source an address comes of, and what is inlined there. Only the
/// units that are asked for are parsed; everything is read by position. Not safe for concurrent use.
/// </summary>
/// <remarks>
/// Own code and no library: LibObjectFile 2.3.1 refused the DWARF 5 line table of a module (kernels are built with DWARF 5) and failed on the padded LEB128 of an abbreviation in 6.12's
/// vmlinux.
/// </remarks>
public sealed class DebugFile : IDisposable
{
    private const int MostTextBytes = 4096;

    /// <summary>Bytes of parsed units that are kept: the next address is often of the same one.</summary>
    private const long MostHeld = 96 << 20;

    private readonly ElfObject _elf;
    private readonly FormatLimits _limits;
    private readonly DwarfSections _sections;
    private readonly DwarfUnitIndex _index;
    private readonly Dictionary<ulong, (DwarfUnit? Unit, DwarfLineTable? Lines)> _units = [];
    private long _held;

    private DebugFile(ElfObject elf, ElfSymbols symbols, FormatLimits limits)
    {
        (_elf, Symbols, _limits) = (elf, symbols, limits);
        _sections = new DwarfSections(elf, symbols, limits);
        _index = new DwarfUnitIndex(_sections);
        BuildId = ReadBuildId();
    }

    /// <summary>GNU build id, lower-case hex; null where it has none.</summary>
    public string? BuildId { get; }

    /// <summary>It is a module (ET_REL): addresses are those that <see cref="ElfSection.Address"/> gives out.</summary>
    public bool IsRelocatable => _elf.Type == ElfObjectType.Relocatable;

    /// <summary>It has debug information, and not symbols alone.</summary>
    public bool HasDebugInformation => _elf.Find(".debug_info") is { IsEmpty: false } && _elf.Find(".debug_line") is { IsEmpty: false };

    /// <summary>Its symbols.</summary>
    public ElfSymbols Symbols { get; }

    /// <summary>Opens an object.</summary>
    /// <param name="file">The file; stays the caller's.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="debug">The result.</param>
    /// <param name="whyNot">Why it can't be used, where the result is false.</param>
    public static bool TryOpen(IDumpBytes file, FormatLimits limits, out DebugFile debug, out string whyNot)
    {
        debug = null!;
        if (!ElfObject.TryRead(file, limits, out ElfObject elf, out whyNot))
            return false;
        try
        {
            debug = new DebugFile(elf, ElfSymbols.Read(elf, limits), limits);
            return true;
        }
        catch (Exception e) when (IsDamage(e))
        {
            whyNot = Sentence(e);
            return false;
        }
    }

    /// <summary>The build id of an object, and nothing else of it.</summary>
    /// <param name="file">The file.</param>
    /// <param name="limits">Ceilings.</param>
    /// <returns>Lower-case hex; null where it is no object or has none.</returns>
    public static string? BuildIdOf(IDumpBytes file, FormatLimits limits) => ElfObject.TryRead(file, limits, out ElfObject elf, out _) ? ReadBuildId(elf, limits) : null;

    /// <summary>The line and the inlined functions of an address.</summary>
    /// <param name="address">As the object was linked; of a module, as <see cref="ElfSection.Address"/> counts.</param>
    /// <param name="place">The result.</param>
    /// <param name="whyNot">Why there is none, where the result is false.</param>
    public bool TryLocate(ulong address, out SourcePlace place, out string whyNot)
    {
        place = null!;
        whyNot = "no unit of its debug information covers the address";
        try
        {
            _sections.Begin();
            foreach (ulong offset in _index.Find(address))
            {
                (DwarfUnit? unit, DwarfLineTable? lines) = UnitAt(offset);
                if (unit is not null && Locate(unit, lines, address) is { } found)
                {
                    place = found;
                    return true;
                }
            }
        }
        catch (Exception e) when (IsDamage(e))
        {
            whyNot = Sentence(e);
        }

        return false;
    }

    /// <summary>The text that a symbol of the kernel's data holds, such as <c>linux_banner</c>; null where the file does not have it.</summary>
    public string? TextAt(string symbol)
    {
        if (Symbols.Find(symbol) is not [var found, ..]
            || _elf.Sections.FirstOrDefault(s => s.IsLoaded && !s.IsEmpty && unchecked(found.Address - s.Address) < s.Size) is not { } section)
            return null;
        try
        {
            return SectionBytes.Open(_elf, section, null, _limits).ReadString(found.Address - section.Address, MostTextBytes);
        }
        catch (Exception e) when (IsDamage(e))
        {
            return null;
        }
    }

    /// <summary>The kernel release that a module was built for: the first word of <c>vermagic=</c> in .modinfo; null where the file does not have it.</summary>
    public string? ModuleRelease()
    {
        const string key = "vermagic=";
        try
        {
            if (_elf.Find(".modinfo") is not { IsEmpty: false } section || section.Size > (ulong)_limits.MaxNoteBytes)
                return null;
            string text = Encoding.UTF8.GetString(SectionBytes.Open(_elf, section, null, _limits).Read(0, (int)section.Size));
            return text.Split('\0').FirstOrDefault(t => t.StartsWith(key, StringComparison.Ordinal))?[key.Length..].Split(' ')[0];
        }
        catch (Exception e) when (IsDamage(e))
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _sections.Dispose();

    private static bool IsDamage(Exception e) => e is InvalidDataException or OverflowException or IOException or UnauthorizedAccessException;

    private static string Sentence(Exception e) => e is OverflowException ? "its debug information has numbers that make no sense" : e.Message.TrimEnd('.');

    private SourcePlace? Locate(DwarfUnit unit, DwarfLineTable? lines, ulong address)
    {
        List<DwarfScope> scopes = DwarfScopes.Find(unit, address);
        SourceLine? innermost = lines is not null && lines.TryFind(address, out int file, out int line) ? Line(unit, lines, (ulong)file, line) : null;
        if (scopes.Count == 0 && innermost is null)
            return null;

        // Each function stands at the line at which it calls what is inlined in it; the innermost at the address's own.
        var inlined = new List<InlinedCall>();
        for (int i = scopes.Count - 1; i > 0; i--)
            inlined.Add(new InlinedCall(unit.NameOf(scopes[i].Entry, UnitHolding), LineOf(i)));
        return new SourcePlace(scopes.Count > 0 ? unit.NameOf(scopes[0].Entry, UnitHolding) : null, scopes.Count > 0 ? LineOf(0) : innermost, inlined, unit.Directory);

        SourceLine? LineOf(int i) => i == scopes.Count - 1 ? innermost
            : lines is not null && scopes[i + 1].CallLine <= int.MaxValue ? Line(unit, lines, scopes[i + 1].CallFile, (int)scopes[i + 1].CallLine) : null;
    }

    private static SourceLine? Line(DwarfUnit unit, DwarfLineTable lines, ulong file, int line) =>
        lines.FileName(file) is { Length: > 0 } name ? new SourceLine(SourcePaths.Tidy(name, unit.Directory), line) : null;

    private DwarfUnit? UnitHolding(ulong offset) => _index.Containing(offset) is { } start ? UnitAt(start).Unit : null;

    private (DwarfUnit? Unit, DwarfLineTable? Lines) UnitAt(ulong offset)
    {
        if (_units.TryGetValue(offset, out (DwarfUnit? Unit, DwarfLineTable? Lines) known))
            return known;
        DwarfUnit? unit = DwarfUnit.Read(_sections, offset);
        DwarfLineTable? lines = unit?.Lines is { } at ? DwarfLineTable.Read(unit, at) : null;
        _held += (unit?.Held ?? 0) + (lines?.Held ?? 0);
        if (_held > MostHeld)
        {
            _units.Clear();
            _held = (unit?.Held ?? 0) + (lines?.Held ?? 0);
        }

        return _units[offset] = (unit, lines);
    }

    private string? ReadBuildId() => ReadBuildId(_elf, _limits);

    private static string? ReadBuildId(ElfObject elf, FormatLimits limits)
    {
        foreach (ElfSection section in elf.Sections.Where(s => s is { Type: ElfSection.Note, IsCompressed: false }))
        {
            try
            {
                if (section.Size <= (ulong)limits.MaxNoteBytes && ElfNotes.TryFindBuildId(SectionBytes.Open(elf, section, null, limits).Read(0, (int)section.Size), out ReadOnlyMemory<byte> id))
                    return Convert.ToHexStringLower(id.Span);
            }
            catch (InvalidDataException)
            {
                // A note that lies outside the file is no note.
            }
        }

        return null;
    }
}
