using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class ModulesTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void Modules_are_read_in_both_shapes(KernelShape shape, int levels)
    {
        SyntheticModule? one = null, two = null;
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels), k => (one, two) = (k.AddModule("virtio_net"), k.AddModule("ext4")));
        List<LinuxModule> modules = Modules.Enumerate(g.Kernel, TargetLimits.Default);
        Assert.Equal(["virtio_net", "ext4"], modules.Select(m => m.Name));
        Assert.Equal([one!.Address, two!.Address], modules.Select(m => m.Address));
        Assert.All(modules, m => Assert.Equal((0u, 1UL << 13), (m.State, m.Taints)));
        ModuleMemory text = Assert.Single(modules[0].Memory, m => m.IsText);
        Assert.Equal(one.TextStart, text.Start);
        Assert.True(text.Size >= (ulong)one.TextBytes);
        Assert.True(modules[0].Contains(one.Address), "struct module lies in the module");
        Assert.False(modules[0].Contains(two.Address));
        Assert.Equal(modules[0].Memory.Aggregate(0UL, (sum, m) => sum + m.Size), modules[0].Size);
        Assert.Equal((2u, (uint)one.Text.Rows.Count), (modules[0].Tables.SymbolCount, modules[0].Tables.OrcCount));
    }

    [Fact]
    public void No_modules_are_no_modules()
    {
        using var g = new KernelGuest();
        Assert.Empty(Modules.Enumerate(g.Kernel, TargetLimits.Default));
    }

    /// <summary>add_unformed_module puts it on the list before it has any memory: what stands there is not looked at.</summary>
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Of_an_unformed_module_only_the_name_is_there(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape));
        SyntheticModule m = g.Guest.AddModule("unformed");
        g.Guest.Link();
        g.Guest.Put(m.Address, "module.state", 3);
        g.Guest.Put(m.Address, "module.kallsyms", 0xdead_0000_0000_0100);
        LinuxModule read = Assert.Single(Modules.Enumerate(g.Kernel, TargetLimits.Default));
        Assert.Equal(("unformed", 3u, 0), (read.Name, read.State, read.Memory.Count));
    }

    [Theory]
    [InlineData("to itself")]
    [InlineData("back to the first")]
    [InlineData("null")]
    [InlineData("not mapped")]
    [InlineData("not canonical")]
    public void A_list_that_does_not_close_is_a_typed_failure(string damage)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong list = k.Types.Offset("module.list");
        SyntheticModule first = k.AddModule("first"), last = k.AddModule("last");
        k.Link();
        k.WriteU64(last.Address + list, damage switch
        {
            "to itself" => last.Address + list,
            "back to the first" => first.Address + list,
            "null" => 0,
            "not mapped" => 0xffff_ffff_ff00_0000,
            _ => 0x1234_5678_9abc_def0,
        });
        long before = k.Memory.Reads;
        Exception e = Assert.ThrowsAny<Exception>(() => Modules.Enumerate(g.Kernel, TargetLimits.Default));
        Assert.True(e is KernelShapeException or GuestMemoryException, e.ToString());

        // A circle is noticed as one, long before there are too many.
        Assert.InRange(k.Memory.Reads - before, 1, 1000);
    }

    [Theory]
    [InlineData(KernelShape.Linux61, "module.core_layout.size", 0xffff_ffffUL)]
    [InlineData(KernelShape.Linux61, "module.core_layout.text_size", 0xffff_ffffUL)]
    [InlineData(KernelShape.Linux61, "module.core_layout.base", ulong.MaxValue)]
    [InlineData(KernelShape.Linux61, "module.core_layout.base", ulong.MaxValue - 0x4000)]
    [InlineData(KernelShape.Linux612, "module_memory.size", 0xffff_ffffUL)]
    [InlineData(KernelShape.Linux612, "module_memory.base", ulong.MaxValue)]
    public void Hostile_sizes_are_typed_failures(KernelShape shape, string member, ulong value)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape));
        SyntheticModule m = g.Guest.AddModule("hostile");
        g.Guest.Link();
        g.Guest.Put(shape == KernelShape.Linux612 ? m.Address + g.Guest.Types.Offset("module.mem") : m.Address, member, value);
        Assert.Throws<KernelShapeException>(() => Modules.Enumerate(g.Kernel, TargetLimits.Default));
    }

    /// <summary>What a hostile module says of its tables costs those tables, and never the image.</summary>
    [Theory]
    [InlineData("mod_kallsyms.num_symtab", 0xffff_ffffUL)]
    [InlineData("mod_kallsyms.num_symtab", 1_000_000UL)]
    [InlineData("mod_kallsyms.symtab", ulong.MaxValue)]
    [InlineData("mod_kallsyms.strtab", ulong.MaxValue)]
    [InlineData("mod_kallsyms.typetab", 0x1000UL)]
    [InlineData("module.arch.num_orcs", 0xffff_ffffUL)]
    [InlineData("module.arch.orc_unwind_ip", ulong.MaxValue - 2)]
    [InlineData("module.arch.orc_unwind", 0UL)]
    [InlineData("module.kallsyms", 0UL)]
    public void Hostile_tables_cost_the_table(string member, ulong value)
    {
        SyntheticModule? m = null;
        using var g = new KernelGuest(null, k =>
        {
            m = k.AddModule("hostile");
            k.Put(member.StartsWith("mod_", StringComparison.Ordinal) ? k.Get(m.Address, "module.kallsyms") : m.Address, member, value);
        });
        Assert.Equal("hostile", Assert.Single(g.Image.Meta.Modules).Name);
        Assert.Equal("hostile", g.Image.ModuleOf(m!.TextStart)?.Name);
        Assert.Equal(member.Contains("orc"), !g.Image.TryFind(m.Text["ctm_write:fault"], out _));
    }
}
