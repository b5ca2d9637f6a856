using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Image;

/// <summary>An image is taken along when modules come and go: at a crash there is time for what is new, and for nothing else.</summary>
public sealed class ModuleRefreshTests : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    [Theory]
    [InlineData(KernelShape.Linux61, false)]
    [InlineData(KernelShape.Linux61, true)]
    [InlineData(KernelShape.Linux612, false)]
    [InlineData(KernelShape.Linux612, true)]
    public void What_is_known_is_not_read_again(KernelShape shape, bool isStill)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape), k => k.AddModule("stays"));
        SyntheticModule stays = g.Guest.Modules.Single(m => m.Name == "stays"), comes = g.Guest.AddModule("comes");
        g.Guest.Link();
        var memory = new NotedMemory(g.Guest.Memory);
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, memory, _cache.Path, TargetLimits.Default, isStill);
        Assert.True(memory.HasRead(g.Guest.Physical(comes.TextStart)), "the new one's text is read");
        Assert.True(memory.HasRead(g.Guest.Physical(comes.TextStart + 0x3000)), "and its symbols");
        Assert.False(memory.HasRead(g.Guest.Physical(stays.TextStart)), "the text of one that is known is not");
        Assert.False(memory.HasRead(g.Guest.Physical(stays.TextStart + 0x3000)), "nor are its symbols");
        Assert.False(memory.HasRead(g.Guest.Physical(g.Guest["ct_int"])), "and nothing of the kernel");
        Assert.Equal(("comes", "stays"), (fresh.Symbolize(comes.Text["ctm_write"])?.Module, fresh.Symbolize(stays.Text["ctm_write"])?.Module));
        Assert.True(fresh.TryFind(comes.TextStart, out _) && fresh.TryFind(stays.TextStart, out _));
        Assert.Same(g.Image.Types, fresh.Types);
    }

    /// <summary>While the guest waits nothing is written to the host's disk; later it is, so that memory is not kept for what a file can hold.</summary>
    [Fact]
    public void What_came_in_at_a_crash_is_stored_later()
    {
        using var g = new KernelGuest(null, k => k.AddModule("first"));
        SyntheticModule comes = g.Guest.AddModule("comes");
        g.Guest.Link();
        using RepairImage atCrash = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, Path.Combine(_cache.Path, "none"), TargetLimits.Default, isStill: true);
        Assert.False(Directory.Exists(Path.Combine(_cache.Path, "none")));
        Assert.Contains(atCrash.Sections, s => s is { Owner: > 0, Region: null });
        SyntheticModule late = g.Guest.AddModule("late");
        g.Guest.Link();
        using RepairImage later = RepairImageBuilder.Refresh(atCrash, g.Guest.Memory, _cache.Path, TargetLimits.Default);
        Assert.DoesNotContain(later.Sections, s => s is { Owner: > 0, Region: null });
        Assert.Equal(3, later.Meta.Modules.Count);
        Assert.Equal("comes", later.Symbolize(comes.TextStart)?.Module);
        Assert.Equal("late", later.Symbolize(late.TextStart)?.Module);
        Assert.Empty(Directory.GetFiles(_cache.Path));
    }

    /// <summary>Who made it, and from what, makes no difference to what it is.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_refreshed_image_equals_one_that_is_built_anew(bool isStill)
    {
        using var g = new KernelGuest(null, k => { k.AddModule("goes"); k.AddModule("stays"); });
        g.Guest.AddModule("comes");
        g.Guest.Modules.RemoveAll(m => m.Name == "goes");
        g.Guest.Link();
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default, isStill), anew = KernelGuest.Build(g.Guest, _cache.Path);
        Assert.Equal(Content(anew), Content(fresh));
        Assert.Equal(anew.Id, fresh.Id);
        string file = Path.Combine(_cache.Path, "refreshed.rimg");
        fresh.Save(file);
        using RepairImage again = RepairImage.Open(file, _cache.Path);
        Assert.Equal(fresh.Id, again.Id);

        static IEnumerable<(ImageSection, uint, string)> Content(RepairImage image) =>
            image.Sections.Where(s => s.Kind != ImageSection.BuildTime).Select(s => (s.Kind, s.Owner, Convert.ToHexString(s.Bytes.Span)));
    }

    /// <summary>The mapping that both look into stays until the last of them is disposed of.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_image_outlives_the_one_that_it_was_made_from(bool isStill)
    {
        var g = new KernelGuest(null, k => k.AddModule("stays"));
        SyntheticModule stays = g.Guest.Modules.Single(m => m.Name == "stays"), comes = g.Guest.AddModule("comes");
        g.Guest.Link();
        RepairImage second = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default, isStill);
        g.Dispose();
        g.Dispose();
        g.Guest.AddModule("last");
        g.Guest.Link();
        using RepairImage third = RepairImageBuilder.Refresh(second, g.Guest.Memory, _cache.Path, TargetLimits.Default, isStill);
        second.Dispose();
        byte[] code = new byte[4];
        Assert.True(third.TryReadCode(stays.TextStart, code) && third.TryReadCode(comes.TextStart, code) && third.TryReadCode(g.Guest["ct_int"], code));
        Assert.Equal("oops_end", third.Symbolize(g.Guest["oops_end"])?.Name);
        Assert.Equal(3, third.Meta.Modules.Count);
    }

    /// <summary>The same name at the same place, of the same sizes: another load all the same.</summary>
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Another_load_at_the_same_place_is_another_module(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape), k => k.AddModule("again"));
        SyntheticModule again = g.Guest.Modules.Single();
        Assert.NotEqual(0UL, Modules.LoadId(g.Kernel, again.Address));
        g.Guest.Memory.Write(g.Guest.Physical(again.TextStart), [0x06]);
        g.Guest.Put(again.Directory, "kernfs_node.id", 77);
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default);
        Assert.Equal(77UL, Assert.Single(fresh.Meta.Modules).LoadId);
        byte[] code = new byte[1];
        Assert.True(fresh.TryReadCode(again.TextStart, code));
        Assert.Equal(0x06, code[0]);
    }

    /// <summary>Where loads can't be told apart, the last module that was unloaded is not trusted to be the one of before.</summary>
    [Theory]
    [InlineData("again", 0x06)]
    [InlineData("other", null)]
    public void Without_load_ids_the_last_one_unloaded_is_read_again(string unloaded, int? expected)
    {
        using var g = new KernelGuest(null, k => k.Put(k.AddModule("again").Address, "module.mkobj.kobj.sd", 0));
        SyntheticModule again = g.Guest.Modules.Single();
        byte[] code = new byte[1];
        Assert.True(g.Image.TryReadCode(again.TextStart, code));
        int before = code[0];
        g.Guest.Memory.Write(g.Guest.Physical(again.TextStart), [0x06]);
        g.Guest.WriteText(g.Guest["last_unloaded_module"], unloaded);
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default);
        Assert.True(fresh.TryReadCode(again.TextStart, code));
        Assert.Equal(expected ?? before, code[0]);
    }

    /// <summary>A module on its way out is the one that it was; one that comes may not have been whole when it was read.</summary>
    [Theory]
    [InlineData(2, false)]
    [InlineData(1, true)]
    public void One_on_its_way_out_is_known_one_on_its_way_in_is_not(int state, bool isRead)
    {
        using var g = new KernelGuest(null, k => k.AddModule("moves"));
        SyntheticModule moves = g.Guest.Modules.Single();
        g.Guest.Put(moves.Address, "module.state", (ulong)state);
        var memory = new NotedMemory(g.Guest.Memory);
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, memory, _cache.Path, TargetLimits.Default, isStill: true);
        Assert.Equal("moves", fresh.Symbolize(moves.TextStart)?.Module);
        Assert.Equal(isRead, memory.HasRead(g.Guest.Physical(moves.TextStart)));
    }

    /// <summary>A list that a crash has left in pieces does not cost what was known before.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_list_that_cannot_be_read_leaves_the_image_as_it_is(bool isStill)
    {
        using var g = new KernelGuest(null, k => k.AddModule("known"));
        g.Guest.WriteU64(g.Guest["modules"], 8);
        Assert.Throws<KernelShapeException>(() => RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default, isStill));
        Assert.Equal("known", g.Image.Symbolize(g.Guest.Modules.Single().TextStart)?.Module);
        Assert.Empty(Directory.GetFiles(_cache.Path));
    }

    [Fact]
    public void Modules_are_found_by_address_however_many_there_are()
    {
        using var g = new KernelGuest(null, k =>
        {
            for (int i = 0; i < 20; i++)
                k.AddModule($"module{i}");
        });
        foreach (SyntheticModule module in g.Guest.Modules)
        {
            Assert.Equal(module.Name, g.Image.ModuleOf(module.TextStart)?.Name);
            Assert.Equal(module.Name, g.Image.ModuleOf(module.Address)?.Name);
            Assert.True(g.Image.IsText(module.TextStart));
            Assert.False(g.Image.IsText(module.Address));
            Assert.Null(g.Image.ModuleOf(module.TextStart - 1));
        }

        Assert.Null(g.Image.ModuleOf(0));
        Assert.Null(g.Image.ModuleOf(ulong.MaxValue));
    }

    public void Dispose() => _cache.Dispose();

    /// <summary>Notes what is read, by page.</summary>
    private sealed class NotedMemory(IGuestMemory memory) : IGuestMemory
    {
        private readonly HashSet<ulong> _pages = [];

        public IReadOnlyList<PhysicalRange> Ranges => memory.Ranges;

        public bool HasRead(ulong address) => _pages.Contains(address / 4096);

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            for (ulong page = address.Value / 4096; page <= (address.Value + (ulong)destination.Length - 1) / 4096; page++)
                _pages.Add(page);
            return memory.TryRead(address, destination, out fault);
        }
    }
}
