using System.Diagnostics;
using System.Text;
using Panacea.Formats;
using Panacea.Formats.Elf;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Memory;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>Makes a repair image from a healthy guest while it runs: reads only, stops nothing.</summary>
/// <remarks>Each table is copied once and checked by its own room. What changes under the reader's eyes is the module list: it is read until two reads agree.</remarks>
public sealed class RepairImageBuilder
{
    private const int IdtBytes = 256 * 16, PageBytes = 4096, MinRunBytes = 1 << 16;
    private readonly TargetLimits _limits;
    private readonly AddressSpace _bootstrapSpace;
    private readonly IReadOnlyList<KernelExtent> _extents;
    private readonly ulong _idtBase;
    private readonly bool _isCapture;
    private readonly List<ImageContainer.Section> _sections = [];
    private readonly List<string> _without = [];

    private RepairImageBuilder(BootstrapResult bootstrap, TargetLimits limits, bool isCapture = false)
    {
        _isCapture = isCapture;
        _bootstrapSpace = bootstrap.Space;
        _extents = bootstrap.Extents;
        _idtBase = bootstrap.IdtBase;
        if (bootstrap.Doubt is { } doubt)
            _without.Add(doubt);
        _limits = limits;
    }

    /// <summary>Builds an image and maps it from <paramref name="cache"/>.</summary>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="vcpus">Control registers of the vCPUs.</param>
    /// <param name="cache">Directory for the unpacked image; created where missing.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="NotLinuxException">No Linux kernel was found, or it has no symbols.</exception>
    public static RepairImage Build(IGuestMemory memory, IReadOnlyList<VcpuControlState> vcpus, string cache, TargetLimits limits) =>
        new RepairImageBuilder(KernelBootstrap.Find(memory, vcpus), limits).Run((meta, sections) => RepairImage.StoreAndMap(meta, sections, cache));

    /// <summary>Builds an image from a dump. What the dump lacks, the image does without, and <see cref="ImageMeta.Without"/> says so. It stays in memory: it is of use for this dump only.</summary>
    /// <param name="capture">The dump.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="NotLinuxException">No Linux kernel was found, or its symbols were left out.</exception>
    public static RepairImage Build(IGuestCapture capture, TargetLimits limits) =>
        new RepairImageBuilder(CaptureBootstrap.Find(capture, limits), limits, isCapture: true).Run(RepairImage.FromSections);

    /// <summary>The image with the modules as they are now. What is known stays as it is: the kernel's own tables, and those of modules that are still the same; only new ones are read.</summary>
    /// <param name="image">The image so far; the new one looks into its memory, and both are to be disposed of.</param>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="cache">Directory for what is new.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="isStill">The guest stands still and waits for this: modules on their way in or out are taken too, and what is new is kept in memory, to be stored by a later refresh.</param>
    /// <exception cref="KernelShapeException">The module list would not hold still or can't be read: the image so far is the best there is.</exception>
    public static RepairImage Refresh(RepairImage image, IGuestMemory memory, string cache, TargetLimits limits, bool isStill = false)
    {
        long started = Stopwatch.GetTimestamp();
        if (!image.Types.IsPresent)
            return image.WithModules([], new Dictionary<uint, uint>(), [], null, started);

        // Modules lie close together, and their names one behind the other: a page is fetched once.
        var reader = new ModuleReader(image.KernelOver(isStill ? new EvidenceMemory(memory) : memory), image, limits, isStill);
        if (!reader.TryRead(image.OrcCount > 0 ? image.Meta.OrcVersion : null))
            throw new KernelShapeException("the module list would not hold still or can't be read");
        return image.WithModules(reader.Modules, reader.Known, reader.Sections, isStill ? null : cache, started);
    }

