using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What is left out of a dump, by the bits of makedumpfile's -d.</summary>
[Flags]
public enum PageFilterLevel
{
    /// <summary>Nothing.</summary>
    None = 0,
    /// <summary>Pages of zeros.</summary>
    Zero = 1,
    /// <summary>Page cache without private data.</summary>
    Cache = 2,
    /// <summary>Page cache, with private data (buffers) too.</summary>
    PrivateCache = 4,
    /// <summary>Memory of processes: anonymous and hugetlb pages.</summary>
    User = 8,
    /// <summary>Free pages.</summary>
    Free = 16,
    /// <summary>All of it: what kdump leaves out as a rule (-d 31).</summary>
    All = 31,
}

/// <summary>Numbers of pages of 4 KiB by what they are used for.</summary>
/// <param name="Free">Free, or given back to the hypervisor.</param>
/// <param name="Cache">Page cache without private data.</param>
/// <param name="PrivateCache">Page cache with private data.</param>
/// <param name="User">Memory of processes.</param>
/// <param name="Poisoned">With a hardware memory error.</param>
public readonly record struct PageCounts(long Free, long Cache, long PrivateCache, long User, long Poisoned)
{
    /// <summary>All of them.</summary>
    public long Total => Free + Cache + PrivateCache + User + Poisoned;

    /// <summary>The sum.</summary>
    public static PageCounts operator +(PageCounts a, PageCounts b) =>
        new(a.Free + b.Free, a.Cache + b.Cache, a.PrivateCache + b.PrivateCache, a.User + b.User, a.Poisoned + b.Poisoned);
}

/// <summary>A run of page frames that is left out.</summary>
/// <param name="First">First frame.</param>
/// <param name="Count">Frames.</param>
/// <param name="Pages">What they are.</param>
public readonly record struct LeftOutRun(ulong First, ulong Count, PageCounts Pages)
{
    /// <summary>First frame past it.</summary>
    public ulong End => First + Count;
}

/// <summary>Which page frames a dump leaves out, by the kernel's own page structures. Where they can't be read or contradict what is known, nothing is left out.</summary>
/// <remarks>
/// The conditions are makedumpfile's (its manual, -d): free blocks by page_type and order, page cache by PG_lru and PG_private, memory of processes by the low bit of page.mapping. A page with a
/// type (slab, page table, since 6.10 slab among them) is looked at by its type alone: its other words are not what they are in other pages.
/// </remarks>
public sealed class PageFilter
{
    /// <summary>A shorter run is not worth a program header and a gap for every reader.</summary>
    private const ulong ShortestRun = 16;

    /// <summary>Readers look through the headers one by one: there are never so many of them that this is felt.</summary>
    private const int MostRuns = 4096, MostRunsMeanwhile = 1 << 18;

    /// <summary>Free pages that a kernel's counter may be behind, beside as many again: per-CPU differences, and pages freed since.</summary>
    private const long CounterSlack = 16_384;

    private PageFilter(PageFilterLevel level, IReadOnlyList<LeftOutRun> runs, string? whyNot) => (Level, Runs, WhyNot) = (level, runs, whyNot);

    /// <summary>What is left out: what was asked for, or <see cref="PageFilterLevel.None"/> (with zeros where asked for) where it could not be told.</summary>
    public PageFilterLevel Level { get; }

    /// <summary>Runs of frames that are left out, ascending and disjoint. Pages of zeros are none of them: whoever writes the dump sees those.</summary>
    public IReadOnlyList<LeftOutRun> Runs { get; }

    /// <summary>Why nothing is left out though it was asked for; null where all is well.</summary>
    public string? WhyNot { get; }

    /// <summary>Frames that were kept because nothing could be read of them, or because they contradict what is around them.</summary>
    public long Unknown { get; private init; }

    /// <summary>All that is left out.</summary>
    public PageCounts Pages => Runs.Aggregate(default(PageCounts), (sum, r) => sum + r.Pages);

    /// <summary>Nothing is left out.</summary>
    /// <param name="level">Only zeros are taken from it.</param>
    /// <param name="whyNot">Why, where more was asked for.</param>
    public static PageFilter Everything(PageFilterLevel level = PageFilterLevel.None, string? whyNot = null) => new(level & PageFilterLevel.Zero, [], whyNot);

