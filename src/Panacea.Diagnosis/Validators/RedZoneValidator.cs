using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>What <c>slub_debug</c> puts around and into slab objects (mm/slub.c, check_object): red zones on both sides and poison in free ones. Without it there is nothing to look at.</summary>
public sealed class RedZoneValidator : IValidator
{
    /// <summary>Slabs of one node's partial list.</summary>
    private const int Sample = 16;

    /// <summary>include/linux/poison.h: red zones of objects that are free and in use, poison of free ones and its last byte.</summary>
    private const byte RedInactive = 0xbb, RedActive = 0xcc, PoisonFree = 0x6b, PoisonEnd = 0xa5;

    /// <summary>__OBJECT_POISON up to 6.8; since then _SLAB_OBJECT_POISON names its bit.</summary>
    private const ulong ObjectPoison = 0x8000_0000;

    /// <summary>Objects are not larger (KMALLOC_MAX_CACHE_SIZE).</summary>
    private const uint MaxObject = 1 << 16;

    /// <inheritdoc/>
    public string Name => "red-zones";

    /// <inheritdoc/>
    public string Description => "with slub_debug: red zones and poison of the objects in partly filled slabs";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "red-zones");
        List<SlabCache> caches = context.Settled(() => SlabCaches.Enumerate(kernel, context.Limits));
        AddressLayout layout = AddressLayout.Read(kernel);
        var look = new Look(context, notes, layout, new SlabObjects(kernel, layout, caches));
        foreach (SlabCache cache in caches)
        {
            // A kernel without slub_debug was looked at too.
            notes.Count("caches");
            if (!cache.Has("RED_ZONE") && !Look.IsPoisoned(kernel, cache))
                continue;
            notes.Count("caches with slub_debug");
            foreach (ulong node in cache.Nodes)
                notes.Guard($"the cache at 0x{cache.Address:x} ({cache.Name})", () => look.Partial(node, cache));
        }

        return notes.Done();
    }

    private sealed class Look(CheckContext context, CheckNotes notes, AddressLayout layout, SlabObjects objects)
    {
        private readonly LinuxKernel _kernel = context.Kernel;

        public static bool IsPoisoned(LinuxKernel kernel, SlabCache cache) =>
            cache.Has("OBJECT_POISON") || ((cache.RawFlags & ObjectPoison) != 0 && !kernel.Image.Types.TryEnumerator("_slab_flag_bits", "_SLAB_OBJECT_POISON", out _));

        public void Partial(ulong node, SlabCache cache)
        {
            string type = _kernel.HasMember("slab.slab_cache") ? "slab" : "page";
            ulong head = unchecked(node + _kernel.Offset("kmem_cache_node.partial")), link = _kernel.Offset($"{type}.slab_list"), at = _kernel.ReadU64(head, "kmem_cache_node.partial");
            uint inUse = _kernel.HasMember("kmem_cache.inuse") ? _kernel.ReadU32(cache.Address, "kmem_cache.inuse") : cache.ObjectSize;
            if (cache.ObjectSize is 0 or > MaxObject || inUse < cache.ObjectSize || inUse > cache.Size || cache.RedLeftPad > cache.Size || cache.Size > 2 * MaxObject)
            {
                notes.Found("shape", Confidence.High, $"the cache at 0x{cache.Address:x} ({cache.Name}) has objects of {cache.ObjectSize} bytes, {inUse} with their red zone, every {cache.Size} bytes");
                return;
            }

            for (int i = 0; i < Sample && at != head; i++)
            {
                ulong slab = unchecked(at - link);
                at = _kernel.ReadU64(at, "slab_list");
                if (!layout.TryFrameOf(slab, out ulong frame) || _kernel.Read(slab, $"{type}.slab_cache") != cache.Address)
                    return;
                ulong memory = layout.Direct(new PhysicalAddress(frame * 4096)), count = _kernel.Read(slab, $"{type}.objects");

                // What is wrong with its free list is the validator of slabs' to tell.
                if (!objects.TryFreeObjects(memory, out IReadOnlySet<ulong> free, out _))
                {
                    notes.Skip("slabs whose free list could not be followed");
                    continue;
                }

                notes.Count("slabs");
                for (ulong number = 0; number < count; number++)
                {
                    if (!notes.Count("objects"))
                        return;
                    ulong start = unchecked(memory + (number * cache.Size) + cache.RedLeftPad);
                    Object(start, cache, inUse, free.Contains(start));
                }
            }
        }

        private void Object(ulong start, SlabCache cache, uint inUse, bool free)
        {
            byte[] raw = new byte[(int)(cache.RedLeftPad + inUse)];
            _kernel.Space.Read(new VirtualAddress(start - cache.RedLeftPad), raw, cache.Name);
            int from = (int)cache.RedLeftPad, size = (int)cache.ObjectSize;
            string who = $"the {(free ? "free " : "")}object at 0x{start:x} of {cache.Name}";
            if (cache.Has("RED_ZONE"))
            {
                byte own = free ? RedInactive : RedActive, other = free ? RedActive : RedInactive;
                ReadOnlySpan<byte> left = raw.AsSpan(0, from), right = raw.AsSpan(from + size);
                if (!left.ContainsAnyExcept(other) && !right.ContainsAnyExcept(other) && left.Length + right.Length > 0)
                    notes.Found("state", Confidence.Medium, $"{who} is {(free ? "in use" : "free")} by its red zones");
                else if (left.IndexOfAnyExcept(own) is >= 0 and var before)
                    notes.Found("overwritten", Confidence.High, $"{who} was written to {from - before} bytes before its beginning", Evidence(start - (ulong)(from - before), left[before], own));
                else if (right.IndexOfAnyExcept(own) is >= 0 and var behind)
                    notes.Found("overwritten", Confidence.High, $"{who}, of {size} bytes, was written to {behind} bytes behind its end", Evidence(start + (ulong)(size + behind), right[behind], own));
            }

            // Where the link of a free object lies in it there is no poison (SLAB_POISON puts it behind).
            if (!free || !IsPoisoned(_kernel, cache) || cache.FreePointerOffset < inUse)
                return;
            ReadOnlySpan<byte> body = raw.AsSpan(from, size);
            if (body[..^1].IndexOfAnyExcept(PoisonFree) is >= 0 and var at)
                notes.Found("poison", Confidence.High, $"{who} was written to {at} bytes behind its beginning after it was given back", Evidence(start + (ulong)at, body[at], PoisonFree));
            else if (body[^1] != PoisonEnd)
                notes.Found("poison", Confidence.High, $"the last byte of {who} was written to after it was given back", Evidence(start + (ulong)size - 1, body[^1], PoisonEnd));
        }

        private static string Evidence(ulong at, byte there, byte expected) => $"0x{there:x2} at 0x{at:x}, expected 0x{expected:x2}";
    }
}
