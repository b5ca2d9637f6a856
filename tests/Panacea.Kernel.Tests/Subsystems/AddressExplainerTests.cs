using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class AddressExplainerTests
{
    [Theory]
    [InlineData(0UL, AddressMeaning.Null, "NULL")]
    [InlineData(0x18UL, AddressMeaning.Null, "24, or NULL + 0x18")]
    [InlineData(0xffff_ffff_ffff_fff4UL, AddressMeaning.ErrorPointer, "ERR_PTR(-ENOMEM), or -12")]
    [InlineData(0xffff_ffff_ffff_fdfbUL, AddressMeaning.ErrorPointer, "ERR_PTR(-EPROBE_DEFER), or -517")]
    [InlineData(0xdead_0000_0000_0100UL, AddressMeaning.Poison, "LIST_POISON1: entry already deleted from its list")]
    [InlineData(0xdead_0000_0000_0122UL, AddressMeaning.Poison, "LIST_POISON2: entry already deleted from its list")]
    [InlineData(0xdead_0000_0000_0300UL, AddressMeaning.Poison, "TIMER_ENTRY_STATIC (a timer that is not pending)")]
    [InlineData(0x6b6b_6b6b_6b6b_6b7bUL, AddressMeaning.Poison, "slab poison 0x6b + 0x10: used after it was freed")]
    [InlineData(0x5a5a_5a5a_5a5a_5a5aUL, AddressMeaning.Poison, "slab poison 0x5a: used before it was initialised")]
    [InlineData(0xaaaa_aaaa_aaaa_aaaaUL, AddressMeaning.Poison, "page poison 0xaa: used after its page was freed")]
    [InlineData(0x2f6e_6962_2f72_7375UL, AddressMeaning.Characters, "the characters \"usr/bin/\"")]
    [InlineData(0x0000_0000_6f6c_6c65UL, AddressMeaning.User, "1869376613, or a user-space address")]
    [InlineData(0x0000_7ffd_1234_5678UL, AddressMeaning.User, "user-space address")]
    [InlineData(0x8000_0000_0000_0000UL, AddressMeaning.NonCanonical, "non-canonical: no address")]
    [InlineData(0xffff_fc00_0000_1000UL, AddressMeaning.Nowhere, "a kernel address where nothing is ever mapped")]
    [InlineData(0xffff_ffff_ff60_0010UL, AddressMeaning.Region, "vsyscall page")]
    public void Values_that_speak_for_themselves(ulong value, AddressMeaning meaning, string text)
    {
        using var g = new KernelGuest();
        AddressExplanation explained = new AddressExplainer(g.Kernel, TargetLimits.Default).Explain(value);
        Assert.Equal((meaning, text), (explained.Meaning, explained.Text));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void Values_that_the_kernels_structures_explain(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels), k =>
        {
            k.AddModule("loaded");
            k.AddModule("removed");
        });
        SyntheticKernel k = g.Guest;
        SyntheticSlab slab = k.AddSlab(k.AddCache("widget", 256), 3);
        ulong stack = k.VmallocBase + 0x40_0000, area = k.VmallocBase + 0x80_0000;
        k.Put(k.Victim.Address, "task_struct.stack", stack);
        k.SetVmallocAreas((area, k["ct_int"] + 4), (k.Modules[0].TextStart & ~0xfffUL, 0));
        k.WriteText(k["last_unloaded_module"], "gone_driver");
        ulong free = k.Direct(0x290_0000);
        k.MarkPage(free, "buddy", 2);
        var explainer = new AddressExplainer(g.Kernel, TargetLimits.Default);
        void Is(ulong value, AddressMeaning meaning, string text)
        {
            AddressExplanation e = explainer.Explain(value);
            Assert.Equal((meaning, true), (e.Meaning, e.Text.Contains(text, StringComparison.Ordinal) ? true : throw new InvalidOperationException(e.ToString())));
        }

        Is(k["ct_int"] + 3, AddressMeaning.Symbol, "ct_int+0x3");
        Is(k.Modules[0].TextStart + 8, AddressMeaning.Symbol, "[loaded]");
        Is(k.Modules[1].TextStart + 8, AddressMeaning.GoneModule, "[removed], of a module that is gone");
        Is(k["init_task"] + 0x10, AddressMeaning.Task, "task_struct of swapper/0 (0) + 0x10");
        Is(stack + 100, AddressMeaning.TaskStack, "stack of victim (321)");
        Is(stack - 8, AddressMeaning.StackGuard, "guard page below the stack of victim (321): stack overflow");
        Is(k.Kthread.Stack + 8, AddressMeaning.TaskStack, "stack of kworker/0:1");
        Is(slab.Objects[3] + 8, AddressMeaning.SlabObject, $"widget object 0x{slab.Objects[3]:x} + 0x8, free");
        Is(slab.Objects[4], AddressMeaning.SlabObject, $"widget object 0x{slab.Objects[4]:x}, in use");
        Is(area + 0x123, AddressMeaning.VmallocArea, $"vmalloc area 0x{area:x} of ct_int + 0x123");
        Is(area + 0x4008, AddressMeaning.VmallocGuard, "guard page");
        Is(area + 0x10_0000, AddressMeaning.GoneVmalloc, "nothing is mapped");
        Is(0xffff_ffff_fe00_0000, AddressMeaning.GoneModule, "the last module removed was gone_driver");
        Is(k.PageOf(free) + 8, AddressMeaning.StructPage, "struct page of frame 0x2900 + 0x8 (Free)");
        Is(free + 0x3004, AddressMeaning.FreePage, "a block of 4 pages");
        Is(k.Direct(64 << 20), AddressMeaning.Nowhere, "past the end of RAM");
        k.MarkPage(k.Direct(0x100_0000) + (k["ct_int"] - k.TextBase), "reserved");
        Is(k.Direct(0x100_0000) + (k["ct_int"] - k.TextBase), AddressMeaning.Symbol, "through the direct map");

        // What the image gave back after boot belongs to somebody else, whatever symbol lay there.
        Is(k.Direct(0x100_0000) + (k["jiffies_64"] - k.TextBase), AddressMeaning.Page, "memory of the kernel");
        Assert.Equal(321, explainer.Explain(stack).Task!.Pid);
        Assert.Equal(SlabObjectState.Free, explainer.Explain(slab.Objects[3]).Object!.State);
        Assert.Empty(explainer.Without);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Kfences_pool_ends_where_its_metadata_ends(bool behindPointer)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong pool = k.Direct(0x2a0_0000), bytes = (ulong)k.Types.SizeOf("kfence_metadata"), table = behindPointer ? k.Allocate(4 * (int)bytes) : k["kfence_metadata"];
        k.WriteU64(k["__kfence_pool"], pool);
        if (behindPointer)
            k.WriteU64(k["kfence_metadata"], table);
        for (ulong i = 0; i < 3; i++)
            k.Put(table + (i * bytes), "kfence_metadata.addr", pool + ((i + 1) * 0x2000) + (i * 8));
        var explainer = new AddressExplainer(g.Kernel, TargetLimits.Default);
        Assert.Equal("KFENCE pool + 0x6010", explainer.Explain(pool + 0x6010).Text);
        Assert.Equal(AddressMeaning.Kfence, explainer.Explain(pool + 0x7fff).Meaning);
        Assert.Equal(AddressMeaning.Page, explainer.Explain(pool + 0x8000).Meaning);
    }

    [Fact]
    public void What_cannot_be_read_makes_explanations_coarser_and_is_said()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        k.WriteU64(k["slab_caches"], 0xffff_8880_ffff_0000);
        k.WriteU64(k["vmap_area_list"], 0);
        var explainer = new AddressExplainer(g.Kernel, TargetLimits.Default);
        Assert.Equal(AddressMeaning.Page, explainer.Explain(k.Direct(0x290_0000)).Meaning);
        AddressExplanation gone = explainer.Explain(k.VmallocBase + 0x1000);
        Assert.Equal((AddressMeaning.GoneVmalloc, Certainty.Possible), (gone.Meaning, gone.Certainty));
        Assert.Equal(2, explainer.Without.Count);

        k.WriteU64(k["page_offset_base"], 7);
        explainer = new AddressExplainer(g.Kernel, TargetLimits.Default);
        Assert.Single(explainer.Without);
        Assert.Equal(AddressMeaning.Symbol, explainer.Explain(k["ct_int"]).Meaning);
        Assert.Equal(AddressMeaning.Nowhere, explainer.Explain(k.Direct(0x1000)).Meaning);
    }
}
