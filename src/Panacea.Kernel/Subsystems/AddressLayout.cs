using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>The parts of a kernel's address space (Documentation/arch/x86/x86_64/mm.rst).</summary>
public enum AddressRegion
{
    /// <summary>Bits 63:47 (63:56 with five levels) are not all equal.</summary>
    NonCanonical,
    /// <summary>The user half.</summary>
    User,
    /// <summary>Kept free for the hypervisor.</summary>
    GuardHole,
    /// <summary>The LDT of the running process, under page-table isolation.</summary>
    LdtRemap,
    /// <summary>The direct map of physical memory, up to the end of RAM.</summary>
    DirectMap,
    /// <summary>Room of the direct map past the end of RAM.</summary>
    DirectMapBeyondRam,
    /// <summary>vmalloc, vmap and ioremap; stacks of tasks with CONFIG_VMAP_STACK.</summary>
    Vmalloc,
    /// <summary>The array of struct page.</summary>
    Vmemmap,
    /// <summary>KASAN's shadow memory.</summary>
    KasanShadow,
    /// <summary>Per-CPU entry areas: GDT, TSS, entry and exception stacks.</summary>
    CpuEntryArea,
    /// <summary>%esp fixup stacks.</summary>
    Espfix,
    /// <summary>EFI run-time services.</summary>
    Efi,
    /// <summary>Code of the kernel.</summary>
    KernelText,
    /// <summary>Read-only data of the kernel.</summary>
    KernelRodata,
    /// <summary>Initialised data of the kernel.</summary>
    KernelData,
    /// <summary>Zeroed data of the kernel.</summary>
    KernelBss,
    /// <summary>Code and data for booting; freed when the kernel is up.</summary>
    KernelInit,
    /// <summary>Between the kernel's first and last byte, in none of its known parts.</summary>
    KernelImage,
    /// <summary>The area in which the image lies, outside of it.</summary>
    KernelImageArea,
    /// <summary>Modules.</summary>
    Modules,
    /// <summary>Fixmap.</summary>
    Fixmap,
    /// <summary>The vsyscall page.</summary>
    Vsyscall,
    /// <summary>Never mapped.</summary>
    Hole,
}

/// <summary>Where the regions of this boot lie. With CONFIG_RANDOMIZE_MEMORY the first three bases are variables (arch/x86/mm/kaslr.c), else constants of
/// arch/x86/include/asm/pgtable_64_types.h; the kernel's own parts come from its symbols.</summary>
public sealed record AddressLayout
{
    private const ulong KernelMapStart = 0xffff_ffff_8000_0000, ModulesStart = 0xffff_ffff_c000_0000, ModulesEnd = 0xffff_ffff_ff00_0000;
    private const ulong Vsyscall = 0xffff_ffff_ff60_0000, FixmapEnd = 0xffff_ffff_ff80_0000;
    private const ulong KasanEnd = 0xffff_fc00_0000_0000;

    /// <summary>Widest struct page and most memory that x86-64 has: bounds for products of hostile numbers (MAX_PHYSMEM_BITS is 52).</summary>
    private const ulong MaxFrames = 1UL << 40;

    private readonly IReadOnlyList<(ulong Start, ulong End, AddressRegion Region)> _image;

    private AddressLayout(IReadOnlyList<(ulong, ulong, AddressRegion)> image) => _image = image;

    /// <summary>Bits of a linear address: 48, or 57 with five-level paging.</summary>
    public required int LinearBits { get; init; }

    /// <summary>Where guest-physical 0 is mapped (page_offset_base).</summary>
    public required ulong PageOffset { get; init; }

    /// <summary>Frames of 4 KiB up to the end of RAM (max_pfn).</summary>
    public required ulong MaxFrame { get; init; }

    /// <summary>First address of vmalloc (vmalloc_base).</summary>
    public required ulong VmallocStart { get; init; }

    /// <summary>First address past vmalloc.</summary>
    public required ulong VmallocEnd { get; init; }

    /// <summary>The struct page of frame 0 (vmemmap_base).</summary>
    public required ulong VmemmapStart { get; init; }

    /// <summary>sizeof(struct page), 0 where BTF does not say.</summary>
    public required ulong PageStructBytes { get; init; }

    /// <summary>First address of KASAN's shadow, 0 where the kernel has no KASAN.</summary>
    public required ulong KasanStart { get; init; }

    /// <summary>First address past the direct map of RAM.</summary>
    public ulong DirectMapEnd => unchecked(PageOffset + (MaxFrame * KernelReads.PageSize));

