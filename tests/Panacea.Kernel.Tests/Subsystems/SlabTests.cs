using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class SlabTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    private static SlabObjects ObjectsOf(KernelGuest g) => new(g.Kernel, AddressLayout.Read(g.Kernel), SlabCaches.Enumerate(g.Kernel, Few));

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void Objects_are_told_by_address_and_free_ones_by_the_hardened_list(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        SyntheticCache cache = g.Guest.AddCache("widget", 200);
        SyntheticSlab slab = g.Guest.AddSlab(cache, 7, 2, 19);
        SlabObjects objects = ObjectsOf(g);
        for (int i = 0; i < slab.Objects.Count; i++)
        {
            Assert.True(objects.TryFind(slab.Objects[i] + 0x20, out SlabObject found, out string why), why);
            Assert.Equal(("widget", i, slab.Objects[i], 0x20L, i is 7 or 2 or 19 ? SlabObjectState.Free : SlabObjectState.InUse), (found.Cache.Name, found.Index, found.Start, found.Offset, found.State));
        }

        Assert.False(objects.TryFind(slab.Base + 4095, out _, out string rest));
        Assert.Contains("behind the last object", rest);
        Assert.False(objects.TryFind(g.Guest.Victim.Stack, out _, out _));
        Assert.False(objects.TryFind(g.Guest.TextBase, out _, out _));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void A_cpus_own_free_list_counts_too(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        SyntheticCache cache = k.AddCache("widget", 256);
        SyntheticSlab slab = k.AddSlab(cache, 3);
        ulong own = k.PerCpuBase(1) + cache.Cpu;
        k.Put(own, "kmem_cache_cpu.slab", slab.Slab);
        k.Put(own, "kmem_cache_cpu.freelist", k.FreeList(cache, [slab.Objects[9], slab.Objects[1]]));
        Assert.True(ObjectsOf(g).TryFreeObjects(slab.Base, out IReadOnlySet<ulong> free, out string why), why);
        Assert.Equal([slab.Objects[1], slab.Objects[3], slab.Objects[9]], free.Order());
    }

    [Fact]
    public void Links_mixed_in_the_old_way_are_understood()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        SyntheticCache cache = k.AddCache("widget", 256);
        SyntheticSlab slab = k.AddSlab(cache, 4, 5);
        foreach ((int at, ulong next) in ((int, ulong)[])[(4, slab.Objects[5]), (5, 0)])
        {
            ulong link = slab.Objects[at] + (ulong)cache.FreeOffset;
            k.WriteU64(link, next ^ cache.Key ^ link);
        }

        Assert.True(ObjectsOf(g).TryFreeObjects(slab.Base, out IReadOnlySet<ulong> free, out string why), why);
        Assert.Equal([slab.Objects[4], slab.Objects[5]], free.Order());
    }

    [Theory]
    [InlineData(0xcc, RedZone.Active)]
    [InlineData(0xbb, RedZone.Inactive)]
    [InlineData(0x41, RedZone.Overwritten)]
    public void Red_zones_are_looked_at(byte fill, RedZone zone)
    {
        using var g = new KernelGuest();
        SyntheticCache cache = g.Guest.AddCache("guarded", 100, redLeft: 64);
        SyntheticSlab slab = g.Guest.AddSlab(cache);
        g.Guest.Write(slab.Objects[2] - 64, [.. Enumerable.Repeat(fill, 64)]);
        Assert.True(ObjectsOf(g).TryFind(slab.Objects[2] - 8, out SlabObject found, out _));
        Assert.Equal((2, -8L, zone, false), (found.Index, found.Offset, found.RedZone, found.IsInside));
        Assert.True(found.Cache.Has("RED_ZONE"));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Usage_counts_what_partial_lists_leave(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        g.Guest.AddSlab(g.Guest.AddCache("small", 128), 0, 1, 2);
        g.Guest.AddCache("empty", 64);
        List<SlabUsage> largest = SlabCaches.Largest(g.Kernel, 10, Few, out int skipped);
        Assert.Equal(0, skipped);
        Assert.Equal(["small", "empty"], largest.Select(u => u.Cache.Name));
        Assert.Equal((1UL, 32UL, 29UL, 1UL, 4096UL), (largest[0].Slabs, largest[0].Objects, largest[0].Active, largest[0].PartialSlabs, largest[0].Bytes));
    }

    public static TheoryData<string> Damages => ["cycle", "wild link", "link to another slab", "unreadable link", "too many objects", "no objects", "unknown cache"];

    [Theory]
    [MemberData(nameof(Damages))]
    public void A_damaged_slab_is_not_taken_for_a_whole_one(string damage)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        SyntheticCache cache = k.AddCache("widget", 256);
        SyntheticSlab slab = k.AddSlab(cache, 4, 5);
        SyntheticSlab other = k.AddSlab(k.AddCache("other", 64));
        void Link(ulong next)
        {
            ulong link = slab.Objects[5] + (ulong)cache.FreeOffset;
            k.WriteU64(link, next ^ cache.Key ^ System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(link));
        }

        switch (damage)
        {
            case "cycle":
                Link(slab.Objects[4]);
                break;
            case "wild link":
                k.WriteU64(slab.Objects[5] + (ulong)cache.FreeOffset, 0x4141_4141_4141_4141);
                break;
            case "link to another slab":
                Link(other.Objects[0]);
                break;
            case "unreadable link":
                Link(slab.Objects[4] + 1);
                break;
            case "too many objects":
                k.Put(slab.Slab, "slab.objects", 200);
                break;
            case "no objects":
                k.Put(slab.Slab, "slab.objects", 0);
                break;
            default:
                k.Put(slab.Slab, "slab.slab_cache", 0x1000);
                break;
        }

        SlabObjects objects = ObjectsOf(g);
        Assert.False(objects.TryFreeObjects(slab.Base, out _, out string why));
        Assert.NotEmpty(why);
        if (objects.TryFind(slab.Objects[0], out SlabObject found, out _))
            Assert.Equal((SlabObjectState.Unknown, why), (found.State, found.Why));
    }

    [Fact]
    public void A_list_of_caches_that_does_not_close_is_a_typed_failure()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        SyntheticCache one = k.AddCache("one", 64);
        k.AddCache("two", 64);
        k.WriteU64(one.Address + k.Types.Offset("kmem_cache.list"), one.Address + k.Types.Offset("kmem_cache.list"));
        Assert.Throws<StructureException>(() => SlabCaches.Enumerate(g.Kernel, Few));
    }

    [Theory]
    [InlineData("kmem_cache.size", 0UL)]
    [InlineData("kmem_cache.oo", 0xffff_ffffUL)]
    [InlineData("kmem_cache.name", 0xffff_8880_ffff_0000UL)]
    public void A_cache_that_makes_no_sense_is_refused(string member, ulong value)
    {
        using var g = new KernelGuest();
        SyntheticCache cache = g.Guest.AddCache("one", 64);
        g.Guest.Put(cache.Address, member, value);
        Exception e = Assert.ThrowsAny<Exception>(() => SlabCaches.Enumerate(g.Kernel, Few));
        Assert.True(e is KernelShapeException or GuestMemoryException, e.ToString());
    }
}
