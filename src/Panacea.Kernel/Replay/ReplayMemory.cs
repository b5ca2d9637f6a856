using System.Buffers.Binary;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Replay;

/// <summary>What became of an access to memory.</summary>
internal enum ReplayAccess
{
    /// <summary>It was done.</summary>
    Done,

    /// <summary>A CPU would trap.</summary>
    Faults,

    /// <summary>No RAM stands behind it: a device.</summary>
    Device,

    /// <summary>What is there can't be told: memory that can't be read, user memory.</summary>
    Unreadable,
}

/// <summary>A store that the code had made, or may have made, before it crashed.</summary>
/// <param name="Ip">The instruction.</param>
/// <param name="Address">Guest-virtual address.</param>
/// <param name="Size">Bytes.</param>
internal readonly record struct RepeatedStore(ulong Ip, ulong Address, int Size);

/// <summary>Guest memory as a replay of code sees it: what it writes stays here, and the guest has none of it.</summary>
/// <remarks>Not safe for concurrent use. Bounded by <see cref="MaxPages"/>.</remarks>
/// <param name="space">The kernel's address space, over memory that does not change meanwhile.</param>
/// <param name="cache">What other replays over the same memory have read.</param>
/// <param name="user">The address space of the process whose memory the code may access between STAC and CLAC; null where it is not known. What is not mapped there the kernel would map, or copy, at the first access.</param>
internal sealed class ReplayMemory(AddressSpace space, ReplayCache? cache = null, AddressSpace? user = null)
{
    /// <summary>Bound on pages that are kept.</summary>
    public const int MaxPages = 512;

    /// <summary>Bound on repeated stores that are kept; one more counts as one that would change something.</summary>
    private const int MaxRepeated = 4096;

    private const int PageSize = 4096;
    private readonly Dictionary<ulong, Page> _pages = [], _userPages = [];
    private readonly List<RepeatedStore> _repeated = [];
    private RepeatedStore? _conflict;

    /// <summary>Memory that stores may be made to again, whatever is there: the stack of what is to be run again, words that are put right by other means.</summary>
    public List<(ulong Start, ulong End)> Scratch { get; } = [];

    /// <summary>Guest-virtual address of a word whose being read is noted; 0 for none.</summary>
    public ulong Watched { get; set; }

    /// <summary>A byte of that word has been read.</summary>
    public bool HasReadWatched { get; private set; }

    /// <summary>User memory may be accessed: between STAC and CLAC.</summary>
    public bool AllowsUser { get; set; }

    /// <summary>Guest-virtual addresses of bytes that hold what the crashed code may have put there, and of which a replay needs what they held before: what is read of them is not known, until it has been stored here too.</summary>
    public IReadOnlySet<ulong>? Forgotten { get; init; }

    /// <summary>Bytes that were read, and that a store has then left as they are which the crashed code may have made before: it has read something else there, perhaps.</summary>
    public HashSet<ulong> Overwritten { get; } = [];

    /// <summary>What is read next is of interest only for what the same instruction makes of it there, and comes out the same a second time.</summary>
    public bool IsReplaced { get; set; }

    /// <summary>It lies in <see cref="Scratch"/>.</summary>
    public bool IsScratch(ulong address)
    {
        foreach ((ulong start, ulong end) in Scratch)
        {
            if (address >= start && address < end)
                return true;
        }

        return false;
    }

    /// <summary>Reads up to eight bytes.</summary>
    public ReplayAccess Read(ulong address, int size, out Bits value)
    {
        value = Bits.None;
        HasReadWatched |= Watched != 0 && unchecked(address - Watched) < sizeof(ulong);
        Span<byte> bytes = stackalloc byte[8];
        ulong known = 0;
        bytes.Clear();
        bool notes = !IsReplaced && !IsScratch(address);
        Page page = null!;
        for (int i = 0; i < size; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            int offset = (int)(at & (PageSize - 1));
            if ((i == 0 || offset == 0) && Find(at, out page) is var access and not ReplayAccess.Done)
                return access;
            bytes[i] = page.Now[offset];
            if (!notes || page.IsStored(offset))
            {
                known |= (ulong)page.Known(offset) << (i * 8);
                continue;
            }

            page.NoteRead(offset);
            if (Forgotten?.Contains(at) != true)
                known |= (ulong)page.Known(offset) << (i * 8);
        }

        value = new Bits(BinaryPrimitives.ReadUInt64LittleEndian(bytes), known);
        return ReplayAccess.Done;
    }

