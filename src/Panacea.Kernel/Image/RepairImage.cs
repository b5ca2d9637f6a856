using System.Buffers.Binary;
using System.Text.Json;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Types;
using Panacea.Target;
using Panacea.Target.Paging;
using Symbol = Panacea.Formats.Kallsyms.Symbol;

namespace Panacea.Kernel.Image;

/// <summary>A place in the kernel's code or data, by name.</summary>
/// <param name="Name">Symbol.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Size">Bytes to the next symbol, 0 where unknown.</param>
/// <param name="Module">Module, or null for the kernel itself.</param>
public sealed record SymbolLocation(string Name, ulong Offset, ulong Size, string? Module)
{
    /// <summary>As the kernel prints it (%pS).</summary>
    public override string ToString() => $"{Name}+0x{Offset:x}/0x{Size:x}{(Module is null ? "" : $" [{Module}]")}";

    /// <summary>As short as it can be: <c>name</c>, <c>name+0x1</c>, with its module: <c>name [module]</c>.</summary>
    public string ToShortString() => $"{Name}{(Offset == 0 ? "" : $"+0x{Offset:x}")}{(Module is null ? "" : $" [{Module}]")}";
}

/// <summary>
/// The repair image: what repair needs when guest memory can no longer be trusted, made from the healthy guest and kept on the host. Symbols, types, unwind rows and
/// text are searched in place in a mapped file; nothing is built at the crash.
/// </summary>
/// <remarks>Immutable and safe for concurrent use. Opened images hold a file mapping until disposed.</remarks>
public sealed class RepairImage : IDisposable, IOrcLookup, ICodeSource
{
    private readonly MappedRegion? _mapping;
    private readonly Dictionary<uint, OwnerTables> _owners = [];
    private readonly ReadOnlyMemory<byte> _text;

    private RepairImage(IReadOnlyList<ImageContainer.Section> sections, string id, MappedRegion? mapping)
    {
        _mapping = mapping;
        Id = id;
        Sections = sections;
        Meta = JsonSerializer.Deserialize(Find(ImageSection.Meta, 0).Span, ImageMetaJson.Default.ImageMeta)
            ?? throw new InvalidDataException("it has no identity");
        Meta.Check();
        _text = Find(ImageSection.Text, 0);
        TrapTable = Find(ImageSection.TrapTable, 0);
        Types = TypeCatalog.Open(
            Find(ImageSection.Btf, 0), Find(ImageSection.BtfTypeIndex, 0), Find(ImageSection.BtfNameIndex, 0));
        _owners[0] = Open(0, Meta.TextBase, Meta.OrcIpsAddress, null);
        foreach (ImageModule module in Meta.Modules)
            _owners[module.Owner] = Open(module.Owner, module.SymbolBase, module.OrcIpsAddress, module);
    }

    private sealed record OwnerTables(
        SymbolTable? Symbols, ulong SymbolBase, OrcTable? Orc, ReadOnlyMemory<byte> Text, TypeCatalog? Types, ControlFlowTable? Flow, ImageModule? Module);

    /// <summary>Content address.</summary>
    public string Id { get; }

    /// <summary>Identity and map.</summary>
    public ImageMeta Meta { get; }

    /// <summary>Types of the kernel proper; empty where it has no BTF.</summary>
    public TypeCatalog Types { get; }

    /// <summary>The trap table as it was, 16 bytes a gate; empty where unknown.</summary>
    public ReadOnlyMemory<byte> TrapTable { get; }

    /// <summary>Microseconds that building took; null where the image does not say.</summary>
    public long? BuildUs => Find(ImageSection.BuildTime, 0).Span is { Length: sizeof(long) } time ? BinaryPrimitives.ReadInt64LittleEndian(time) : null;

    /// <summary>Number of the kernel's own symbols.</summary>
    public int SymbolCount => _owners[0].Symbols?.Count ?? 0;

    /// <summary>Number of the kernel's own unwind rows.</summary>
    public int OrcCount => _owners[0].Orc?.Count ?? 0;

    internal IReadOnlyList<ImageContainer.Section> Sections { get; }

    /// <summary>Bytes of all sections, unpacked.</summary>
    public long UnpackedBytes => Sections.Sum(s => (long)s.Bytes.Length);

    /// <summary>The address space of this kernel over some memory.</summary>
    public AddressSpace SpaceOver(IGuestMemory memory) =>
        new(memory, new PhysicalAddress(Meta.RootPhysical), (PagingMode)Meta.PagingLevels, Meta.EncryptionMask);

    /// <summary>The kernel over some memory.</summary>
    public LinuxKernel KernelOver(IGuestMemory memory) => new(this, SpaceOver(memory));

    /// <summary>The address of a symbol of the kernel proper.</summary>
    public bool TryFindSymbol(string name, out ulong address)
    {
        address = 0;
        return _owners[0].Symbols is { } table && table.TryFindByName(name, out Symbol symbol) && !symbol.IsAbsolute
            && (address = symbol.AddressAt(Meta.TextBase)) != 0;
    }

