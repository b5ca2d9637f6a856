using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class MemoryTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void Every_address_has_its_region(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        SyntheticKernel k = g.Guest;
        AddressLayout layout = AddressLayout.Read(g.Kernel);
        (ulong Address, AddressRegion Region)[] expected =
        [
            (0, AddressRegion.User), (0x7fff_ffff_ffff, AddressRegion.User), (0x0100_0000_0000_0000, AddressRegion.NonCanonical),
            (0x0000_8000_0000_0000, levels == 5 ? AddressRegion.User : AddressRegion.NonCanonical), (k.DirectBase - 1, AddressRegion.LdtRemap), (k.DirectBase, AddressRegion.DirectMap),
            (k.Direct((64 << 20) - 1), AddressRegion.DirectMap), (k.Direct(64 << 20), AddressRegion.DirectMapBeyondRam), (k.VmallocBase, AddressRegion.Vmalloc),
            (k.VmallocBase + (levels == 5 ? 12800UL << 40 : 32UL << 40), AddressRegion.Hole), (k.VmemmapBase, AddressRegion.Vmemmap), (k.VmemmapBase + (1 << 20) - 1, AddressRegion.Vmemmap),
            (k.VmemmapBase + (1 << 20), AddressRegion.Hole), (0xffff_fe00_0000_0000, AddressRegion.CpuEntryArea), (0xffff_ff00_0000_0000, AddressRegion.Espfix),
            (0xffff_ffef_0000_0000, AddressRegion.Efi), (k.TextBase, AddressRegion.KernelText), (0xffff_ffff_8000_0000, AddressRegion.KernelImageArea), (0xffff_ffff_c000_0000, AddressRegion.Modules),
            (0xffff_ffff_ff5f_f000, AddressRegion.Fixmap), (0xffff_ffff_ff60_0000, AddressRegion.Vsyscall), (ulong.MaxValue, AddressRegion.Hole),
        ];
        Assert.All(expected, e => Assert.Equal((e.Address, e.Region), (e.Address, layout.RegionOf(e.Address))));
        Assert.True(layout.TryDirectToPhysical(k.Direct(0x1234), out PhysicalAddress physical));
        Assert.Equal(0x1234UL, physical.Value);
        Assert.True(layout.TryFrameOf(k.PageOf(k.Direct(0x5000)), out ulong frame));
        Assert.Equal(5UL, frame);
        Assert.False(layout.TryFrameOf(k.PageOf(k.Direct(0x5000)) + 8, out _));
    }

    [Theory]
    [InlineData("page_offset_base", 0UL)]
    [InlineData("vmalloc_base", 0xffff_8000_0000_0000UL)]
    [InlineData("vmemmap_base", ulong.MaxValue / 2)]
    [InlineData("page_offset_base", ulong.MaxValue)]
    public void Bases_that_contradict_each_other_are_refused(string symbol, ulong value)
    {
        using var g = new KernelGuest();
        g.Guest.WriteU64(g.Guest[symbol], value);
        Assert.Throws<KernelShapeException>(() => AddressLayout.Read(g.Kernel));
    }

    [Fact]
    public void A_senseless_end_of_memory_does_not_reach_into_other_regions()
    {
        using var g = new KernelGuest();
        g.Guest.WriteU64(g.Guest["max_pfn"], ulong.MaxValue);
        AddressLayout layout = AddressLayout.Read(g.Kernel);
        Assert.True(layout.DirectMapEnd <= layout.VmallocStart);
        Assert.Equal(AddressRegion.Vmalloc, layout.RegionOf(g.Guest.VmallocBase));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Pages_say_what_they_are_used_for(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        ulong at = k.Direct(0x280_0000);
        k.MarkPage(at, "buddy", 3);
        k.MarkPage(at + 0x8000, "slab");
        k.MarkPage(at + 0x9000, "table");
        k.MarkPage(at + 0xa000, "anon", 0xffff_8880_0123_4560);
        k.MarkPage(at + 0xb000, "reserved");
        k.MarkPage(at + 0xc000, "slab");
        k.MarkPage(at + 0xc000, "head", 1);
        k.MarkPage(at + 0xd000, "tail", at + 0xc000);
        AddressLayout layout = AddressLayout.Read(g.Kernel);
        var pages = new Pages(g.Kernel, layout);
        PageUse[] uses = [.. Enumerable.Range(0, 15).Select(i => pages.TryOfVirtual(at + ((ulong)i << 12), out PageInfo page) ? page.Use : (PageUse)99)];
        Assert.Equal(
            [
                .. Enumerable.Repeat(PageUse.Free, 8), PageUse.Slab, PageUse.PageTable, PageUse.Anonymous, PageUse.Reserved, PageUse.Slab, PageUse.Slab, PageUse.Kernel,
            ],
            uses);
        Assert.True(pages.TryOfVirtual(at + 0x5000, out PageInfo inside));
        Assert.Equal((3, true, k.PageOf(at)), (inside.Order, inside.IsTail, inside.Head));
        Assert.True(pages.TryOfVirtual(at + 0xd123, out PageInfo tail));
        Assert.Equal((1, true, 0x280dUL), (tail.Order, tail.IsTail, tail.Frame));
        Assert.True(pages.TryOfVirtual(at + 0xa000, out PageInfo anonymous));
        Assert.Equal((0xffff_8880_0123_4560UL, 1), (anonymous.Mapping, anonymous.Mapped));
        Assert.True(pages.TryOfVirtual(at + 0xb000, out PageInfo reserved));
        Assert.Equal(["reserved"], reserved.Flags);
    }

    /// <summary>page_type of each kernel, as its enum pagetype has it: none, bits, bits elsewhere, a byte.</summary>
    public static TheoryData<string, string, (string Name, uint Value)[]> PageTypes => new()
    {
        { "PG_slab=9", "", [("buddy", 0xffff_ff7f), ("table", 0xffff_fdff), ("offline", 0xffff_feff)] },
        { "PG_lru=5", "", [("buddy", 0xffff_ff7f), ("slab", 0xffff_efff), ("hugetlb", 0xffff_f7ff)] },
        {
            "PG_lru=5", "PG_buddy=0x80 PG_offline=0x100 PG_table=0x200 PG_guard=0x400 PG_hugetlb=0x800 PG_slab=0x1000 PAGE_TYPE_BASE=0xf0000000 PAGE_MAPCOUNT_RESERVE=0xffffff80",
            [("buddy", 0xffff_ff7f), ("slab", 0xffff_efff), ("table", 0xffff_fdff)]
        },
        {
            "PG_lru=5", "PG_buddy=0x40000000 PG_offline=0x20000000 PG_table=0x10000000 PG_guard=0x8000000 PG_hugetlb=0x4000000 PG_slab=0x2000000 PAGE_TYPE_BASE=0x80000000",
            [("buddy", 0xbfff_ffff), ("slab", 0xfdff_ffff), ("offline", 0xdfff_1234)]
        },
        { "PG_lru=5", "PGTY_buddy=0xf0 PGTY_offline=0xf1 PGTY_table=0xf2 PGTY_slab=0xf5 PGTY_mapcount_underflow=0xff", [("buddy", 0xf000_0000), ("slab", 0xf5ff_ffff), ("table", 0xf200_0001)] },
    };

    [Theory]
    [MemberData(nameof(PageTypes))]
    public void Types_of_pages_are_those_of_the_kernels_own_enum(string flags, string types, (string Name, uint Value)[] expected)
    {
        var names = new PageFlagNames(Enumerators(flags), Enumerators(types), 1, 4);
        Assert.Equal(expected.Select(e => e.Name), expected.Select(e => names.TypeName(e.Value)));
        Assert.All(expected, e => Assert.True(names.IsTyped(e.Value)));
        Assert.All((uint[])[uint.MaxValue, 0, 5, 0x7fff_ffff], count => Assert.Null(names.TypeName(count)));
        uint slab = expected.FirstOrDefault(e => e.Name == "slab").Value;
        Assert.True(names.IsSlab(flags == "PG_slab=9" ? 1UL << 9 : 0, slab));
        Assert.False(names.IsSlab(1 << 8, uint.MaxValue));

        static IEnumerable<KeyValuePair<string, long>> Enumerators(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(t => t.Split('='))
            .Select(t => KeyValuePair.Create(t[0], t[1].StartsWith("0x", StringComparison.Ordinal) ? Convert.ToInt64(t[1], 16) : long.Parse(t[1], System.Globalization.CultureInfo.InvariantCulture)));
    }

    /// <summary>A part of a compound page names its first page, or holds the mask that leads there.</summary>
    [Fact]
    public void The_first_of_its_pages_is_found_by_address_and_by_mask()
    {
        using var g = new KernelGuest();
        AddressLayout layout = AddressLayout.Read(g.Kernel);
        ulong head = layout.PageOf(0x2800), tail = layout.PageOf(0x2803);
        ulong mask = unchecked((ulong)-(4 * (long)layout.PageStructBytes));
        Assert.True(layout.TryHeadOf(tail, head | 1, out ulong found));
        Assert.Equal(head, found);
        Assert.True(layout.TryHeadOf(tail, mask | 1, out found));
        Assert.Equal(head, found);
        Assert.True(layout.TryHeadOf(head, 0x1234, out found));
        Assert.Equal(head, found);

        // What leads on, out of the array, or nowhere.
        foreach (ulong wrong in (ulong[])[layout.PageOf(0x2804) | 1, 1, 0xdead_beef_0000_0001, ulong.MaxValue, mask & ~(1UL << 40) | 1])
            Assert.False(layout.TryHeadOf(tail, wrong, out _), $"0x{wrong:x}");
    }

    [Theory]
    [InlineData("tail of a later page")]
    [InlineData("tail outside of its head")]
    [InlineData("order")]
    [InlineData("lost")]
    public void A_page_that_makes_no_sense_is_none_or_is_itself(string damage)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong at = k.Direct(0x280_0000);
        var pages = new Pages(g.Kernel, AddressLayout.Read(g.Kernel));
        switch (damage)
        {
            case "tail of a later page":
                k.MarkPage(at, "tail", at + 0x1000);
                Assert.True(pages.TryOfVirtual(at, out PageInfo page));
                Assert.False(page.IsTail);
                break;
            case "tail outside of its head":
                k.MarkPage(at, "head", 1);
                k.MarkPage(at + 0x2000, "tail", at);
                Assert.False(pages.TryOfVirtual(at + 0x2000, out _));
                break;
            case "order":
                k.MarkPage(at, "head", 99);
                Assert.False(pages.TryOfVirtual(at, out _));
                break;
            default:
                k.Memory.Lose(k.Physical(k.PageOf(at)));
                Assert.False(pages.TryOfVirtual(at, out _));
                break;
        }

        Assert.False(pages.TryOfFrame(ulong.MaxValue, out _));
        Assert.False(pages.TryOfFrame((64 << 20) / 4096, out _));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Vmalloc_areas_are_found_by_address(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        ulong one = k.VmallocBase + 0x10_0000, two = k.VmallocBase + 0x20_0000;
        k.SetVmallocAreas((one, k["ct_int"] + 4), (two, 0));
        List<VmallocArea> areas = Vmalloc.Areas(g.Kernel, Few);
        Assert.Equal([one, two], areas.Select(a => a.Start));
        Assert.Equal(("vmalloc", 4u, k["ct_int"] + 4), (areas[0].Kind, areas[0].Pages, areas[0].Caller));
        Assert.Equal(areas[0], Vmalloc.Find(areas, one));
        Assert.Equal(areas[0], Vmalloc.Find(areas, one + 0x4fff));
        Assert.True(areas[0].IsGuard(one + 0x4000));
        Assert.False(areas[0].IsGuard(one + 0x3fff));
        Assert.Null(Vmalloc.Find(areas, one - 1));
        Assert.Null(Vmalloc.Find(areas, one + 0x5000));
        Assert.Null(Vmalloc.Find([], one));
    }

    [Fact]
    public void Stacks_and_their_guard_pages_have_owners()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong stack = k.VmallocBase + 0x40_0000;
        k.Put(k.Victim.Address, "task_struct.stack", stack);
        TaskStacks stacks = TaskStacks.Of(g.Kernel, AddressLayout.Read(g.Kernel), Tasks.Enumerate(g.Kernel, Few));
        Assert.Equal(("victim", false), (stacks.Find(stack)!.Task.Comm, stacks.Find(stack)!.IsGuard));
        Assert.Equal(("victim", false), (stacks.Find(stack + 16383)!.Task.Comm, stacks.Find(stack + 16383)!.IsGuard));
        Assert.Equal(("victim", true), (stacks.Find(stack - 1)!.Task.Comm, stacks.Find(stack - 1)!.IsGuard));
        Assert.Null(stacks.Find(stack - 4097));
        Assert.Null(stacks.Find(stack + 16384));
    }

    [Fact]
    public void Resources_are_listed_as_a_tree_and_cycles_end()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong code = k.New("resource", ("start", 0x1000), ("end", 0x1fff), ("name", k.Text0("Kernel code")));
        ulong ram = k.New("resource", ("start", 0), ("end", 0xffff), ("name", k.Text0("System RAM")), ("flags", 0x8100_0200), ("child", code));
        ulong reserved = k.New("resource", ("start", 0x2_0000), ("end", 0x2_ffff), ("name", k.Text0("Reserved")));
        k.Put(ram, "resource.sibling", reserved);
        k.Put(k["iomem_resource"], "resource.child", ram);
        Assert.Equal(
            [(0UL, 0, "System RAM", true), (0x1000UL, 1, "Kernel code", false), (0x2_0000UL, 0, "Reserved", false)],
            PhysicalMemory.Resources(g.Kernel, Few).Select(r => (r.Start.Value, r.Depth, r.Name, r.IsSystemRam)));
        k.Put(reserved, "resource.sibling", ram);
        Assert.Throws<KernelShapeException>(() => PhysicalMemory.Resources(g.Kernel, Few));
        k.Put(reserved, "resource.child", reserved);
        Assert.Throws<KernelShapeException>(() => PhysicalMemory.Resources(g.Kernel, Few));
    }
}