    /// <summary>Writes up to eight bytes.</summary>
    /// <param name="address">Guest-virtual address.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="value">What.</param>
    /// <param name="ip">The instruction.</param>
    /// <param name="repeats">The crashed code may have come by this instruction: it must not make a difference.</param>
    public ReplayAccess Write(ulong address, int size, Bits value, ulong ip, bool repeats)
    {
        Page page = null!;
        for (int i = 0; i < size; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            if (i > 0 && (at & (PageSize - 1)) != 0)
                continue;
            if (Find(at, out page) is var access and not ReplayAccess.Done)
                return access;
            if (!page.IsWritable)
                return IsUser(at) ? ReplayAccess.Unreadable : ReplayAccess.Faults;
        }

        bool isScratch = IsScratch(address);
        repeats &= !isScratch;
        for (int i = 0; i < size; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            int offset = (int)(at & (PageSize - 1));
            if (i == 0 || offset == 0)
                Find(at, out page);
            if (!isScratch && !repeats && page.IsRepeated(offset) && IsChanged(page, offset))
                _conflict ??= _repeated.Find(r => unchecked(at - r.Address) < (ulong)r.Size);
            (byte now, byte known) = (unchecked((byte)(value.Value >> (i * 8))), unchecked((byte)(value.Known >> (i * 8))));

            // What comes of what is not known any more came out as it is when it was.
            if (repeats && known != 0xff && Forgotten?.Contains(at) == true)
                (now, known) = (page.Original[offset], 0xff);
            if (repeats && known == 0xff && now == page.Original[offset] && !page.IsStored(offset) && page.WasRead(offset) && Forgotten?.Contains(at) != true)
                Overwritten.Add(at);
            page.Set(offset, now, known, repeats);
        }

        if (!repeats)
            return ReplayAccess.Done;
        if (_repeated.Count < MaxRepeated)
            _repeated.Add(new RepeatedStore(ip, address, size));
        else
            _conflict ??= new RepeatedStore(ip, address, size);
        return ReplayAccess.Done;
    }

    /// <summary>An instruction that the crashed code may have executed has left memory alone because it holds what it would have put there.</summary>
    public void NoteLeftAlone(ulong address, int size)
    {
        for (int i = 0; i < size; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            if (!IsScratch(at) && Find(at, out Page page) == ReplayAccess.Done && !page.IsStored((int)(at & (PageSize - 1))))
                Overwritten.Add(at);
        }
    }

    /// <summary>Changes memory before anything is run, as what is written before it will have done.</summary>
    /// <returns>False where it can't be read.</returns>
    public bool Preset(ulong address, int size, ulong value)
    {
        for (int i = 0; i < size; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            if (Find(at, out Page page) != ReplayAccess.Done)
                return false;
            page.Set((int)(at & (PageSize - 1)), unchecked((byte)(value >> (i * 8))), 0xff, false);
        }

        return true;
    }

    /// <summary>The first store that would not be the same a second time: what it would leave differs from what is there. Null where there is none.</summary>
    public RepeatedStore? Conflict()
    {
        foreach (RepeatedStore store in _conflict is null ? _repeated : [])
        {
            for (int i = 0; i < store.Size; i++)
            {
                ulong at = unchecked(store.Address + (ulong)i);
                int offset = (int)(at & (PageSize - 1));
                ulong start = at - (ulong)offset;
                if ((_userPages.TryGetValue(start, out Page? page) || _pages.TryGetValue(start, out page)) && page.IsRepeated(offset) && IsChanged(page, offset))
                    return store;
            }
        }

        return _conflict;
    }

    /// <summary>What has been written otherwise than it is in the guest, and is known, in runs of bytes.</summary>
    /// <param name="start">Guest-virtual address of the first byte.</param>
    /// <param name="end">Behind the last one.</param>
    public IReadOnlyList<(ulong Address, byte[] Bytes)> Changes(ulong start, ulong end)
    {
        var changes = new List<(ulong, byte[])>();
        var run = new List<byte>();
        for (ulong at = start; at < end; at++)
        {
            int offset = (int)(at & (PageSize - 1));
            if (_pages.TryGetValue(at - (ulong)offset, out Page? page) && page.Now[offset] != page.Original[offset] && page.Known(offset) == 0xff)
            {
                run.Add(page.Now[offset]);
                continue;
            }

            if (run.Count > 0)
                changes.Add((at - (ulong)run.Count, [.. run]));
            run.Clear();
        }

        if (run.Count > 0)
            changes.Add((end - (ulong)run.Count, [.. run]));
        return changes;
    }

