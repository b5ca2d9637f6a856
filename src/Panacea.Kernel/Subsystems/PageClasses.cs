using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Goes through all page structures of a kernel, in order and many at a time, and tells which frames a level leaves out.</summary>
internal sealed class PageClasses
{
    /// <summary>Structures that are read at a time, and at a time where those can't be read as a whole: a page of them.</summary>
    private const int Batch = 4096, SmallBatch = 64;

    /// <summary>Largest free block (MAX_PAGE_ORDER with room to spare), as in <see cref="Pages"/>.</summary>
    private const int MaxBuddyOrder = 12;

    /// <summary>Largest compound page: 1 GiB is order 18.</summary>
    private const int MaxCompoundOrder = 18;

    /// <summary>PAGE_MAPPING_ANON, and with PAGE_MAPPING_MOVABLE.</summary>
    private const ulong MappingAnon = 1, MappingFlags = 3;

    private readonly LinuxKernel _kernel;
    private readonly AddressLayout _layout;
    private readonly Pages _pages;
    private readonly PageFlagNames _names;
    private readonly PageFilterLevel _level;
    private readonly int _order, _size, _flags, _type, _references, _private, _head, _mapping;
    private readonly ulong _lru, _privateFlag, _poison, _reserved;
    private readonly byte[] _raw;

    // What the frame that is looked at may be a part of: a free block or a compound page.
    private ulong _blockFirst, _blockEnd;
    private Class _block;
    private bool _blockIsFree;

    private enum Class
    {
        Kept,
        Unknown,
        Free,
        Cache,
        PrivateCache,
        User,
        Poisoned,
    }

    /// <exception cref="KernelShapeException">The kernel's types have no struct page as it is known.</exception>
    public PageClasses(LinuxKernel kernel, AddressLayout layout, PageFilterLevel level)
    {
        (_kernel, _layout, _level) = (kernel, layout, level);
        _size = (int)layout.PageStructBytes;
        if (_size < 48)
            throw new KernelShapeException("this kernel's types have no struct page");
        _pages = new Pages(kernel, layout);
        _names = PageFlagNames.Of(kernel);
        _flags = Of(8, "page.flags.f", "page.flags");
        _type = Of(4, "page.page_type");
        _references = Of(4, "page._refcount.counter");
        _private = Of(8, "page.private");
        _head = Of(8, "page.compound_head", "page.compound_info");
        _mapping = Of(8, "page.mapping");
        (_lru, _privateFlag, _poison, _reserved) = (_names.MaskOf("lru"), _names.MaskOf("private"), _names.MaskOf("hwpoison"), _names.MaskOf("reserved"));
        if (_lru == 0 || _privateFlag == 0)
            throw new KernelShapeException("this kernel's types have no PG_lru or no PG_private");
        _order = OrderOffset(kernel, _size);
        _raw = new byte[Batch * _size];

        int Of(int bytes, params ReadOnlySpan<string> paths)
        {
            string path = kernel.FirstMember(paths) ?? paths[0];
            int offset = (int)kernel.Offset(path);
            return offset >= 0 && offset + bytes <= _size ? offset : throw new KernelShapeException($"{path} lies outside of struct page");
        }
    }

    /// <summary>Frames whose structure was read.</summary>
    public long Known { get; private set; }

    /// <summary>Frames that are free, left out or not.</summary>
    public long Free { get; private set; }

    /// <summary>Frames of which nothing is known, or that contradict what is around them.</summary>
    public long Unknown { get; private set; }

    /// <summary>Goes through a range of RAM.</summary>
    /// <param name="range">The range; frames that are only partly in it are kept.</param>
    /// <param name="leaveOut">Called for each run of frames that is left out, in order.</param>
    /// <param name="cancel">Ends it.</param>
    public void Read(PhysicalRange range, Action<LeftOutRun> leaveOut, CancellationToken cancel)
    {
        ulong first = (range.Start.Value + KernelReads.PageSize - 1) / KernelReads.PageSize, end = Math.Min(range.End.Value / KernelReads.PageSize, _layout.MaxFrame);
        (_blockFirst, _blockEnd) = (0, 0);
        var run = default(LeftOutRun);
        for (ulong at = first; at < end; at += Batch)
        {
            cancel.ThrowIfCancellationRequested();
            int count = (int)Math.Min(Batch, end - at);
            if (TryRead(at, 0, count))
            {
                Look(at, 0, count, ref run, leaveOut);
                continue;
            }

            for (int small = 0; small < count; small += SmallBatch)
            {
                int few = Math.Min(SmallBatch, count - small);
                if (TryRead(at + (ulong)small, small, few))
                    Look(at + (ulong)small, small, few, ref run, leaveOut);
                else
                    Unknown += few;
            }
        }

        Flush(ref run, leaveOut);
        if (range.End.Value / KernelReads.PageSize is var last && last > Math.Max(end, first))
            Unknown += (long)(last - Math.Max(end, first));
    }

    private bool TryRead(ulong frame, int slot, int count) => _kernel.Space.TryRead(new VirtualAddress(_layout.PageOf(frame)), _raw.AsSpan(slot * _size, count * _size), out _);

