using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

/// <summary>Which pages a dump leaves out.</summary>
public sealed class PageFilterTests
{
    /// <summary>First frame of the memory that the tests mark.</summary>
    private const ulong First = 0x2800;

    [Theory]
    [InlineData(KernelShape.Linux61, PageFilterLevel.All, "free cache private user")]
    [InlineData(KernelShape.Linux612, PageFilterLevel.All, "free cache private user")]
    [InlineData(KernelShape.Linux61, PageFilterLevel.Free, "free")]
    [InlineData(KernelShape.Linux612, PageFilterLevel.User, "user")]
    [InlineData(KernelShape.Linux612, PageFilterLevel.Cache, "cache")]
    [InlineData(KernelShape.Linux61, PageFilterLevel.PrivateCache, "cache private")]
    [InlineData(KernelShape.Linux612, PageFilterLevel.None, "")]
    [InlineData(KernelShape.Linux61, PageFilterLevel.Zero, "")]
    public void Each_bit_leaves_out_its_pages(KernelShape shape, PageFilterLevel level, string expected)
    {
        using var g = Guest(shape);
        PageFilter filter = PageFilter.Read(g.Kernel, level, [], TargetLimits.Default);
        Assert.Null(filter.WhyNot);
        Assert.Equal(level, filter.Level);
        (ulong First, ulong Count, string Name)[] all = [(First, 64, "free"), (First + 64, 32, "cache"), (First + 96, 32, "private"), (First + 128, 32, "user")];
        var want = all.Where(a => expected.Split(' ').Contains(a.Name)).ToList();

        // Neighbours of different kinds are one run.
        Assert.Equal(want.Aggregate(0UL, (sum, a) => sum + a.Count), filter.Runs.Aggregate(0UL, (sum, r) => sum + r.Count));
        Assert.All(want, a => Assert.Contains(filter.Runs, r => r.First <= a.First && r.End >= a.First + a.Count));
        Assert.Equal(
            (want.Exists(a => a.Name == "free") ? 64 : 0, want.Exists(a => a.Name == "cache") ? 32 : 0, want.Exists(a => a.Name == "private") ? 32 : 0, want.Exists(a => a.Name == "user") ? 32 : 0),
            (filter.Pages.Free, filter.Pages.Cache, filter.Pages.PrivateCache, filter.Pages.User));
    }

    /// <summary>makedumpfile 1.7.2 takes slab pages of kernels since 6.10 for memory of processes: where others have their mapping, a slab has a link, and the low bit of it may be set.</summary>
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Slab_and_page_tables_are_kept_whatever_their_words_look_like(KernelShape shape)
    {
        using var g = Guest(shape);
        SyntheticKernel k = g.Guest;
        for (ulong i = 0; i < 64; i++)
        {
            ulong at = k.Direct((First + 512 + i) * 4096);
            k.MarkPage(at, i < 32 ? "slab" : "table");
            k.Put(k.PageOf(at), "page.mapping", 0xffff_8880_0123_4561);
            k.Put(k.PageOf(at), "page._refcount", 1);
        }

        Assert.DoesNotContain(PageFilter.Read(g.Kernel, PageFilterLevel.All, [], TargetLimits.Default).Runs, r => r.End > First + 512);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Parts_of_a_compound_page_are_what_its_first_page_is(KernelShape shape)
    {
        using var g = Guest(shape);
        SyntheticKernel k = g.Guest;
        ulong head = k.Direct((First + 1024) * 4096);
        k.MarkPage(head, "anon", 0xffff_8880_0123_4560);
        k.MarkPage(head, "head", 5);
        for (ulong i = 1; i < 40; i++)
            k.MarkPage(head + (i * 4096), "tail", head);

        // Those past its end say so and are none.
        Assert.Contains(new LeftOutRun(First + 1024, 32, new PageCounts(0, 0, 0, 32, 0)), PageFilter.Read(g.Kernel, PageFilterLevel.All, [], TargetLimits.Default).Runs);
        Assert.DoesNotContain(PageFilter.Read(g.Kernel, PageFilterLevel.Cache, [], TargetLimits.Default).Runs, r => r.First >= First + 1024);
    }

    [Theory]
    [InlineData("order", 0)]
    [InlineData("alignment", 0)]
    [InlineData("in use inside", 32)]
    [InlineData("lost", 64)]
    [InlineData("short", 0)]
    public void Free_blocks_that_make_no_sense_are_kept(string damage, int leftOut)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong block = k.Direct(First * 4096);
        switch (damage)
        {
            case "order":
                k.MarkPage(block, "buddy", 63);
                break;
            case "alignment":
                k.MarkPage(block + 4096, "buddy", 6);
                break;
            case "short":
                k.MarkPage(block, "buddy", 3);
                break;
            case "in use inside":
                // The first half is free; the rest of a block that is broken in its middle is in use, whatever it is.
                k.MarkPage(block, "buddy", 6);
                k.Put(k.PageOf(block + (32 * 4096)), "page._refcount", 1);
                break;
            default:
                // A page of page structures that can't be read; the block lies in another.
                k.MarkPage(block, "buddy", 6);
                k.Memory.Lose(k.Physical(k.PageOf(block + (128 * 4096))));
                break;
        }

        PageFilter filter = PageFilter.Read(g.Kernel, PageFilterLevel.All, [], TargetLimits.Default);
        Assert.Null(filter.WhyNot);
        Assert.Equal(leftOut, filter.Pages.Total);
        Assert.Equal(damage is "short", filter.Unknown == 0);
    }