    /// <summary>Reads code.</summary>
    /// <returns>Bytes read, up to the end of the readable.</returns>
    public int ReadCode(ulong address, Span<byte> destination)
    {
        Page page = null!;
        for (int i = 0; i < destination.Length; i++)
        {
            ulong at = unchecked(address + (ulong)i);
            int offset = (int)(at & (PageSize - 1));
            if ((i == 0 || offset == 0) && (Find(at, out page) != ReplayAccess.Done || !page.IsExecutable))
                return i;
            destination[i] = page.Now[offset];
        }

        return destination.Length;
    }

    private static bool IsUser(ulong address) => !new VirtualAddress(address).IsKernelHalf;

    private static bool IsChanged(Page page, int offset) => page.Now[offset] != page.Original[offset] || page.Known(offset) != 0xff;

    private ReplayAccess Find(ulong address, out Page page)
    {
        ulong start = address & ~(ulong)(PageSize - 1);
        bool isUser = IsUser(address) && AllowsUser;
        Dictionary<ulong, Page> pages = isUser ? _userPages : _pages;
        if (pages.TryGetValue(start, out Page? known))
        {
            page = known;
            return ReplayAccess.Done;
        }

        page = null!;
        if (_pages.Count + _userPages.Count >= MaxPages)
            return ReplayAccess.Unreadable;
        AddressSpace? here = isUser ? user : space;
        if (here is null)
            return ReplayAccess.Unreadable;
        ulong key = isUser ? start | 1 : start;
        if (cache is null || !cache.TryPage(key, out ReplayPage kept))
        {
            byte[] bytes = new byte[PageSize];
            if (!here.TryTranslate(new VirtualAddress(start), out Translation translation, out MemoryFault fault) || (isUser && !translation.User) || !here.TryRead(new VirtualAddress(start), bytes, out fault))
            {
                return isUser ? ReplayAccess.Unreadable : fault.Kind switch
                {
                    MemoryFaultKind.NotPresent or MemoryFaultKind.NonCanonical => ReplayAccess.Faults,
                    MemoryFaultKind.NotBacked => ReplayAccess.Device,
                    _ => ReplayAccess.Unreadable,
                };
            }

            // The kernel never executes what is a process's (SMEP).
            kept = new ReplayPage(bytes, translation.Writable, !isUser && !translation.NoExecute);
            cache?.Keep(key, kept);
        }

        page = new Page(kept);
        pages.Add(start, page);
        return ReplayAccess.Done;
    }

    /// <summary>A page as the guest has it, until it is written to.</summary>
    private sealed class Page(ReplayPage page)
    {
        // Bits that are not known, as the overflow flag beside the interrupt flag in a word of flags that was pushed; and bytes that were stored a second time.
        private byte[]? _unknown;
        private bool[]? _repeated, _stored, _read;

        public byte[] Original => page.Bytes;

        public byte[] Now { get; private set; } = page.Bytes;

        public bool IsWritable => page.IsWritable;

        public bool IsExecutable => page.IsExecutable;

        /// <summary>The bits of a byte that are known.</summary>
        public byte Known(int offset) => _unknown is null ? (byte)0xff : unchecked((byte)~_unknown[offset]);

        public bool IsRepeated(int offset) => _repeated is not null && _repeated[offset];

        /// <summary>It was stored to in this replay.</summary>
        public bool IsStored(int offset) => _stored is not null && _stored[offset];

        /// <summary>It was read before it was stored to.</summary>
        public bool WasRead(int offset) => _read is not null && _read[offset];

        public void NoteRead(int offset) => (_read ??= new bool[PageSize])[offset] = true;

        public void Set(int offset, byte value, byte known, bool repeats)
        {
            if (_unknown is null || _repeated is null || _stored is null)
                (_unknown, _repeated, _stored, Now) = (new byte[PageSize], new bool[PageSize], new bool[PageSize], (byte[])page.Bytes.Clone());
            (Now[offset], _unknown[offset], _repeated[offset], _stored[offset]) = (value, unchecked((byte)~known), repeats, true);
        }
    }
}