    /// <summary>First address past the struct page of the last frame.</summary>
    public ulong VmemmapEnd => unchecked(VmemmapStart + (MaxFrame * PageStructBytes));

    /// <summary>Reads the bases of this boot.</summary>
    /// <exception cref="KernelShapeException">They contradict each other.</exception>
    public static AddressLayout Read(LinuxKernel kernel)
    {
        bool five = kernel.Image.Meta.PagingLevels == 5;

        // __PAGE_OFFSET_BASE_L4/L5, __VMALLOC_BASE_L4/L5, __VMEMMAP_BASE_L4/L5, VMALLOC_SIZE_TB_L4/L5.
        ulong pageOffset = kernel.TryReadVariable("page_offset_base") ?? (five ? 0xff11_0000_0000_0000 : 0xffff_8880_0000_0000);
        ulong vmalloc = kernel.TryReadVariable("vmalloc_base") ?? (five ? 0xffa0_0000_0000_0000 : 0xffff_c900_0000_0000);
        ulong vmemmap = kernel.TryReadVariable("vmemmap_base") ?? (five ? 0xffd4_0000_0000_0000 : 0xffff_ea00_0000_0000);
        ulong ranges = 0;
        foreach (PhysicalRange range in kernel.Space.Memory.Ranges)
            ranges = Math.Max(ranges, unchecked(range.Start.Value + range.Length));
        ulong frames = kernel.TryReadVariable("max_pfn") ?? ranges / KernelReads.PageSize;
        int half = five ? 57 : 48;
        if (!IsCanonicalKernel(pageOffset, half) || !IsCanonicalKernel(vmalloc, half) || !IsCanonicalKernel(vmemmap, half) || pageOffset >= vmalloc || vmalloc >= vmemmap)
            throw new KernelShapeException($"the kernel says that its direct map is at 0x{pageOffset:x}, vmalloc at 0x{vmalloc:x}, vmemmap at 0x{vmemmap:x}");
        return new AddressLayout(ImageParts(kernel))
        {
            LinearBits = half,
            PageOffset = pageOffset,
            MaxFrame = Math.Min(Math.Min(frames, MaxFrames), (vmalloc - pageOffset) / KernelReads.PageSize),
            VmallocStart = vmalloc,
            VmallocEnd = Math.Min(unchecked(vmalloc + ((five ? 12800UL : 32UL) << 40)), vmemmap),
            VmemmapStart = vmemmap,
            PageStructBytes = kernel.Image.Types.TrySizeOf("page", out int bytes) && bytes is > 0 and <= 256 ? (ulong)bytes : 0,

            // KASAN_SHADOW_START: KASAN_SHADOW_OFFSET plus an eighth of where the kernel half begins.
            KasanStart = !kernel.HasSymbol("kasan_early_shadow_page") ? 0 : five ? 0xffdf_0000_0000_0000 : 0xffff_ec00_0000_0000,
        };
    }

    /// <summary>The region that an address lies in, from the address alone.</summary>
    public AddressRegion RegionOf(ulong address)
    {
        int shift = 64 - LinearBits;
        if (unchecked((ulong)((long)(address << shift) >> shift)) != address)
            return AddressRegion.NonCanonical;
        if (address >> 63 == 0)
            return AddressRegion.User;
        if (address >= KernelMapStart)
            return OfKernelMap(address);
        if (address >= PageOffset && address < VmallocStart)
            return address < DirectMapEnd ? AddressRegion.DirectMap : AddressRegion.DirectMapBeyondRam;
        if (address >= VmallocStart && address < VmallocEnd)
            return AddressRegion.Vmalloc;
        if (address >= VmemmapStart && address < VmemmapEnd)
            return AddressRegion.Vmemmap;
        if (KasanStart != 0 && address >= KasanStart && address < KasanEnd)
            return AddressRegion.KasanShadow;

        // The four- and five-level maps are the same from the CPU entry area on; below, the LDT has the slot before the direct map (LDT_PGD_ENTRY -240).
        return address switch
        {
            >= 0xffff_fe00_0000_0000 and < 0xffff_fe80_0000_0000 => AddressRegion.CpuEntryArea,
            >= 0xffff_ff00_0000_0000 and < 0xffff_ff80_0000_0000 => AddressRegion.Espfix,
            >= 0xffff_ffef_0000_0000 and < 0xffff_ffff_0000_0000 => AddressRegion.Efi,
            >= 0xffff_8000_0000_0000 and < 0xffff_8800_0000_0000 when LinearBits == 48 => AddressRegion.GuardHole,
            >= 0xff00_0000_0000_0000 and < 0xff10_0000_0000_0000 when LinearBits == 57 => AddressRegion.GuardHole,
            >= 0xffff_8800_0000_0000 and < 0xffff_8880_0000_0000 when LinearBits == 48 => AddressRegion.LdtRemap,
            >= 0xff10_0000_0000_0000 and < 0xff11_0000_0000_0000 when LinearBits == 57 => AddressRegion.LdtRemap,
            _ => AddressRegion.Hole,
        };
    }

