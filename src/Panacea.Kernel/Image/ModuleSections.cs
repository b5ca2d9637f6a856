using System.Buffers.Binary;
using Panacea.Formats;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>Reads what a repair image keeps of one module. A table that can't be read or understood is left out: the module is then known by less, never by a guess.</summary>
/// <param name="kernel">The kernel.</param>
/// <param name="btfs">Where modules have their types (<see cref="FindTypes"/>).</param>
/// <param name="limits">Ceilings.</param>
internal sealed class ModuleSections(LinuxKernel kernel, IReadOnlyDictionary<ulong, ulong> btfs, TargetLimits limits)
{
    private const int SymbolSize = 24;

    /// <returns>The address that the module's symbol table counts from, 0 where it has none.</returns>
    public ulong AddTo(List<ImageContainer.Section> sections, uint owner, LinuxModule module, OrcVersion? orcVersion)
    {
        if (ReadText(module) is { } text)
            sections.Add(new(ImageSection.Text, owner, text));
        if (TryReadSymbols(module, out SymbolTable? symbols, out ulong symbolBase))
        {
            SymbolTableSections s = symbols!.Sections;
            ReadOnlySpan<ReadOnlyMemory<byte>> parts = [s.Header, s.Values, s.Types, s.NameOffsets, s.Names, s.NameIndex];
            for (int i = 0; i < parts.Length; i++)
                sections.Add(new((ImageSection)((uint)ImageSection.Symbols0 + i), owner, parts[i]));
        }

        ModuleTables t = module.Tables;
        if (orcVersion is { } format && t.OrcCount > 0 && t.OrcCount <= (uint)limits.MaxOrcRows
            && Read(t.OrcIps, t.OrcCount * 4L) is { } ips && Read(t.OrcRows, t.OrcCount * 6L) is { } rows
            && OrcTable.TryCreate(ips, rows, t.OrcIps, format, FormatLimits.Default, out _, out _))
        {
            sections.Add(new(ImageSection.OrcIps, owner, ips));
            sections.Add(new(ImageSection.OrcRows, owner, rows));
        }

        sections.Add(new(ImageSection.ControlFlow, owner, ControlFlow(kernel, t.Jumps, t.Exceptions, t.Bugs, module.Memory.Min(m => m.Start), limits)));
        if (ReadBtf(module) is { } btf && TypeCatalog.TryIndex(btf, kernel.Image.Types, out var types, out var names, out _))
        {
            sections.Add(new(ImageSection.Btf, owner, btf));
            sections.Add(new(ImageSection.BtfTypeIndex, owner, types));
            sections.Add(new(ImageSection.BtfNameIndex, owner, names));
        }

        return symbolBase;
    }

    /// <summary>Jump labels, exception fixups and WARNs of the kernel or of one module; what can't be read is left out.</summary>
    public static byte[] ControlFlow(LinuxKernel kernel, CountedArray jumps, CountedArray exceptions, CountedArray bugs, ulong baseAddress, TargetLimits limits)
    {
        BugEntryLayout layout = kernel.Image.Types.TrySizeOf("bug_entry", out int size) && kernel.Image.Types.TryMember("bug_entry.flags", out MemberInfo flags)
            ? new BugEntryLayout(size, flags.ByteOffset)
            : default;
        return ControlFlowTable.Build(Table(jumps, 16), Table(exceptions, 12), Table(bugs, layout.Size), layout, baseAddress);

        KernelTable Table(CountedArray array, int element)
        {
            long length = (long)array.Count * element;
            if (array.Address == 0 || length <= 0 || length > limits.MaxModuleBytes)
                return default;
            byte[] bytes = new byte[length];
            return kernel.Space.TryRead(new VirtualAddress(array.Address), bytes, out _) ? new KernelTable(array.Address, bytes) : default;
        }
    }

    private byte[]? Read(ulong address, long length)
    {
        if (address == 0 || length <= 0 || length > limits.MaxModuleBytes)
            return null;
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)length);
        return kernel.Space.TryRead(new VirtualAddress(address), bytes, out _) ? bytes : null;
    }

    private byte[]? ReadText(LinuxModule module)
    {
        var parts = new List<byte>();
        foreach (ModuleMemory memory in module.Memory.Where(m => m.IsText))
        {
            if (Read(memory.Start, (long)memory.Size) is not { } part)
                return null;
            parts.AddRange(part);
        }

        return parts.Count == 0 ? null : [.. parts];
    }

    /// <summary>The module's own symbols (struct mod_kallsyms: Elf64_Sym array, names, and since 5.2 one nm letter a symbol).</summary>
    private bool TryReadSymbols(LinuxModule module, out SymbolTable? table, out ulong tableBase)
    {
        (table, tableBase) = (null, 0);
        ModuleTables t = module.Tables;
        if (t.SymbolCount == 0 || t.SymbolCount > (uint)limits.MaxSymbols || Read(t.Symtab, t.SymbolCount * (long)SymbolSize) is not { } symtab)
            return false;
        byte[]? types = t.Typetab == 0 ? null : Read(t.Typetab, t.SymbolCount);
        ulong end = module.Memory.Max(m => m.Start + m.Size);
        var builder = new SymbolTableBuilder();
        for (int i = 0; i < t.SymbolCount; i++)
        {
            ReadOnlySpan<byte> symbol = symtab.AsSpan(i * SymbolSize, SymbolSize);
            uint name = BinaryPrimitives.ReadUInt32LittleEndian(symbol);
            ushort section = BinaryPrimitives.ReadUInt16LittleEndian(symbol[6..]);
            ulong value = BinaryPrimitives.ReadUInt64LittleEndian(symbol[8..]);
            char type = types is null ? ((symbol[4] & 0xf) == 2 ? 't' : 'd') : (char)types[i];

            // SHN_UNDEF: the module uses it, another one has it. What lies outside the module's memory (per-CPU, absolute) can't be looked up by address.
            if (section == 0 || !module.Contains(value))
                continue;
            if (kernel.Space.TryReadString(new VirtualAddress(unchecked(t.Strtab + name)), 512, out string text, out _) && text.Length > 0)
                builder.Add(value, type, text);
        }

        return builder.TryBuild(end, out table, out tableBase, out _);
    }

    /// <summary>The struct btf of each module that has types, by the address of its struct module: the list btf_modules (kernel/bpf/btf.c, since 5.11). What can't be read is left out.</summary>
    public static IReadOnlyDictionary<ulong, ulong> FindTypes(LinuxKernel kernel, TargetLimits limits)
    {
        var found = new Dictionary<ulong, ulong>();
        try
        {
            if (!kernel.HasSymbol("btf_modules") || !kernel.HasMember("btf_module.module") || !kernel.HasMember("btf.data"))
                return found;
            ulong head = kernel.Symbol("btf_modules"), link = kernel.Offset("btf_module.list");
            int steps = 0;
            for (ulong node = kernel.ReadU64(head, "btf_modules"); node != head && steps++ < limits.MaxModules; node = kernel.ReadU64(node, "btf_module.list"))
            {
                ulong entry = unchecked(node - link);
                found.TryAdd(kernel.Read(entry, "btf_module.module"), kernel.Read(entry, "btf_module.btf"));
            }
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            // Those that were found are still theirs.
        }

        return found;
    }

    private byte[]? ReadBtf(LinuxModule module)
    {
        try
        {
            return btfs.TryGetValue(module.Address, out ulong btf) ? Read(kernel.Read(btf, "btf.data"), (long)Math.Min(kernel.Read(btf, "btf.data_size"), (ulong)limits.MaxBtfBytes)) : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return null;
        }
    }
}