    /// <summary>There is a module that an image does not know: it came while the image was made, or is on its way in or out, where it can be learned while the guest stands still (<see cref="Refresh"/>).</summary>
    /// <param name="image">The image.</param>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="isStill">The guest stands still.</param>
    /// <returns>False also where the list can't be read.</returns>
    public static bool LacksModule(RepairImage image, IGuestMemory memory, TargetLimits limits, bool isStill)
    {
        try
        {
            // A page is fetched once, above all of the tables by which addresses are translated: it is a walk along all modules, at every crash too, and once a second: a few pages, as a rule.
            HashSet<ulong> known = [.. image.Meta.Modules.Select(m => m.Address)];
            return Modules.States(image.KernelOver(new EvidenceMemory(memory, firstPages: 16)), limits).Any(m => (m.State == 0 || (isStill && m.State is 1 or 2)) && !known.Contains(m.Address));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return false;
        }
    }

    private RepairImage Run(Func<ImageMeta, IReadOnlyList<ImageContainer.Section>, RepairImage> finish)
    {
        long started = Stopwatch.GetTimestamp();
        (SymbolTable symbols, ulong textBase) = ReadSymbols();
        AddSymbols(0, symbols);
        ulong Address(string name) => symbols.TryFindAddress(name, textBase, out ulong a) ? a : 0;

        AddressSpace space = FindKernelRoot(Address("swapper_pg_dir") is var pgd && pgd != 0 ? pgd : Address("init_top_pgt"));
        string? vmcoreInfo = ReadVmcoreInfo(space, Address("vmcoreinfo_data"), Address("vmcoreinfo_size"));
        ulong textStart = Address("_stext") is var stext && stext != 0 ? stext : textBase, textEnd = Address("_etext");
        if (textEnd <= textStart || textEnd - textStart > (ulong)_limits.MaxKernelImageBytes)
            throw new NotLinuxException("the kernel's symbols do not say where its text ends (_etext): the guest can't be understood");

        // Types are the longest piece of work that is left, and need nothing of the rest.
        ulong btfStart = Address("__start_BTF"), btfEnd = Address("__stop_BTF");
        Task<List<ImageContainer.Section>> types = Task.Run(() => ReadBtf(space, btfStart, btfEnd));
        byte[] text;
        List<TextGap> gaps;
        OrcVersion? orcVersion;
        try
        {
            text = ReadText(space, textStart, textEnd, out gaps);
            _sections.Add(new(ImageSection.Text, 0, text));
            orcVersion = AddOrc(space, Address("__start_orc_unwind_ip"), Address("__stop_orc_unwind_ip"), Address("__start_orc_unwind"), Address("__stop_orc_unwind"));
        }
        finally
        {
            // Nobody reads this memory once this is left, by whatever way.
            Task.WaitAny(types);
        }

        if (types.GetAwaiter().GetResult() is { Count: > 0 } btf)
            _sections.AddRange(btf);
        else
            _without.Add("the kernel has no usable BTF: no error return and no health counters; a crash in process context is still quarantined from symbols alone");
        ulong trapTable = _idtBase != 0 ? _idtBase : Address("idt_table");
        if (ReadRange(space, trapTable, unchecked(trapTable + IdtBytes), "trap table") is { } idt)
            _sections.Add(new(ImageSection.TrapTable, 0, idt));

        var meta = new ImageMeta
        {
            Release = "", Banner = ReadString(space, Address("linux_banner")), BuildId = ReadBuildId(space, Address("__start_notes"), Address("__stop_notes")),
            TextBase = textBase, TextStart = textStart, TextEnd = textEnd, RootPhysical = space.Root.Value, PagingLevels = (int)space.Mode,
            EncryptionMask = space.EncryptionMask, TrapTableAddress = trapTable, PerCpuBases = ReadPerCpuBases(space, Address("__per_cpu_offset"), Address("nr_cpu_ids")),
            OrcIpsAddress = Address("__start_orc_unwind_ip"), OrcVersion = orcVersion ?? default, Modules = [], DeathPoints = FindDeathPoints(Address, text, textStart),
            Without = _without, VmcoreInfo = vmcoreInfo, TextGaps = gaps,
        };
        meta = meta with { Release = ReleaseOf(meta.Banner) };
        if (meta.DeathPoints.Count == 0)
            throw new NotLinuxException("the kernel has neither oops_end nor panic among its symbols: there is no place to stop it at");

        // Modules need types and symbols, so they are read through a first image that lacks them.
        meta = AddModules(meta, orcVersion);
        return finish(meta, [.. _sections, RepairImage.BuildTimeSince(started)]);
    }

