using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Caches of the SLUB allocator (mm/slub.c): of each, the first slabs of its partial lists. Full slabs are on no list without debugging, so that they can't be looked at.</summary>
public sealed class SlabValidator : IValidator
{
    /// <summary>Slabs of one node's partial list.</summary>
    private const int Sample = 16;

    /// <inheritdoc/>
    public string Name => "slabs";

    /// <inheritdoc/>
    public string Description => $"slab caches, and of each the first {Sample} partly filled slabs of a node: owner, counts, free lists";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "slabs");
        Rings.Nodes(context, notes, kernel.Symbol("slab_caches"), "list of slab caches", context.MaxObjects);
        List<SlabCache> caches = context.Settled(() => SlabCaches.Enumerate(kernel, context.Limits));
        AddressLayout layout = AddressLayout.Read(kernel);
        var objects = new SlabObjects(kernel, layout, caches);
        string type = kernel.HasMember("slab.slab_cache") ? "slab" : "page";
        foreach (SlabCache cache in caches)
        {
            notes.Count("caches");
            string who = $"the cache at 0x{cache.Address:x} ({cache.Name})";
            if (cache.ObjectSize > cache.Size || cache.ObjectSize == 0 || cache.FreePointerOffset + 8UL > cache.Size)
                notes.Found("shape", Confidence.High, $"{who} has objects of {cache.ObjectSize} bytes every {cache.Size} bytes, with a link at {cache.FreePointerOffset}");
            foreach (ulong node in cache.Nodes)
                notes.Guard(who, () => Partial(node, cache, who));
        }

        notes.Skip($"slabs of a node's partial list beyond the first {Sample}, slabs of CPUs and full slabs");
        return notes.Done();

        void Partial(ulong node, SlabCache cache, string who)
        {
            // The links of the first are enough: what lies behind is looked at another time.
            ulong head = unchecked(node + kernel.Offset("kmem_cache_node.partial")), before = head, at = kernel.ReadU64(head, "kmem_cache_node.partial"), link = kernel.Offset($"{type}.slab_list");
            for (int i = 0; i < Sample && at != head; i++)
            {
                ulong slab = unchecked(at - link), next = kernel.ReadU64(at, "slab_list"), prev = kernel.ReadU64(unchecked(at + 8), "slab_list");
                if (prev != before)
                    notes.Found("back-pointer", notes.SureOf(StructureFault.BackPointer), $"the slab at 0x{slab:x} of {who} points back to 0x{prev:x}, not to 0x{before:x}");
                notes.Count("slabs");
                Slab(slab, cache, who);
                (before, at) = (at, next);
            }
        }

        void Slab(ulong slab, SlabCache cache, string who)
        {
            string what = $"the slab at 0x{slab:x} of {who}";
            if (kernel.Read(slab, $"{type}.slab_cache") is var owner && owner != cache.Address)
            {
                notes.Found("owner", Confidence.High, $"{what} says that it belongs to the cache at 0x{owner:x}");
                return;
            }

            ulong all = kernel.Read(slab, $"{type}.objects"), used = kernel.Read(slab, $"{type}.inuse");
            if (all == 0 || used > all)
            {
                notes.Found("count", Confidence.High, $"{what} says that {used} of its {all} objects are in use");
                return;
            }

            if (!layout.TryFrameOf(slab, out ulong frame))
            {
                notes.Found("owner", Confidence.High, $"{what} is no page of this machine");
                return;
            }

            ulong memory = layout.Direct(new PhysicalAddress(frame * 4096));
            if (!objects.TryFreeObjects(memory, out IReadOnlySet<ulong> free, out string why))
            {
                // One that changes all the time is in good health.
                if (why.Contains("free list leads", StringComparison.Ordinal) || why.Contains("twice", StringComparison.Ordinal) || why.Contains("says that", StringComparison.Ordinal))
                    notes.Found("freelist", Confidence.High, $"{what}: {why}");
                else
                    notes.Skip($"some slabs could not be looked at: {(why.Contains("page of use", StringComparison.Ordinal) ? "they were given back meanwhile" : why)}");
            }
            else if ((ulong)free.Count != all - used)
            {
                notes.Found("count", Confidence.Medium, $"{what} says that {used} of its {all} objects are in use, and {free.Count} are free");
            }
        }
    }
}
