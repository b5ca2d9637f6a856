using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The allocator has come upon a free list of a CPU (struct kmem_cache_cpu, mm/slub.c) that leads to where no memory is: something has written over a free object, and with it over the link to the next one. Every allocation of
/// that size would crash from now on. The list is cut off there, as the kernel does itself where its checks are on (freelist_corrupted()): the CPU takes another slab. What was behind counts as in use for ever. Nothing
/// else is lost, and the allocation is made again, or fails.
/// </summary>
internal static class BrokenFreelist
{
    /// <summary>What allocates from a cache, by how its name begins.</summary>
    private static readonly string[] Allocators = ["kmem_cache_alloc", "__kmem_cache_alloc", "__kmalloc", "kmalloc_", "___slab_alloc", "__slab_alloc"];

    /// <summary>A plan for a crash in an allocator; null where it is none, or its CPU's lists are not to blame.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        if (evidence.Point.Symbol != "oops_end" || evidence.Cpu is not { } cpu || evidence.FaultyFrame is not 0 || evidence.LocationOf(evidence.Stack.Frames[0])?.Name is not { } function
            || !Array.Exists(Allocators, a => function.StartsWith(a, StringComparison.Ordinal)))
            return null;
        try
        {
            return Find(evidence, cpu) is (ulong cache, ulong word, ulong list)
                ? Mend(evidence, cpu, SlabCaches.NameOf(evidence.Kernel, cache), word, list) : null;
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>The cache whose list of that CPU begins at an address that is in a register, and where nothing can be read.</summary>
    private static (ulong Cache, ulong Word, ulong List)? Find(CrashEvidence evidence, int cpu)
    {
        LinuxKernel kernel = evidence.Kernel;
        if (!kernel.HasMember("kmem_cache.cpu_slab") || !kernel.HasMember("kmem_cache_cpu.freelist"))
            return null;
        foreach (ulong cache in Lists.Entries(kernel, kernel.Symbol("slab_caches"), "kmem_cache.list", TargetLimits.Default))
        {
            ulong word = unchecked(Cpus.At(kernel, kernel.Read(cache, "kmem_cache.cpu_slab"), cpu) + kernel.Offset("kmem_cache_cpu.freelist"));
            ulong list = kernel.ReadU64(word, "kmem_cache_cpu.freelist");
            if (list == 0 || !IsHeld(evidence, list))
                continue;
            ulong link = unchecked(list + kernel.Read(cache, "kmem_cache.offset"));
            if (!new VirtualAddress(link).IsKernelHalf || !kernel.Space.TryReadUInt64(new VirtualAddress(link), out _, out _))
                return (cache, word, list);
        }

        return null;
    }

    private static bool IsHeld(CrashEvidence evidence, ulong value)
    {
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
        {
            if (evidence.Crash.Gpr[register] == value)
                return true;
        }

        return false;
    }

    private static StrategyVerdict Mend(CrashEvidence evidence, int cpu, string cache, ulong word, ulong list)
    {
        CrashEvidence mended = evidence with { Mended = (word, 0) };
        string done = $"the list of free objects of {cache} on CPU {cpu}, which led to 0x{list:x}, is cut off there";
        var tried = new List<string>();
        foreach (IRepairStrategy next in (IRepairStrategy[])[new RetryStrategy(), new ErrorReturnStrategy(), new UnwindStrategy()])
        {
            StrategyVerdict verdict = next.Evaluate(mended);
            tried.AddRange(verdict.Tried);
            if (verdict.Plan is not { } plan)
            {
                tried.Add(verdict.WhyNot!);
                continue;
            }

            return verdict with
            {
                Tried = tried,
                Plan = plan with
                {
                    Kind = RepairKind.Heal,

                    // Nothing is wrong with the function: it is to run the next time.
                    Returned = null,
                    Explanation = $"{done}; {plan.Explanation}",
                    Writes = [new PlannedWrite(new VirtualAddress(word), new byte[sizeof(ulong)], "kmem_cache_cpu.freelist: end of the list"), .. plan.Writes],
                    Risks = [.. plan.Risks, "free objects behind the broken link, of one slab at most, are never used again", "what has overwritten a free object may have overwritten more"],
                },
            };
        }

        return StrategyVerdict.Declines($"{done}, but nothing could be done about the allocation that has crashed: {tried[^1]}") with { Tried = tried };
    }
}
