using System.Buffers.Binary;
using System.Globalization;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Injection.Memory;

/// <summary>Faults of the kernel's data.</summary>
/// <param name="kernel">The kernel over the memory of a guest that stands.</param>
/// <param name="limits">Ceilings.</param>
/// <param name="seed">What is chosen.</param>
internal sealed class MemoryFaults(LinuxKernel kernel, TargetLimits limits, ulong seed)
{
    /// <summary>Pages of memory that are looked at before there is said to be no slab among them.</summary>
    private const int MaxPages = 20_000;

    private const ulong PageSize = 4096;

    /// <summary>Members of struct slab, or of struct page before 5.17 (<see cref="SlabCaches"/>).</summary>
    private readonly string _slab = kernel.HasMember("slab.slab_cache") ? "slab" : "page";

    /// <summary>Flips a bit of the used part of a kernel stack.</summary>
    /// <param name="registers">Of all vCPUs: where the stacks of tasks end that run.</param>
    /// <param name="whyNot">Why it can't be done.</param>
    public FaultPlan? Stack(IReadOnlyList<VcpuRegisters> registers, out string whyNot)
    {
        whyNot = "no task has a kernel stack that can be read";
        var random = new SeededRandom(seed, "stack");
        List<LinuxTask> tasks = Tasks.Enumerate(kernel, limits);
        while (tasks.Count > 0)
        {
            int at = random.Below(tasks.Count);
            LinuxTask task = tasks[at];
            tasks.RemoveAt(at);
            if (UsedOf(task, registers) is not ({ } start, { } end) || end - start < 8)
                continue;
            ulong address = start + (ulong)random.Below((int)(end - start));
            return BitFlip(FaultType.StackBitFlip, address, random.Below(8), $"the kernel stack of {task.Comm} (pid {task.Pid}), {end - address} bytes below its top");
        }

        return null;
    }

    /// <summary>Flips a bit of an object that is in use.</summary>
    public FaultPlan? Heap(out string whyNot)
    {
        var random = new SeededRandom(seed, "heap");
        if (InUse(random, _ => true, out whyNot) is not { } found)
            return null;
        ulong address = found.Start + (ulong)random.Below((int)found.Cache.ObjectSize);
        return BitFlip(
            FaultType.HeapBitFlip, address, random.Below(8), string.Create(CultureInfo.InvariantCulture, $"byte {address - found.Start} of an object of {found.Cache.Name} that is in use (0x{found.Start:x})"));
    }

    /// <summary>Puts an object that is in use on its slab's list of free ones, as kfree() on another CPU does (mm/slub.c, __slab_free).</summary>
    public FaultPlan? EarlyFree(out string whyNot)
    {
        var random = new SeededRandom(seed, "free");
        if (InUse(random, IsFreeable, out whyNot) is not { } found || EncodingOf(found, out whyNot) is not { } swapped)
            return null;
        ulong first = kernel.Read(found.Slab, $"{_slab}.freelist"), link = unchecked(found.Start + found.Cache.FreePointerOffset);
        ulong stored = found.Cache.FreelistKey is { } key ? first ^ key ^ (swapped ? BinaryPrimitives.ReverseEndianness(link) : link) : first;
        ulong counters = kernel.Read(found.Slab, $"{_slab}.counters");
        PlannedWrite[] writes =
        [
            Word(link, stored, "the link to the next free object"),
            Word(unchecked(found.Slab + kernel.Offset($"{_slab}.freelist")), found.Start, "the slab's first free object"),

            // The number of objects in use is its lowest half-word.
            Word(unchecked(found.Slab + kernel.Offset($"{_slab}.counters")), counters - 1, "the slab's counters"),
        ];
        return Plan(FaultType.EarlyFree, writes, string.Create(CultureInfo.InvariantCulture, $"an object of {found.Cache.Name} that is in use (0x{found.Start:x}) is freed"));
    }

    /// <summary>The part of a task's stack that is in use: from its stack pointer to its end.</summary>
    private (ulong? Start, ulong? End) UsedOf(LinuxTask task, IReadOnlyList<VcpuRegisters> registers)
    {
        try
        {
            KernelStack? stack = Stacks.Of(kernel, null, task.Address).Cast<KernelStack?>().FirstOrDefault();
            if (stack is not { } own)
                return default;
            ulong pointer = TaskDetails.IsRunning(kernel, task.Address)
                ? registers.FirstOrDefault(r => !r.IsUserMode && own.Contains(r.Gpr[Gpr.Rsp]))?.Gpr[Gpr.Rsp] ?? 0
                : kernel.Read(task.Address, "task_struct.thread.sp");
            return own.Contains(pointer) ? (pointer, own.End) : default;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return default;
        }
    }

