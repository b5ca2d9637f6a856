using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Formats;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Image;

public sealed class RepairImageBuilderTests : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    [Fact]
    public void Equal_kernels_make_equal_images_but_for_the_time_that_it_took()
    {
        var guest = new SyntheticKernel();
        using RepairImage one = KernelGuest.Build(guest, _cache.Path), two = KernelGuest.Build(guest, _cache.Path);
        Assert.Equal(Content(one), Content(two));
        Assert.Equal(one.Id, two.Id);
        Assert.True(one.BuildUs > 0);
        guest.WriteU64(guest["oops_end"] + 0x10, 1);
        using RepairImage other = KernelGuest.Build(guest, _cache.Path);
        Assert.NotEqual(one.Id, other.Id);

        static IEnumerable<(ImageSection, uint, string)> Content(RepairImage image) =>
            image.Sections.Where(s => s.Kind != ImageSection.BuildTime).Select(s => (s.Kind, s.Owner, Convert.ToHexString(s.Bytes.Span)));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void A_kernel_without_types_is_still_known_by_its_symbols(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape) with { Btf = false }, k => k.AddModule("crashtest"));
        Assert.False(g.Image.Types.IsPresent);
        Assert.Contains(g.Image.Meta.Without, w => w.Contains("no usable BTF"));
        Assert.Empty(g.Image.Meta.Modules);
        Assert.Equal(2, g.Image.Meta.DeathPoints.Count);
        Assert.True(g.Image.OrcCount > 0);
        Assert.Equal(g.Guest.Victim.Address, PerCpu.CurrentTask(g.Kernel, 0));
    }

    [Fact]
    public void A_kernel_without_unwind_rows_says_what_that_costs()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Orc = false }, k => k.AddModule("crashtest"));
        Assert.Equal(0, g.Image.OrcCount);
        Assert.Contains(g.Image.Meta.Without, w => w.Contains("no ORC unwind data can be used"));
        Assert.False(g.Image.TryFind(g.Guest["ct_int"], out _));
        Assert.Equal("crashtest", Assert.Single(g.Image.Meta.Modules).Name);
    }

    [Theory]
    [InlineData("__start_BTF", "BTF")]
    [InlineData("__stop_BTF", "BTF")]
    [InlineData("__stop_orc_unwind", "ORC")]
    [InlineData("__start_orc_unwind_ip", "ORC")]
    public void A_missing_end_of_a_table_costs_that_table(string symbol, string lost)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Without = new HashSet<string> { symbol } });
        Assert.Contains(lost, Assert.Single(g.Image.Meta.Without));
    }

    [Theory]
    [InlineData("__start_notes")]
    [InlineData("__stop_notes")]
    [InlineData("vmcoreinfo_data")]
    [InlineData("linux_banner")]
    [InlineData("nr_cpu_ids")]
    [InlineData("__per_cpu_offset")]
    public void What_only_identifies_may_be_missing(string symbol)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Without = new HashSet<string> { symbol } });
        Assert.Equal(symbol is "__start_notes" or "__stop_notes", g.Image.Meta.BuildId is null);
        Assert.Equal(symbol == "vmcoreinfo_data", g.Image.Meta.VmcoreInfo is null);
        Assert.Equal(symbol == "linux_banner", g.Image.Meta.Release == "unknown");
        Assert.Equal(symbol is "nr_cpu_ids" or "__per_cpu_offset", g.Image.Meta.PerCpuBases.Count == 0);
    }

    [Theory]
    [InlineData("swapper_pg_dir", "page tables")]
    [InlineData("_etext", "_etext")]
    [InlineData("oops_end,panic", "no place to stop it at")]
    public void What_nothing_works_without_is_named(string symbols, string says)
    {
        var guest = new SyntheticKernel(new SyntheticKernelOptions { Without = symbols.Split(',').ToHashSet() });
        Assert.Contains(says, Assert.Throws<NotLinuxException>(() => KernelGuest.Build(guest, _cache.Path)).Message);
        Assert.Empty(Directory.GetFiles(_cache.Path));
    }

    [Fact]
    public void A_guest_without_symbols_is_told_what_it_lacks()
    {
        var guest = new SyntheticKernel();
        guest.WriteU64(guest.KallsymsTables["kallsyms_num_syms"], 3);
        Assert.Contains("CONFIG_KALLSYMS", Assert.Throws<NotLinuxException>(() => KernelGuest.Build(guest, _cache.Path)).Message);
    }

    [Fact]
    public void Where_vpanic_does_the_work_it_is_the_death_point()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Vpanic = true, EntryNops = false });
        Assert.Equal([("oops_end", 0), ("vpanic", 0)], g.Image.Meta.DeathPoints.Select(p => (p.Symbol, p.EntryNopLength)));
    }

    [Theory]
    [InlineData("kernel text", "text can't be read", "ct_int")]
    [InlineData("page tables", "", "swapper_pg_dir")]
    public void A_page_that_cannot_be_read_is_told_or_done_without(string what, string says, string symbol)
    {
        var guest = new SyntheticKernel();
        guest.Memory.Lose(guest.Physical(guest[symbol]));
        string message = Assert.Throws<NotLinuxException>(() => KernelGuest.Build(guest, _cache.Path)).Message;
        Assert.True(message.Contains(says), $"{what}: {message}");
    }

    [Fact]
    public void An_unreadable_module_is_left_out_with_a_word()
    {
        using var g = new KernelGuest(null, k => k.Memory.Lose(k.Physical(k.AddModule("crashtest").Address)));
        Assert.Empty(g.Image.Meta.Modules);
        Assert.Contains(g.Image.Meta.Without, w => w.Contains("module list"));
    }

    /// <summary>Values that a guest may write where the builder computes with them.</summary>
    [Theory]
    [InlineData("vmcoreinfo_data", ulong.MaxValue - 8)]
    [InlineData("vmcoreinfo_size", ulong.MaxValue)]
    [InlineData("vmcoreinfo_size", 4097UL)]
    [InlineData("nr_cpu_ids", 0xffff_ffffUL)]
    [InlineData("nr_cpu_ids", 8192UL)]
    [InlineData("modules", 0UL)]
    [InlineData("modules", ulong.MaxValue)]
    public void Hostile_values_cost_what_they_are_of(string symbol, ulong value)
    {
        using var g = new KernelGuest(null, k =>
        {
            k.AddModule("crashtest");
            k.Link();
            k.WriteU64(k[symbol], value);
            k.Modules.Clear();
        });
        Assert.True(g.Image.Meta.PerCpuBases.Count <= 8192);
        Assert.Equal(symbol.StartsWith("vmcoreinfo", StringComparison.Ordinal), g.Image.Meta.VmcoreInfo is null);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(ulong.MaxValue - 4094)]
    [InlineData(0x1234UL)]
    [InlineData(0xffff_ffff_ffff_f000UL)]
    public void A_hostile_trap_table_is_left_out(ulong idt)
    {
        var guest = new SyntheticKernel();
        using RepairImage image = RepairImageBuilder.Build(guest.Memory, [KernelGuest.ControlState(guest) with { IdtBase = idt }], _cache.Path, TargetLimits.Default);
        Assert.True(image.TrapTable.IsEmpty);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Refreshing_takes_the_modules_as_they_are_now(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape), k => k.AddModule("goes"));
        SyntheticModule comes = g.Guest.AddModule("comes");
        g.Guest.Modules.RemoveAll(m => m.Name == "goes");
        g.Guest.Link();
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default);
        Assert.Equal("comes", Assert.Single(fresh.Meta.Modules).Name);
        Assert.Equal("comes", fresh.Symbolize(comes.Text["ctm_write"])?.Module);
        Assert.Equal(g.Image.SymbolCount, fresh.SymbolCount);
        Assert.Equal(g.Image.OrcCount, fresh.OrcCount);
        Assert.Equal(g.Image.Meta.DeathPoints, fresh.Meta.DeathPoints);
        Assert.NotEqual(g.Image.Id, fresh.Id);
        Assert.Equal("goes", g.Image.Meta.Modules[0].Name);
    }

    /// <summary>What has been written over a module's code since is not taken for its code.</summary>
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Refreshing_keeps_the_text_of_modules_that_stay(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape), k => k.AddModule("stays"));
        SyntheticModule stays = g.Guest.Modules.Single(m => m.Name == "stays");
        byte[] before = new byte[4], after = new byte[4];
        Assert.True(g.Image.TryReadCode(stays.TextStart, before));
        g.Guest.Memory.Write(g.Guest.Physical(stays.TextStart), [0x06]);
        g.Guest.AddModule("comes");
        g.Guest.Link();
        g.Guest.Memory.Write(g.Guest.Physical(stays.TextStart), [0x06]);
        using RepairImage fresh = RepairImageBuilder.Refresh(g.Image, g.Guest.Memory, _cache.Path, TargetLimits.Default);
        Assert.Equal(2, fresh.Meta.Modules.Count);
        Assert.True(fresh.TryReadCode(stays.TextStart, after));
        Assert.Equal(before, after);
        Assert.Equal("stays", fresh.Symbolize(stays.TextStart)?.Module);
    }

    /// <summary>A module that comes while the list is being read: the list is read again until it holds still.</summary>
    [Fact]
    public void A_module_list_that_changes_under_the_reader_is_read_until_it_holds_still()
    {
        var guest = new SyntheticKernel();
        guest.AddModule("first");
        guest.Link();
        SyntheticModule late = guest.AddModule("late");
        ulong head = guest.Physical(guest["modules"]);
        int seen = 0;
        var memory = new WatchedMemory(guest.Memory, address =>
        {
            if (address == head && ++seen == 2)
                guest.Link();
        });
        using RepairImage image = KernelGuest.Build(guest, _cache.Path, memory);
        Assert.Equal(["first", "late"], image.Meta.Modules.Select(m => m.Name).Order());
        Assert.Equal("late", image.ModuleOf(late.TextStart)?.Name);
        Assert.True(seen >= 3, "two equal reads are needed");
    }

    [Fact]
    public void A_module_list_that_never_holds_still_is_given_up()
    {
        var guest = new SyntheticKernel();
        SyntheticModule one = guest.AddModule("one"), two = guest.AddModule("two");
        ulong head = guest.Physical(guest["modules"]);
        bool flip = false;
        var memory = new WatchedMemory(guest.Memory, address =>
        {
            if (address != head)
                return;
            flip = !flip;
            guest.Modules.Clear();
            guest.Modules.Add(flip ? one : two);
            guest.Link();
        });
        using RepairImage image = KernelGuest.Build(guest, _cache.Path, memory);
        Assert.Empty(image.Meta.Modules);
        Assert.Contains(image.Meta.Without, w => w.Contains("would not hold still"));
    }

    [Fact]
    public void A_module_on_its_way_is_left_to_the_next_refresh()
    {
        using var g = new KernelGuest(null, k =>
        {
            k.AddModule("live");
            k.Put(k.AddModule("coming").Address, "module.state", 1);
            k.Put(k.AddModule("going").Address, "module.state", 2);
            k.Put(k.AddModule("unformed").Address, "module.state", 3);
        });
        Assert.Equal("live", Assert.Single(g.Image.Meta.Modules).Name);
    }

    [Fact]
    public void A_modules_own_types_come_on_top_of_the_kernels()
    {
        using var g = new KernelGuest(null, k =>
        {
            Assert.True(Formats.Btf.BtfData.TryBuild(k.Types.Build(), null, Formats.FormatLimits.Default, out Formats.Btf.BtfData kernel, out _));
            var split = new SyntheticBtf(kernel.EndId, kernel.StringEnd);
            split.Func("only_here", split.FuncProto(k.Types.S32.Id));
            k.AddModule("typed", btf: split.Build());
            k.AddModule("broken", btf: [1, 2, 3, 4]);
        });
        Assert.True(g.Image.TryTypesFor("typed", out var types));
        Assert.True(types.TryReturnType("only_here", out var returns));
        Assert.Equal("int", returns.Name);
        Assert.True(types.TryMember("task_struct.pid", out _));
        Assert.False(g.Image.TryTypesFor("broken", out _));
    }

    public void Dispose() => _cache.Dispose();

    private sealed class WatchedMemory(IGuestMemory memory, Action<ulong> before) : IGuestMemory
    {
        public IReadOnlyList<PhysicalRange> Ranges => memory.Ranges;

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            before(address.Value);
            return memory.TryRead(address, destination, out fault);
        }
    }
}