    [Theory]
    [InlineData("code")]
    [InlineData("page table")]
    [InlineData("stack")]
    [InlineData("bases")]
    [InlineData("all lost")]
    public void Where_the_structures_are_broken_everything_is_kept(string damage)
    {
        using var g = Guest(KernelShape.Linux61);
        SyntheticKernel k = g.Guest;
        ulong stack = k.Direct((First + 2048) * 4096);
        VcpuRegisters[] vcpus = [];
        switch (damage)
        {
            case "code":
                Free(k, k.Physical(k.TextBase));
                break;
            case "page table":
                Free(k, k.Tables.Root.Value);
                break;
            case "stack":
                Free(k, k.Physical(stack));
                GprFile gpr = default;
                gpr[Gpr.Rsp] = stack + 0x100;
                vcpus = [k.Vcpu(0, k["vfs_write"], gpr)];
                break;
            case "bases":
                k.WriteU64(k["vmemmap_base"], 0);
                break;
            default:
                for (ulong page = 0; page < 1 << 20; page += 4096)
                    k.Memory.Lose(k.Physical(k.VmemmapBase + page));
                break;
        }

        PageFilter filter = PageFilter.Read(g.Kernel, PageFilterLevel.All, vcpus, TargetLimits.Default);
        Assert.NotNull(filter.WhyNot);
        Assert.Empty(filter.Runs);
        Assert.Equal(PageFilterLevel.Zero, filter.Level);
    }

    [Fact]
    public void It_can_be_ended()
    {
        using var g = Guest(KernelShape.Linux61);
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => PageFilter.Read(g.Kernel, PageFilterLevel.All, [], TargetLimits.Default, cancel.Token));
    }

    /// <summary>A free block of 64 frames, 32 of page cache, 32 of page cache with buffers, 32 of a process, one behind the other.</summary>
    private static KernelGuest Guest(KernelShape shape)
    {
        var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        PageFlagNames names = PageFlagNames.Of(g.Kernel);
        k.MarkPage(k.Direct(First * 4096), "buddy", 6);
        for (ulong i = 64; i < 160; i++)
        {
            ulong page = k.PageOf(k.Direct((First + i) * 4096));
            k.Put(page, "page._refcount", 2);
            k.Put(page, "page.flags", names.MaskOf("lru") | (i is >= 96 and < 128 ? names.MaskOf("private") : 0));
            k.Put(page, "page.mapping", i < 128 ? 0xffff_8880_0123_4560 : 0xffff_8880_0123_4561);
        }

        return g;
    }

    private static void Free(SyntheticKernel k, ulong physical)
    {
        ulong block = k.Direct(physical / (16 * 4096) * (16 * 4096));
        k.MarkPage(block, "buddy", 4);
        for (ulong i = 0; i < 16; i++)
            k.Put(k.PageOf(block + (i * 4096)), "page._refcount", 0);
    }
}