    private (SymbolTable Table, ulong Base) ReadSymbols()
    {
        // kallsyms lies in read-only data; the extents that are neither written nor executed hold it and the BTF.
        string whyNot = "no read-only data is mapped";
        foreach (KernelExtent extent in _extents.Where(e => !e.Writable && !e.Executable).OrderByDescending(e => e.Length))
        {
            if (extent.Length > (ulong)_limits.MaxKernelImageBytes || extent.Length < MinRunBytes)
                continue;
            foreach ((ulong start, byte[] bytes) in ReadableRuns(_bootstrapSpace, extent))
            {
                if (KallsymsLocator.TryLocate(bytes, start, out KallsymsLayout layout, out whyNot)
                    && KallsymsReader.TryRead(bytes, start, layout, FormatLimits.Default, out SymbolTable table, out ulong textBase, out whyNot))
                    return (table, textBase);
            }
        }

        throw new NotLinuxException(
            $"no kernel symbols were found in the guest ({whyNot}): it is not Linux, is still booting, or was built without CONFIG_KALLSYMS, without which Panacea can't protect it");
    }

    private void AddSymbols(uint owner, SymbolTable table)
    {
        SymbolTableSections s = table.Sections;
        ReadOnlySpan<ReadOnlyMemory<byte>> parts = [s.Header, s.Values, s.Types, s.NameOffsets, s.Names, s.NameIndex];
        for (int i = 0; i < parts.Length; i++)
            _sections.Add(new((ImageSection)((uint)ImageSection.Symbols0 + i), owner, parts[i]));
    }

    private AddressSpace FindKernelRoot(ulong swapper)
    {
        if (swapper == 0 || !_bootstrapSpace.TryTranslate(new VirtualAddress(swapper), out var t, out _))
            throw new NotLinuxException("the kernel's own page tables (swapper_pg_dir) can't be found: the guest can't be understood");
        var space = new AddressSpace(_bootstrapSpace.Memory, t.Physical, _bootstrapSpace.Mode, _bootstrapSpace.EncryptionMask);
        if (!space.TryTranslate(new VirtualAddress(swapper), out var again, out _) || again.Physical != t.Physical)
            throw new NotLinuxException("the kernel's own page tables do not map themselves: the guest can't be understood");
        return space;
    }

    /// <summary>The extent as a whole; where a dump lacks some of it (the gap behind read-only data is freed memory, which a filter leaves out), the longer runs of what is there.</summary>
    private static IEnumerable<(ulong Start, byte[] Bytes)> ReadableRuns(AddressSpace space, KernelExtent extent)
    {
        if (ReadRange(space, extent.Start, extent.End, "read-only data") is { } whole)
        {
            yield return (extent.Start, whole);
            yield break;
        }

        byte[] bytes = new byte[extent.Length];
        int start = 0;
        for (int at = 0; at <= bytes.Length; at += PageBytes)
        {
            if (at < bytes.Length && space.TryRead(new VirtualAddress(extent.Start + (ulong)at), bytes.AsSpan(at, PageBytes), out _))
                continue;
            if (at - start >= MinRunBytes)
                yield return (extent.Start + (ulong)start, bytes[start..at]);
            start = at + PageBytes;
        }
    }

