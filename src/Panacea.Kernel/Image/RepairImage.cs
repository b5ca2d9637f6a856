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
public sealed partial class RepairImage : IDisposable, IOrcLookup, ICodeSource
{
    private readonly Dictionary<uint, OwnerTables> _owners = [];
    private readonly Dictionary<uint, List<ImageContainer.Section>> _byOwner = [];
    private readonly IReadOnlyList<MappedRegion> _regions;
    private readonly ReadOnlyMemory<byte> _text;
    private readonly ModuleMap _modules;
    private IReadOnlyList<ImageContainer.Section>? _sections;
    private string? _id;
    private int _isDisposed;

    private RepairImage(ImageMeta? meta, IReadOnlyList<ImageContainer.Section> sections, MappedRegion? mapping)
    {
        _regions = mapping is null ? [] : [mapping];
        foreach (ImageContainer.Section section in sections)
            Add(section);
        if (meta is null)
        {
            _sections = sections;
            meta = JsonSerializer.Deserialize(Find(ImageSection.Meta, 0).Span, ImageMetaJson.Default.ImageMeta) ?? throw new InvalidDataException("it has no identity");
        }

        Meta = meta;
        Meta.Check();
        _modules = new ModuleMap(Meta.Modules);
        _text = Find(ImageSection.Text, 0);
        TrapTable = Find(ImageSection.TrapTable, 0);
        Types = TypeCatalog.Open(
            Find(ImageSection.Btf, 0), Find(ImageSection.BtfTypeIndex, 0), Find(ImageSection.BtfNameIndex, 0));
        _owners[0] = Open(0, Meta.TextBase, Meta.OrcIpsAddress, null);
        foreach (ImageModule module in Meta.Modules)
            _owners[module.Owner] = Open(module.Owner, module.SymbolBase, module.OrcIpsAddress, module);
    }

    /// <summary>The same kernel with other modules.</summary>
    private RepairImage(
        RepairImage previous, IReadOnlyList<ImageModule> modules, IReadOnlyDictionary<uint, uint> known, IEnumerable<ImageContainer.Section> sections, IReadOnlyList<MappedRegion> regions)
    {
        _regions = regions;
        foreach (ImageContainer.Section section in sections)
            Add(section);
        Meta = previous.Meta with { Modules = modules };
        Meta.Check();
        _modules = new ModuleMap(modules);
        (_text, TrapTable, Types) = (previous._text, previous.TrapTable, previous.Types);
        _owners[0] = previous._owners[0];
        foreach (ImageModule module in modules)
        {
            _owners[module.Owner] = known.TryGetValue(module.Owner, out uint before)
                ? previous._owners[before] with { Module = module }
                : Open(module.Owner, module.SymbolBase, module.OrcIpsAddress, module);
        }
    }

    private sealed record OwnerTables(
        SymbolTable? Symbols, ulong SymbolBase, OrcTable? Orc, ReadOnlyMemory<byte> Text, TypeCatalog? Types, ControlFlowTable? Flow, ImageModule? Module);

    /// <summary>Content address.</summary>
    public string Id => _id ??= ImageContainer.ContentId(Sections);

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

    /// <summary>All sections, in the order of the file. Where the image was made from another one, what says of its modules is put into words when it is asked for.</summary>
    internal IReadOnlyList<ImageContainer.Section> Sections => _sections ??= [SectionOf(Meta), .. _byOwner.Values.SelectMany(s => s)];

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
        (address >= Meta.TextStart && address < Meta.TextEnd) || (_modules.TryFind(address, out _, out Subsystems.ModuleMemory memory) && memory.IsText);

    /// <summary>The module whose memory holds an address, or null.</summary>
    public ImageModule? ModuleOf(ulong address) => _modules.TryFind(address, out ImageModule? module, out _) ? module : null;

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

    private void Add(ImageContainer.Section section)
    {
        if (!_byOwner.TryGetValue(section.Owner, out List<ImageContainer.Section>? sections))
            _byOwner.Add(section.Owner, sections = new List<ImageContainer.Section>(16));
        sections.Add(section);
    }

    private ReadOnlyMemory<byte> Find(ImageSection kind, uint owner)
    {
        if (!_byOwner.TryGetValue(owner, out List<ImageContainer.Section>? sections))
            return default;
        foreach (ImageContainer.Section section in sections)
        {
            if (section.Kind == kind)
                return section.Bytes;
        }

        return default;
    }
}