    /// <summary>An object that is in use: of a random page of memory, so that a cache is the more likely the more memory it has.</summary>
    private SlabObject? InUse(SeededRandom random, Func<SlabObject, bool> isOne, out string whyNot)
    {
        whyNot = $"none of {MaxPages} pages of memory has such an object";
        AddressLayout layout = AddressLayout.Read(kernel);
        var objects = new SlabObjects(kernel, layout, SlabCaches.Enumerate(kernel, limits));
        IReadOnlyList<PhysicalRange> ranges = kernel.Space.Memory.Ranges;
        ulong pages = ranges.Aggregate(0UL, (sum, r) => sum + (r.Length / PageSize));
        for (int attempt = 0; attempt < MaxPages && pages is > 0 and <= int.MaxValue; attempt++)
        {
            ulong page = (ulong)random.Below((int)pages);
            PhysicalRange range = default;
            foreach (PhysicalRange each in ranges)
            {
                range = each;
                if (page < each.Length / PageSize)
                    break;
                page -= each.Length / PageSize;
            }

            ulong inPage = (ulong)random.Below((int)PageSize);
            ulong address = layout.Direct(new PhysicalAddress(range.Start.Value + (page * PageSize) + inPage));
            if (objects.TryFind(address, out SlabObject found, out _) && found is { State: SlabObjectState.InUse, Cache.ObjectSize: > 0 and < int.MaxValue } && isOne(found))
                return found;
        }

        return null;
    }

    /// <summary>Its slab has free objects and keeps others in use: so it stays on the list on which it is.</summary>
    private bool IsFreeable(SlabObject found)
    {
        if (found.Cache.Has("RED_ZONE") || found.Cache.Has("POISON") || found.Cache.Has("STORE_USER") || found.Cache.Has("CONSISTENCY_CHECKS") || found.Cache.HasSheaves)
            return false;
        try
        {
            return kernel.Image.Types.TryMember($"{_slab}.inuse", out MemberInfo used) && used is { BitSize: 16, BitOffsetInByte: 0 } && used.ByteOffset == (int)kernel.Offset($"{_slab}.counters")
                && kernel.Read(found.Slab, $"{_slab}.freelist") != 0 && kernel.Read(found.Slab, $"{_slab}.inuse") >= 2;
        }
        catch (GuestMemoryException)
        {
            return false;
        }
    }

    /// <summary>How links are mixed with their own addresses (<see cref="SlabObjects"/>): what the first free object's decodes to tells.</summary>
    private bool? EncodingOf(SlabObject found, out string whyNot)
    {
        whyNot = $"the links of free objects of {found.Cache.Name} can't be read";
        if (found.Cache.FreelistKey is not { } key)
            return false;
        ulong first = kernel.Read(found.Slab, $"{_slab}.freelist"), link = unchecked(first + found.Cache.FreePointerOffset), raw = kernel.ReadU64(link, "free pointer");
        ulong slabBytes = PageSize << found.Cache.Order, start = found.Start - ((ulong)found.Index * found.Cache.Size);
        foreach (bool swapped in (bool[])[true, false])
        {
            ulong next = raw ^ key ^ (swapped ? BinaryPrimitives.ReverseEndianness(link) : link);
            if (next == 0 || (unchecked(next - start) < slabBytes && unchecked(next - start) % found.Cache.Size == 0))
                return swapped;
        }

        return null;
    }

    private FaultPlan BitFlip(FaultType type, ulong address, int bit, string where)
    {
        Span<byte> now = stackalloc byte[1];
        kernel.Space.Read(new VirtualAddress(address), now, "a byte");
        return Plan(type, [new PlannedWrite(new VirtualAddress(address), new[] { (byte)(now[0] ^ (1 << bit)) }, "a flipped bit")], $"bit {bit} of 0x{address:x} is flipped: {where}");
    }

    private static PlannedWrite Word(ulong address, ulong value, string why) => new(new VirtualAddress(address), BitConverter.GetBytes(value), why);

    private FaultPlan Plan(FaultType type, IReadOnlyList<PlannedWrite> writes, string explanation) => new(
        new Fault
        {
            Type = type,
            Seed = seed,
            Explanation = explanation,
            Changes = FaultPlanner.ChangesOf(kernel, writes),
            Release = kernel.Image.Meta.Release,
        },
        writes, []);
}