    /// <summary>The guest-physical address behind an address of the direct map.</summary>
    public bool TryDirectToPhysical(ulong address, out PhysicalAddress physical)
    {
        physical = new PhysicalAddress(unchecked(address - PageOffset));
        return address >= PageOffset && address < DirectMapEnd;
    }

    /// <summary>Where guest-physical memory is mapped.</summary>
    public ulong Direct(PhysicalAddress physical) => unchecked(PageOffset + physical.Value);

    /// <summary>Guest-virtual address of the struct page of a frame.</summary>
    public ulong PageOf(ulong frame) => unchecked(VmemmapStart + (frame * PageStructBytes));

    /// <summary>The frame that a struct page stands for.</summary>
    /// <returns>False where the address is no element of the array.</returns>
    public bool TryFrameOf(ulong page, out ulong frame)
    {
        frame = 0;
        if (PageStructBytes == 0 || page < VmemmapStart || page >= VmemmapEnd || (page - VmemmapStart) % PageStructBytes != 0)
            return false;
        frame = (page - VmemmapStart) / PageStructBytes;
        return true;
    }

    /// <summary>The struct page of the first page of the compound page that a page belongs to.</summary>
    /// <param name="page">Its struct page.</param>
    /// <param name="link">Its word compound_head, or since 7.1 compound_info ("mm: rename the 'compound_head' field in the 'struct page' to 'compound_info'").</param>
    /// <returns>False where there is none such before it.</returns>
    /// <remarks>The lowest bit marks a part of a compound page (since 4.4, commit 1d798ca3f164). The rest is the address of the first page's struct page, or, where the vmemmap of huge pages is shared and
    /// struct page is a power of two, the mask that leads there ("mm: rework compound_head() for power-of-2 sizeof(struct page)"): no mask lies in vmemmap.</remarks>
    public bool TryHeadOf(ulong page, ulong link, out ulong head)
    {
        head = page;
        if ((link & 1) == 0)
            return TryFrameOf(page, out _);
        ulong named = link & ~1UL;
        if (!TryFrameOf(named, out _) && (~named & unchecked(~named + 1)) == 0 && ~named >= PageStructBytes)
            named &= page;
        if (!TryFrameOf(named, out _) || named > page)
            return false;
        head = named;
        return true;
    }

    private static bool IsCanonicalKernel(ulong address, int bits) => unchecked((long)address >> (bits - 1)) == -1;

    private static List<(ulong, ulong, AddressRegion)> ImageParts(LinuxKernel kernel)
    {
        var parts = new List<(ulong, ulong, AddressRegion)> { (kernel.Image.Meta.TextBase, kernel.Image.Meta.TextEnd, AddressRegion.KernelText) };
        Add("__start_rodata", "__end_rodata", AddressRegion.KernelRodata);
        Add("__init_begin", "__init_end", AddressRegion.KernelInit);
        Add("_sdata", "_edata", AddressRegion.KernelData);
        Add("__bss_start", "__bss_stop", AddressRegion.KernelBss);
        Add("_text", "_end", AddressRegion.KernelImage);
        return parts;

        void Add(string first, string end, AddressRegion region)
        {
            if (kernel.Image.TryFindSymbol(first, out ulong from) && kernel.Image.TryFindSymbol(end, out ulong to) && from < to)
                parts.Add((from, to, region));
        }
    }

    private AddressRegion OfKernelMap(ulong address)
    {
        foreach ((ulong start, ulong end, AddressRegion region) in _image)
        {
            if (address >= start && address < end)
                return region;
        }

        return address switch
        {
            < ModulesStart => AddressRegion.KernelImageArea,
            < ModulesEnd => AddressRegion.Modules,
            >= Vsyscall and < Vsyscall + KernelReads.PageSize => AddressRegion.Vsyscall,
            < FixmapEnd => AddressRegion.Fixmap,
            _ => AddressRegion.Hole,
        };
    }
}
