using Panacea.Formats.Btf;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests.Btf;

public sealed class BtfRelocatorTests
{
    /// <summary>A distilled base as pahole writes it: names, kinds and sizes only, with ids of its own.</summary>
    private static SyntheticBtf Distilled(int listHeadSize = 16, string fwd = "task_struct")
    {
        var b = new SyntheticBtf();
        b.Int("int", 4, encoding: 1);
        b.Record(4, "list_head", (uint)listHeadSize, 0, false);
        b.Fwd(fwd);
        b.Record(19, "big", 8, 0, false);
        b.Record(6, "state", 4, 0, false);
        b.Float("double", 8);
        return b;
    }

    private static SyntheticBtf Module(SyntheticBtf distilled)
    {
        var b = new SyntheticBtf(distilled.NextId, distilled.StringEnd);
        uint dev = b.Struct("my_device", 40, new("list", 2, 0), new("owner", b.NextId + 1, 128), new("big", 4, 192), new("numbers", b.NextId + 2, 256));
        b.Ptr(3);
        b.Array(1, 1, 2);
        b.Func("my_probe", b.FuncProto(1, ("dev", b.Ptr(dev)), ("s", 5)));
        b.Datasec(".data", 8, (b.Var("counter", 1), 0, 4));
        return b;
    }

    [Fact]
    public void A_module_moves_from_its_distilled_base_to_the_kernel()
    {
        BtfData kernel = BtfDataTests.Build(BtfDataTests.Kernel());
        SyntheticBtf distilled = Distilled();
        Assert.True(BtfRelocator.TryRelocate(Module(distilled).Build(), distilled.Build(), kernel, FormatLimits.Default, out byte[] relocated, out string whyNot), whyNot);
        Assert.True(BtfData.TryBuild(relocated, kernel, FormatLimits.Default, out BtfData module, out whyNot), whyNot);

        Assert.True(module.TryFindMember("my_device", "list.prev", out BtfMemberLocation prev));
        Assert.Equal(8, prev.ByteOffset);
        Assert.True(module.TryFindMember("my_device", "numbers[1]", out BtfMemberLocation number));
        Assert.Equal((36, "int"), (number.ByteOffset, number.Type.Name));
        Assert.True(module.TryFindMember("my_device", "owner", out BtfMemberLocation owner));
        Assert.Equal("task_struct", module.GetType(owner.Type.TargetId).Name);
        Assert.True(module.TryFindFunction("my_probe", out BtfFunction f));
        Assert.Equal("int my_probe(struct my_device *dev, enum state s);", BtfFormatter.Format(f.Function));
        Assert.True(module.TryFind(".data", BtfKind.Datasec, out _));
    }

    [Fact]
    public void Names_that_only_the_distilled_base_holds_are_kept()
    {
        BtfData kernel = BtfDataTests.Build(BtfDataTests.Kernel());
        SyntheticBtf distilled = Distilled();
        var b = new SyntheticBtf(distilled.NextId, distilled.StringEnd);
        b.Record(8, "", 1, 0, false);
        byte[] module = b.Build();
        module[24] = 1; // the name of the first string of the base, "int"
        Assert.True(BtfRelocator.TryRelocate(module, distilled.Build(), kernel, FormatLimits.Default, out byte[] relocated, out string whyNot), whyNot);
        Assert.True(BtfData.TryBuild(relocated, kernel, FormatLimits.Default, out BtfData data, out whyNot), whyNot);
        Assert.True(data.TryFind("int", BtfKind.Typedef, out _));
    }

    [Fact]
    public void A_base_type_without_counterpart_is_a_failure_with_its_name()
    {
        BtfData kernel = BtfDataTests.Build(BtfDataTests.Kernel());
        SyntheticBtf size = Distilled(listHeadSize: 24);
        Assert.False(BtfRelocator.TryRelocate(Module(size).Build(), size.Build(), kernel, FormatLimits.Default, out _, out string whyNot));
        Assert.Contains("list_head", whyNot, StringComparison.Ordinal);
        SyntheticBtf name = Distilled(fwd: "nowhere");
        Assert.False(BtfRelocator.TryRelocate(Module(name).Build(), name.Build(), kernel, FormatLimits.Default, out _, out whyNot));
        Assert.Contains("nowhere", whyNot, StringComparison.Ordinal);
        Assert.False(BtfRelocator.TryRelocate(new byte[30], name.Build(), kernel, FormatLimits.Default, out _, out _));
        Assert.False(BtfRelocator.TryRelocate(Module(name).Build(), new byte[30], kernel, FormatLimits.Default, out _, out _));
    }
}
