using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>A struct page as it was at one moment: read at once, so that its members fit together.</summary>
/// <param name="Address">Its guest-virtual address.</param>
/// <param name="Flags">page.flags.</param>
/// <param name="Type">page.page_type.</param>
/// <param name="References">page._refcount.</param>
/// <param name="Private">page.private: of a free block its order.</param>
/// <param name="Link">The word that is compound_head of a part of a compound page, and the first link of a page on a list.</param>
/// <param name="Next">Where its list goes on.</param>
/// <param name="Previous">Where its list comes from.</param>
internal readonly record struct RawPage(ulong Address, ulong Flags, uint Type, int References, ulong Private, ulong Link, ulong Next, ulong Previous)
{
    /// <summary>It is not the first page of its compound page.</summary>
    public bool IsTail => (Link & 1) != 0;
}

/// <summary>Reads struct pages by the thousand.</summary>
internal sealed class RawPages
{
    /// <summary>SECTION_SIZE_BITS of x86-64 without those of a page, and SECTION_IS_ONLINE (include/linux/mmzone.h).</summary>
    private const int SectionShift = 27 - 12;

    private const ulong Online = 1 << 2;

    private readonly LinuxKernel _kernel;
    private readonly AddressLayout _layout;
    private readonly byte[] _raw;
    private readonly int _flags, _type, _references, _private, _head, _list;
    private readonly Dictionary<ulong, bool> _online = [];

    /// <exception cref="KernelShapeException">The kernel's types have no struct page as it is known.</exception>
    public RawPages(LinuxKernel kernel, AddressLayout layout)
    {
        (_kernel, _layout) = (kernel, layout);
        if (layout.PageStructBytes < 48)
            throw new KernelShapeException("this kernel's types have no struct page");
        _raw = new byte[(int)layout.PageStructBytes];
        int Of(string path, int bytes = 8)
        {
            int offset = (int)kernel.Offset(path);
            return offset + bytes <= _raw.Length ? offset : throw new KernelShapeException($"{path} lies outside of struct page");
        }

        (_flags, _type, _references, _private, _head, _list) =
            (Of("page.flags"), Of("page.page_type", 4), Of("page._refcount", 4), Of("page.private"), Of(Shapes.FirstOf(kernel, "page.compound_head", "page.compound_info")), Of(Shapes.FirstOf(kernel, "page.lru", "page.buddy_list"), 16));
        Names = PageFlagNames.Of(kernel);
    }

    /// <summary>Names of flags and types.</summary>
    public PageFlagNames Names { get; }

    /// <summary>Bytes from a struct page to its list_head: buddy_list, pcp_list and folio.lru are the same words.</summary>
    public ulong ListOffset => (ulong)_list;

    /// <summary>Reads one.</summary>
    /// <returns>False where there is none at that address, or it can't be read.</returns>
    public bool TryRead(ulong address, out RawPage page)
    {
        page = default;
        if (!_layout.TryFrameOf(address, out _) || !_kernel.Space.TryRead(new VirtualAddress(address), _raw, out _))
            return false;
        page = new RawPage(address, Word(_flags), BinaryPrimitives.ReadUInt32LittleEndian(_raw.AsSpan(_type)), BinaryPrimitives.ReadInt32LittleEndian(_raw.AsSpan(_references)), Word(_private), Word(_head), Word(_list), Word(_list + 8));
        return true;

        ulong Word(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_raw.AsSpan(at));
    }

    /// <summary>The frame belongs to memory that is online. What was added and is not has no struct pages that mean anything.</summary>
    /// <remarks>mem_section[number / root][number % root].section_mem_map, CONFIG_SPARSEMEM_EXTREME.</remarks>
    public bool IsOnline(ulong frame)
    {
        ulong number = frame >> SectionShift;
        if (!_kernel.HasSymbol("mem_section") || !_kernel.HasMember("mem_section.section_mem_map"))
            return true;
        if (!_online.TryGetValue(number, out bool online))
        {
            ulong size = (ulong)_kernel.Image.Types.SizeOf("mem_section"), root = Math.Max(1, 4096 / Math.Max(1, size)), table = _kernel.ReadSymbolU64("mem_section");
            ulong sections = _kernel.ReadU64(unchecked(table + (number / root * 8)), "mem_section");
            online = sections != 0 && (_kernel.Read(unchecked(sections + (number % root * size)), "mem_section.section_mem_map") & Online) != 0;
            _online[number] = online;
        }

        return online;
    }
}