    private void Look(ulong frame, int slot, int count, ref LeftOutRun run, Action<LeftOutRun> leaveOut)
    {
        Known += count;
        for (int i = 0; i < count; i++)
        {
            Class what = Classify(frame + (ulong)i, _raw.AsSpan((slot + i) * _size, _size), i + 1 < count ? _raw.AsSpan((slot + i + 1) * _size, _size) : []);
            Unknown += what == Class.Unknown ? 1 : 0;
            Free += what == Class.Free ? 1 : 0;
            if (!IsLeftOut(what))
                continue;
            ulong at = frame + (ulong)i;
            if (run.Count > 0 && run.End != at)
                Flush(ref run, leaveOut);
            run = new LeftOutRun(run.Count == 0 ? at : run.First, run.Count + 1, run.Pages + new PageCounts(
                what == Class.Free ? 1 : 0, what == Class.Cache ? 1 : 0, what == Class.PrivateCache ? 1 : 0, what == Class.User ? 1 : 0, what == Class.Poisoned ? 1 : 0));
        }
    }

    private static void Flush(ref LeftOutRun run, Action<LeftOutRun> leaveOut)
    {
        if (run.Count > 0)
            leaveOut(run);
        run = default;
    }

    private bool IsLeftOut(Class what) => what switch
    {
        Class.Free => (_level & PageFilterLevel.Free) != 0,
        Class.Cache => (_level & (PageFilterLevel.Cache | PageFilterLevel.PrivateCache)) != 0,
        Class.PrivateCache => (_level & PageFilterLevel.PrivateCache) != 0,
        Class.User => (_level & PageFilterLevel.User) != 0,

        // Reading it may fail on the host, and there is nothing in it.
        Class.Poisoned => true,
        _ => false,
    };

    /// <param name="frame">The frame.</param>
    /// <param name="page">Its structure.</param>
    /// <param name="next">The structure after it, which has the order of a compound page; empty where it was not read with it.</param>
    private Class Classify(ulong frame, ReadOnlySpan<byte> page, ReadOnlySpan<byte> next)
    {
        ulong flags = Word(page, _flags), link = Word(page, _head);
        uint type = BinaryPrimitives.ReadUInt32LittleEndian(page[_type..]);
        int references = BinaryPrimitives.ReadInt32LittleEndian(page[_references..]);

        // Never written since the memory was added (page_init_poison, mm/debug.c).
        if (flags == ulong.MaxValue)
            return Class.Unknown;
        if (frame < _blockEnd && frame > _blockFirst)
        {
            bool fits = _blockIsFree
                ? references == 0 && (link & 1) == 0 && !_names.IsTyped(type)
                : _layout.TryHeadOf(_layout.PageOf(frame), link, out ulong head) && head == _layout.PageOf(_blockFirst);
            if (fits)
                return (flags & _poison) != 0 ? Class.Poisoned : _block;

            // A block that is not whole ends here; what is left of it is looked at for itself.
            _blockEnd = frame;
            Unknown++;
        }

        if ((link & 1) != 0)
            return Class.Kept; // Part of a compound page that is kept, or whose head does not say so.
        if ((flags & _poison) != 0)
            return Class.Poisoned;
        Class what = OfHead(flags, type, references, Word(page, _mapping));
        if (what == Class.Free && _names.TypeName(type) == "buddy")
        {
            ulong order = Word(page, _private);
            if (order > MaxBuddyOrder || (frame & ((1UL << (int)order) - 1)) != 0 || references != 0)
                return Class.Unknown;
            Begin(frame, (int)order, what, isFree: true);
        }
        else if (what != Class.Kept && _names.IsHead(flags))
        {
            int order = _order >= 0 && !next.IsEmpty ? next[_order] : _pages.TryOfFrame(frame, out PageInfo info) ? info.Order : -1;
            if (order is < 0 or > MaxCompoundOrder || (frame & ((1UL << order) - 1)) != 0)
                return Class.Unknown;
            Begin(frame, order, what, isFree: false);
        }

        return what;
    }

    private void Begin(ulong frame, int order, Class what, bool isFree) => (_blockFirst, _blockEnd, _block, _blockIsFree) = (frame, frame + (1UL << order), what, isFree);

    /// <summary>Where the structure of a compound page's second page has its order, in a byte; -1 where that is elsewhere. See <see cref="Pages"/>.</summary>
    private static int OrderOffset(LinuxKernel kernel, int size)
    {
        int offset = kernel.HasMember("page.compound_order") ? (int)kernel.Offset("page.compound_order")
            : kernel.FirstMember("folio._folio_order", "folio._flags_1.f", "folio._flags_1") is { } path ? (int)kernel.Offset(path) - size : -1;
        return offset >= 0 && offset < size ? offset : -1;
    }

    /// <summary>A page that is no part of another.</summary>
    private Class OfHead(ulong flags, uint type, int references, ulong mapping)
    {
        // The type goes first: slab pages keep other things where other pages have their mapping.
        if (_names.IsSlab(flags, type))
            return Class.Kept;
        if (_names.IsTyped(type))
        {
            return _names.TypeName(type) switch
            {
                "buddy" or "offline" => Class.Free,
                "hugetlb" => Class.User,
                _ => Class.Kept,
            };
        }

        // Before hugetlb was a page type (enum pagetype, include/linux/page-flags.h) such a page is told by its destructor alone: one that is no process's own is kept.
        if ((flags & _reserved) != 0 || references <= 0 || unchecked((long)mapping) >= 0)
            return Class.Kept;
        if ((mapping & MappingAnon) != 0)
            return Class.User;
        return (flags & _lru) == 0 || (mapping & MappingFlags) != 0 ? Class.Kept : (flags & _privateFlag) != 0 ? Class.PrivateCache : Class.Cache;
    }

    private static ulong Word(ReadOnlySpan<byte> page, int at) => BinaryPrimitives.ReadUInt64LittleEndian(page[at..]);
}