    /// <summary>The kernel's text; pages that a dump lacks are zeros here and named as gaps.</summary>
    private byte[] ReadText(AddressSpace space, ulong start, ulong end, out List<TextGap> gaps)
    {
        gaps = [];
        if (ReadRange(space, start, end, "kernel text") is { } whole)
            return whole;

        // A living guest has all of its code; what can't be read there is not understood, and nothing is repaired on such ground.
        if (!_isCapture)
            throw new NotLinuxException("the kernel's text can't be read as a whole");
        byte[] bytes = new byte[end - start];
        for (ulong at = start; at < end;)
        {
            // Page by page, as the dump has it or not.
            int take = (int)Math.Min(PageBytes - (at % PageBytes), end - at);
            Span<byte> page = bytes.AsSpan((int)(at - start), take);
            if (!space.TryRead(new VirtualAddress(at), page, out _))
            {
                page.Clear();
                if (gaps.Count > 0 && gaps[^1].Start + gaps[^1].Length == at)
                    gaps[^1] = gaps[^1] with { Length = gaps[^1].Length + (ulong)take };
                else
                    gaps.Add(new TextGap(at, (ulong)take));
            }

            at += (ulong)take;
        }

        ulong missing = gaps.Aggregate(0UL, (sum, g) => sum + g.Length);
        if (missing == (ulong)bytes.Length)
            _without.Add("the kernel's code can't be read: nothing can be disassembled");
        else if (missing > 0)
            _without.Add($"{missing / 1024} of {bytes.Length / 1024} KiB of the kernel's code can't be read: nothing there can be disassembled");
        return bytes;
    }