    /// <summary>The address of a module's symbol.</summary>
    public bool TryFindModuleSymbol(string module, string name, out ulong address)
    {
        address = 0;
        return _owners.Values.FirstOrDefault(o => o.Module?.Name == module) is { Symbols: { } table } owner && table.TryFindByName(name, out Symbol symbol) && !symbol.IsAbsolute
            && (address = symbol.AddressAt(owner.SymbolBase)) != 0;
    }

    /// <summary>The offset of a per-CPU variable from a CPU's base.</summary>
    public bool TryFindPerCpuSymbol(string name, out ulong offset)
    {
        offset = 0;
        if (_owners[0].Symbols is not { } table || !table.TryFindByName(name, out Symbol symbol))
            return false;

        // Zero-based per-CPU symbols are absolute; since 6.15 they are ordinary image addresses (commit 9d7de2aa8b41, "x86/percpu/64: Use relative percpu offsets").
        offset = symbol.AddressAt(Meta.TextBase);
        return true;
    }

    /// <summary>As <see cref="TryFindPerCpuSymbol"/>, or throws <see cref="KernelShapeException"/>.</summary>
    public ulong PerCpuSymbol(string name) =>
        TryFindPerCpuSymbol(name, out ulong offset) ? offset : throw new KernelShapeException($"this kernel has no per-CPU variable {name}");

    /// <summary>Every symbol of a name, modules included, with its address.</summary>
    public IReadOnlyList<(ulong Address, char Type, string? Module)> FindAll(string name)
    {
        var found = new List<(ulong, char, string?)>();
        foreach (OwnerTables owner in _owners.Values)
        {
            if (owner.Symbols is null)
                continue;
            foreach (Symbol symbol in owner.Symbols.FindAllByName(name))
                found.Add((symbol.AddressAt(owner.SymbolBase), symbol.Type, owner.Module?.Name));
        }

        return found;
    }

    /// <summary>All symbols of the kernel proper or of one module, in address order.</summary>
    public IEnumerable<(ulong Address, char Type, string Name)> EnumerateSymbols(string? module = null)
    {
        foreach (OwnerTables owner in _owners.Values)
        {
            if (owner.Symbols is null || owner.Module?.Name != module)
                continue;
            foreach (Symbol symbol in owner.Symbols.Enumerate())
                yield return (symbol.AddressAt(owner.SymbolBase), symbol.Type, owner.Symbols.Name(symbol));
        }
    }

    /// <summary>The symbol that an address belongs to, or null.</summary>
    public SymbolLocation? Symbolize(ulong address)
    {
        OwnerTables? owner = OwnerOf(address);
        return owner?.Symbols is { } table && table.TryFindByAddress(address, owner.SymbolBase, out SymbolHit hit)
            ? new SymbolLocation(table.Name(hit.Symbol), hit.Offset, hit.Size, owner.Module?.Name)
            : null;
    }

    /// <summary>A place as lists print it: the short name of the symbol that it belongs to; the address where no symbol covers it.</summary>
    public string Place(ulong address) => Symbolize(address)?.ToShortString() ?? $"0x{address:x}";

    /// <summary>The function that an address lies in: from its symbol to the next.</summary>
    public bool TryFindFunction(ulong address, out FunctionRange function)
    {
        function = default;
        if (!IsText(address) || Symbolize(address) is not { Size: > 0 } location)
            return false;
        ulong start = unchecked(address - location.Offset);
        function = new FunctionRange(start, unchecked(start + location.Size), location.Name);
        return true;
    }

    /// <summary>True for an address of kernel or module text.</summary>
    public bool IsText(ulong address) =>
        (address >= Meta.TextStart && address < Meta.TextEnd) || (ModuleOf(address)?.Memory.Any(m => m.IsText && unchecked(address - m.Start) < m.Size) ?? false);

    /// <summary>The module whose memory holds an address, or null.</summary>
    public ImageModule? ModuleOf(ulong address)
    {
        foreach (ImageModule module in Meta.Modules)
        {
            if (module.Contains(address))
                return module;
        }

        return null;
    }

    /// <summary>Types as code of that module sees them; the kernel's where the module has none of its own.</summary>
    /// <returns>False where the function belongs to a module without BTF.</returns>
    public bool TryTypesFor(string? module, out TypeCatalog types)
    {
        types = Types;
        if (module is null)
            return Types.IsPresent;
        types = _owners.Values.FirstOrDefault(o => o.Module?.Name == module)?.Types ?? TypeCatalog.Empty;
        return types.IsPresent;
    }

    /// <summary>Jump labels, exception fixups and WARNs of the kernel or of the module that an address belongs to; null where there are none.</summary>
    public ControlFlowTable? ControlFlowAt(ulong address) => OwnerOf(address)?.Flow;