    /// <summary>Reads the page structures of all RAM. Throws nothing for what a guest says.</summary>
    /// <param name="kernel">The kernel; it stands still.</param>
    /// <param name="level">What is to be left out.</param>
    /// <param name="vcpus">Registers: what they work on is never left out.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public static PageFilter Read(LinuxKernel kernel, PageFilterLevel level, IReadOnlyList<VcpuRegisters> vcpus, TargetLimits limits, CancellationToken cancel = default)
    {
        if ((level & ~PageFilterLevel.Zero) == PageFilterLevel.None)
            return Everything(level);
        try
        {
            AddressLayout layout = AddressLayout.Read(kernel);
            var pages = new PageClasses(kernel, layout, level);
            var runs = new List<LeftOutRun>();
            ulong shortest = ShortestRun;
            foreach (PhysicalRange range in kernel.Space.Memory.Ranges)
                pages.Read(range, run => Add(runs, run, ref shortest), cancel);
            while (runs.Count > MostRuns)
                Thin(runs, ref shortest);
            string? whyNot = pages.Known == 0 ? "the kernel's page structures can't be read"
                : Contradiction(kernel, layout, runs, vcpus) ?? TooMuchFree(kernel, pages.Free, limits);
            return whyNot is null ? new PageFilter(level, runs, null) { Unknown = pages.Unknown } : Everything(level, whyNot);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return Everything(level, $"the kernel's page structures can't be used ({e.Message})");
        }
    }

    private static void Add(List<LeftOutRun> runs, LeftOutRun run, ref ulong shortest)
    {
        if (run.Count < shortest)
            return;
        runs.Add(run);
        if (runs.Count >= MostRunsMeanwhile)
            Thin(runs, ref shortest);
    }

    private static void Thin(List<LeftOutRun> runs, ref ulong shortest)
    {
        ulong least = shortest *= 2;
        runs.RemoveAll(r => r.Count < least);
    }

    /// <summary>What the kernel works with this very moment is neither free nor a process's: structures that say so are broken.</summary>
    private static string? Contradiction(LinuxKernel kernel, AddressLayout layout, List<LeftOutRun> runs, IReadOnlyList<VcpuRegisters> vcpus)
    {
        if (IsLeftOut(runs, kernel.Image.Meta.RootPhysical / KernelReads.PageSize))
            return "by its page structures the kernel's own page table is not in use: they are broken";
        foreach ((string what, ulong address) in Essentials(kernel, layout, vcpus))
        {
            if (kernel.Space.TryTranslate(new VirtualAddress(address), out Target.Paging.Translation t, out _) && IsLeftOut(runs, t.Physical.Value / KernelReads.PageSize))
                return $"by its page structures {what} at 0x{address:x} is free or belongs to a process: they are broken";
        }

        return null;
    }

    private static IEnumerable<(string What, ulong Address)> Essentials(LinuxKernel kernel, AddressLayout layout, IReadOnlyList<VcpuRegisters> vcpus)
    {
        yield return ("the kernel's code", kernel.Image.Meta.TextBase);
        yield return ("the array of page structures", layout.VmemmapStart);
        foreach (string symbol in (string[])["init_task", "modules", "linux_banner", "iomem_resource"])
        {
            if (kernel.Image.TryFindSymbol(symbol, out ulong address))
                yield return (symbol, address);
        }

        foreach (ulong area in kernel.Image.Meta.PerCpuBases)
            yield return ("a CPU's own data", area);
        foreach (VcpuRegisters vcpu in vcpus)
        {
            if (!vcpu.IsUserMode && vcpu.Knows(RegisterGroups.Integer) && new VirtualAddress(vcpu.Gpr[Gpr.Rsp]).IsKernelHalf)
                yield return ("the stack in use", vcpu.Gpr[Gpr.Rsp]);
        }
    }

    private static bool IsLeftOut(List<LeftOutRun> runs, ulong frame)
    {
        int low = 0, high = runs.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (frame < runs[middle].First)
                high = middle - 1;
            else if (frame >= runs[middle].End)
                low = middle + 1;
            else
                return true;
        }

        return false;
    }

    private static string? TooMuchFree(LinuxKernel kernel, long free, TargetLimits limits)
    {
        ulong? counter = KernelReads.Try<ulong?>(() => MemorySummary.Read(kernel, limits).Free, null);
        return counter is { } says && (ulong)free > unchecked(says + Math.Max(says, CounterSlack)) && says < 1UL << 40
            ? $"by its page structures {free} pages are free, by its counter {says}: they are broken" : null;
    }
}