    private static byte[]? ReadRange(AddressSpace space, ulong start, ulong end, string what)
    {
        if (start == 0 || end <= start || end - start > int.MaxValue)
            return null;
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)(end - start));
        return space.TryRead(new VirtualAddress(start), bytes, out _) ? bytes : null;
    }

    private static string ReadString(AddressSpace space, ulong address) =>
        address != 0 && space.TryReadString(new VirtualAddress(address), 1024, out string text, out _) ? text.TrimEnd('\n') : "";

    /// <summary>"Linux version RELEASE (builder) …" (init/version.c).</summary>
    private static string ReleaseOf(string banner)
    {
        string[] words = banner.Split(' ', 4);
        return words.Length > 2 && words[0] == "Linux" && words[1] == "version" ? words[2] : "unknown";
    }

    private static string? ReadVmcoreInfo(AddressSpace space, ulong pointer, ulong size)
    {
        if (pointer == 0 || size == 0 || !space.TryReadUInt64(new VirtualAddress(pointer), out ulong data, out _)
            || !space.TryReadUInt64(new VirtualAddress(size), out ulong length, out _) || length is 0 or > 4096)
            return null;
        byte[]? text = ReadRange(space, data, unchecked(data + length), "VMCOREINFO");
        return text is null ? null : Encoding.UTF8.GetString(text);
    }

    private static string? ReadBuildId(AddressSpace space, ulong start, ulong end) =>
        end > start && end - start <= 1 << 20 && ReadRange(space, start, end, ".notes") is { } notes && ElfNotes.TryFindBuildId(notes, out ReadOnlyMemory<byte> id) ? Convert.ToHexStringLower(id.Span) : null;

    private List<ulong> ReadPerCpuBases(AddressSpace space, ulong table, ulong nrCpuIds)
    {
        var bases = new List<ulong>();
        uint count = nrCpuIds != 0 && space.TryReadUInt32(new VirtualAddress(nrCpuIds), out uint n, out _) ? n : 0;
        if (table == 0 || count == 0 || count > (uint)_limits.MaxCpus)
            return bases;
        for (uint cpu = 0; cpu < count; cpu++)
        {
            if (!space.TryReadUInt64(new VirtualAddress(unchecked(table + (cpu * 8))), out ulong value, out _))
                break;
            bases.Add(value);
        }

        return bases;
    }

    /// <returns>The BTF and its indexes; nothing where there is none that can be used.</returns>
    private List<ImageContainer.Section> ReadBtf(AddressSpace space, ulong start, ulong end)
    {
        byte[]? btf = end > start && end - start <= (ulong)_limits.MaxBtfBytes ? ReadRange(space, start, end, "BTF") : null;
        return btf is not null && TypeCatalog.TryIndex(btf, null, out ReadOnlyMemory<byte> types, out ReadOnlyMemory<byte> names, out _)
            ? [new(ImageSection.Btf, 0, btf), new(ImageSection.BtfTypeIndex, 0, types), new(ImageSection.BtfNameIndex, 0, names)]
            : [];
    }

    private OrcVersion? AddOrc(AddressSpace space, ulong ips, ulong ipsEnd, ulong rows, ulong rowsEnd)
    {
        byte[]? ipBytes = ReadRange(space, ips, ipsEnd, "unwind rows"), rowBytes = ReadRange(space, rows, rowsEnd, "unwind rows");
        OrcVersion format = default;
        string whyNot = "it has none";
        if (ipBytes is null || rowBytes is null || ipBytes.Length / 4 > _limits.MaxOrcRows
            || !OrcFormat.TryDetect(rowBytes, out format, out whyNot)
            || !OrcTable.TryCreate(ipBytes, rowBytes, ips, format, FormatLimits.Default, out _, out whyNot))
        {
            _without.Add($"no ORC unwind data can be used ({whyNot}): stacks are scanned, and there is no error return");
            return null;
        }

        _sections.Add(new(ImageSection.OrcIps, 0, ipBytes));
        _sections.Add(new(ImageSection.OrcRows, 0, rowBytes));
        return format;
    }

    /// <summary>vpanic does the work of panic since 6.17 (commit 3f045de7f557, "panic: Add vpanic()"); where it exists it is the one that every path passes.</summary>
    private static List<DeathPoint> FindDeathPoints(Func<string, ulong> address, byte[] text, ulong textStart)
    {
        var points = new List<DeathPoint>();
        foreach (string symbol in (string[])["oops_end", address("vpanic") != 0 ? "vpanic" : "panic"])
        {
            ulong at = address(symbol);
            if (at < textStart || at - textStart >= (ulong)text.Length)
                continue;
            points.Add(new DeathPoint(symbol, at, Nops.TryLengthOfLeadingNop(text.AsSpan((int)(at - textStart)), out int nop) ? nop : 0));
        }

        return points;
    }

    private ImageMeta AddModules(ImageMeta meta, OrcVersion? orcVersion)
    {
        if (!_sections.Any(s => s.Kind == ImageSection.Btf))
            return meta;
        using RepairImage first = RepairImage.FromSections(meta, _sections);
        LinuxKernel kernel = first.KernelOver(_bootstrapSpace.Memory);
        AddControlFlow(kernel, meta.TextBase);
        var reader = new ModuleReader(kernel, null, _limits, _isCapture);
        if (!reader.TryRead(orcVersion))
            _without.Add("the module list would not hold still or can't be read: module code is unknown until the next refresh");
        _sections.AddRange(reader.Sections);
        return meta with { Modules = reader.Modules };
    }

    /// <summary>The kernel's own jump labels, exception fixups and WARNs (include/asm-generic/vmlinux.lds.h names their bounds).</summary>
    private void AddControlFlow(LinuxKernel kernel, ulong textBase)
    {
        int bug = kernel.Image.Types.TrySizeOf("bug_entry", out int bytes) ? bytes : 0;
        byte[] table = ModuleSections.ControlFlow(
            kernel, Between("__start___jump_table", "__stop___jump_table", 16), Between("__start___ex_table", "__stop___ex_table", 12),
            Between("__start___bug_table", "__stop___bug_table", bug), textBase, _limits);
        _sections.Add(new(ImageSection.ControlFlow, 0, table));

        CountedArray Between(string start, string stop, int element) =>
            element > 0 && kernel.Image.TryFindSymbol(start, out ulong from) && kernel.Image.TryFindSymbol(stop, out ulong to) && to > from
                ? new CountedArray(from, (uint)Math.Min((to - from) / (ulong)element, uint.MaxValue))
                : default;
    }
}