    /// <inheritdoc/>
    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        entry = default;
        return OwnerOf(instruction)?.Orc is { } table && table.TryFind(instruction, out entry);
    }

    /// <summary>Pristine code, as it was when the image was made; false outside text, and where the image lacks it.</summary>
    public bool TryReadCode(ulong address, Span<byte> destination)
    {
        if (address >= Meta.TextStart && address < Meta.TextEnd)
            return !IsGap(address, (ulong)destination.Length) && Copy(_text, address - Meta.TextStart, destination);
        if (ModuleOf(address) is not { } module)
            return false;
        ulong at = 0;
        foreach (Subsystems.ModuleMemory memory in module.Memory)
        {
            if (!memory.IsText)
                continue;
            if (unchecked(address - memory.Start) < memory.Size)
                return Copy(_owners[module.Owner].Text, at + (address - memory.Start), destination);
            at += memory.Size;
        }

        return false;
    }

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
    public void Dispose() => (_mapping as IDisposable)?.Dispose();

    /// <summary>An image over sections in memory: while building.</summary>
    internal static RepairImage FromSections(IReadOnlyList<ImageContainer.Section> sections) => new(sections, "", null);

    /// <summary>Stores sections unpacked in the cache and maps them.</summary>
    internal static RepairImage StoreAndMap(IReadOnlyList<ImageContainer.Section> sections, string cache) => MapAndUnlink(Store(sections, cache));

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
        IReadOnlyList<ImageContainer.Entry> entries;
        using (FileStream stream = File.OpenRead(path))
            entries = ImageContainer.ReadTable(stream, Path.GetFileName(path));
        var mapping = new MappedRegion(path);
        try
        {
            var sections = entries.Select(e => new ImageContainer.Section(
                e.Kind, e.Owner, mapping.Memory.Slice(checked((int)e.Offset), checked((int)e.RawLength)))).ToList();
            return new RepairImage(sections, ImageContainer.ContentId(entries), mapping);
        }
        catch (Exception e)
        {
            ((IDisposable)mapping).Dispose();
            if (e is not (JsonException or ArgumentException or InvalidDataException or OverflowException))
                throw;
            throw new RepairImageException($"{Path.GetFileName(path)} is damaged: {e.Message}; build it again");
        }
    }

    private bool IsGap(ulong address, ulong length)
    {
        foreach (TextGap gap in Meta.TextGaps)
        {
            if (address < gap.Start ? gap.Start - address < length : address - gap.Start < gap.Length)
                return true;
        }

        return false;
    }

    private static bool Copy(ReadOnlyMemory<byte> text, ulong offset, Span<byte> destination)
    {
        if (offset > (ulong)text.Length || (ulong)destination.Length > (ulong)text.Length - offset)
            return false;
        text.Span.Slice((int)offset, destination.Length).CopyTo(destination);
        return true;
    }

    private OwnerTables? OwnerOf(ulong address) =>
        unchecked(address - Meta.TextBase) < (_owners[0].Symbols?.EndOffset ?? 0) ? _owners[0]
        : ModuleOf(address) is { } module ? _owners[module.Owner]
        : null;

    private OwnerTables Open(uint owner, ulong symbolBase, ulong orcIps, ImageModule? module)
    {
        SymbolTable? symbols = null;
        ReadOnlyMemory<byte> header = Find(ImageSection.Symbols0, owner);
        if (!header.IsEmpty)
        {
            var sections = new SymbolTableSections(
                header, Find(ImageSection.Symbols1, owner), Find(ImageSection.Symbols2, owner), Find(ImageSection.Symbols3, owner),
                Find(ImageSection.Symbols4, owner), Find(ImageSection.Symbols5, owner));
            if (!SymbolTable.TryOpen(sections, out symbols, out string whyNot))
                throw new RepairImageException($"the symbols of {module?.Name ?? "the kernel"} can't be used: {whyNot}; build the image again");
        }

        OrcTable? orc = null;
        ReadOnlyMemory<byte> ips = Find(ImageSection.OrcIps, owner);
        if (!ips.IsEmpty && !OrcTable.TryOpen(ips, Find(ImageSection.OrcRows, owner), orcIps, Meta.OrcVersion, out orc, out string why))
            throw new RepairImageException($"the unwind rows of {module?.Name ?? "the kernel"} can't be used: {why}; build the image again");
        TypeCatalog? types = null;
        ReadOnlyMemory<byte> btf = owner == 0 ? default : Find(ImageSection.Btf, owner);
        if (!btf.IsEmpty)
            types = TypeCatalog.Open(btf, Find(ImageSection.BtfTypeIndex, owner), Find(ImageSection.BtfNameIndex, owner), Types);
        ReadOnlyMemory<byte> flow = Find(ImageSection.ControlFlow, owner);
        ControlFlowTable? controlFlow = null;
        if (!flow.IsEmpty && !ControlFlowTable.TryOpen(flow, symbolBase, out controlFlow))
            throw new RepairImageException($"the control flow table of {module?.Name ?? "the kernel"} can't be used; build the image again");
        return new OwnerTables(symbols, symbolBase, orc, Find(ImageSection.Text, owner), types, controlFlow, module);
    }

    private ReadOnlyMemory<byte> Find(ImageSection kind, uint owner)
    {
        foreach (ImageContainer.Section section in Sections)
        {
            if (section.Kind == kind && section.Owner == owner)
                return section.Bytes;
        }

        return default;
    }
}
