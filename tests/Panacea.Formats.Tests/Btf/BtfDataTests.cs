using System.Buffers.Binary;
using Panacea.Formats.Btf;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests.Btf;

public sealed class BtfDataTests
{
    internal static BtfData Build(SyntheticBtf btf, BtfData? baseData = null)
    {
        Assert.True(BtfData.TryBuild(btf.Build(), baseData, FormatLimits.Default, out BtfData data, out string whyNot), whyNot);
        return data;
    }

    /// <summary>A small kernel with one type of every kind.</summary>
    internal static SyntheticBtf Kernel()
    {
        var b = new SyntheticBtf();
        uint u64 = b.Int("long unsigned int", 8);                                            // 1
        uint s32 = b.Int("int", 4, encoding: 1);                                             // 2
        uint boolean = b.Int("_Bool", 1, encoding: 4);                                       // 3
        uint chars = b.Array(b.Int("char", 1, encoding: 1), u64, 16);                        // 4, 5
        uint cchar = b.Const(4);                                                             // 6
        uint u8 = b.Typedef("u8", b.Int("unsigned char", 1));                                // 7, 8
        b.Enum("state", true, ("RUNNING", 0), ("DEAD", -1));                                 // 9
        b.Enum64("big", false, ("ALL", ulong.MaxValue), ("HIGH", 1UL << 40));                // 10
        uint fwd = b.Fwd("file");                                                            // 11
        uint list = b.NextId;                                                                // 12
        b.Struct("list_head", 16, new("next", list + 1, 0), new("prev", list + 1, 64));
        b.Ptr(list);                                                                         // 13
        uint inner = b.Struct("", 8, new("lo", s32, 0), new("hi", s32, 32));                 // 14
        uint either = b.Union("", 8, new("both", u64, 0), new("", inner, 0));                // 15
        uint thread = b.Struct("thread_struct", 24, new("sp", u64, 0), new("list", list, 64)); // 16
        uint pid = b.Typedef("pid_t", s32);                                                  // 17
        b.Struct("task_struct", 128, new("flags", s32, 0), new("on_rq", s32, 32, 3), new("exiting", s32, 35, 1), new("wide", s32, 40, 20),
            new("", either, 64), new("thread", thread, 128), new("comm", chars, 320), new("pid", pid, 448), new("threads", b.NextId + 1, 480)); // 18
        b.Array(thread, u64, 2);                                                             // 19
        uint proto = b.FuncProto(u64, ("regs", b.Ptr(fwd)), ("", cchar), ("", 0));           // 20 (ptr), 21
        b.Func("do_thing", proto, 1);                                                        // 22
        b.Func("leave", b.FuncProto(0));                                                     // 23, 24
        uint var = b.Var("current_task", b.Ptr(18), 1);                                      // 25, 26
        b.Datasec(".data..percpu", 4096, (var, 64, 8));                                      // 27
        b.Float("double", 8);                                                                // 28
        b.DeclTag("noinstr", 22);                                                            // 29
        b.Ptr(b.TypeTag("user", b.Volatile(b.Restrict(u8))));                                // 30, 31, 32, 33
        b.Func("yes", b.FuncProto(boolean));                                                 // 34, 35
        return b;
    }

    [Theory]
    [InlineData("list_head", "prev", 64, 64, false)]
    [InlineData("task_struct", "flags", 0, 32, false)]
    [InlineData("task_struct", "on_rq", 32, 3, true)]
    [InlineData("task_struct", "exiting", 35, 1, true)]
    [InlineData("task_struct", "wide", 40, 20, true)]
    [InlineData("task_struct", "both", 64, 64, false)]
    [InlineData("task_struct", "hi", 96, 32, false)]
    [InlineData("task_struct", "thread.sp", 128, 64, false)]
    [InlineData("task_struct", "thread.list.prev", 256, 64, false)]
    [InlineData("task_struct", "comm", 320, 128, false)]
    [InlineData("task_struct", "comm[3]", 344, 8, false)]
    [InlineData("task_struct", "threads[1].list.next", 736, 64, false)]
    public void Members_are_found_by_path(string type, string path, int bit, int bits, bool bitfield)
    {
        BtfData data = Build(Kernel());
        Assert.True(data.TryFindMember(type, path, out BtfMemberLocation member));
        Assert.Equal(((ulong)bit, (ulong)bits, bitfield), (member.BitOffset, member.BitSize, member.IsBitfield));
        Assert.Equal((bit / 8, bit % 8, (bits + 7) / 8), (member.ByteOffset, member.ShiftInByte, member.ByteSize));
    }

    [Theory]
    [InlineData("task_struct", "")]
    [InlineData("task_struct", "absent")]
    [InlineData("task_struct", "thread.")]
    [InlineData("task_struct", ".thread")]
    [InlineData("task_struct", "thread..sp")]
    [InlineData("task_struct", "flags.x")]
    [InlineData("task_struct", "comm[16]")]
    [InlineData("task_struct", "comm[-1]")]
    [InlineData("task_struct", "comm[1")]
    [InlineData("task_struct", "comm[1]x")]
    [InlineData("task_struct", "comm[1][1]")]
    [InlineData("task_struct", "comm[99999999999]")]
    [InlineData("task_struct", "[1]")]
    [InlineData("task", "flags")]
    [InlineData("state", "RUNNING")]
    [InlineData("", "flags")]
    public void Paths_that_lead_nowhere_are_not_found(string type, string path) =>
        Assert.False(Build(Kernel()).TryFindMember(type, path, out _));

    [Fact]
    public void Members_are_found_through_typedefs_and_of_two_structs_of_one_name_in_the_one_that_has_them()
    {
        var b = new SyntheticBtf();
        uint u32 = b.Int("u32", 4);
        b.Struct("rq", 4, new SyntheticMember("old", u32, 0));
        b.Struct("rq", 8, new("old", u32, 32), new("young", u32, 0));
        b.Typedef("atomic_t", b.Const(b.Struct("", 4, new SyntheticMember("counter", u32, 0))));
        BtfData data = Build(b);
        Assert.True(data.TryFindMember("rq", "young", out _));
        Assert.True(data.TryFindMember("rq", "old", out BtfMemberLocation first));
        Assert.Equal(0, first.ByteOffset);
        Assert.True(data.TryFindMember("atomic_t", "counter", out _));
    }

    [Fact]
    public void Old_style_bitfields_take_their_width_from_the_integer()
    {
        var b = new SyntheticBtf();
        uint bits3 = b.Int("unsigned int", 4, bits: 3, bitOffset: 0);
        uint bits2 = b.Int("unsigned int", 4, bits: 2, bitOffset: 4);
        b.Struct("old", 4, new("a", bits3, 0), new("b", bits2, 8));
        BtfData data = Build(b);
        Assert.True(data.TryFindMember("old", "a", out BtfMemberLocation a));
        Assert.Equal((0UL, 3UL, true), (a.BitOffset, a.BitSize, a.IsBitfield));
        Assert.True(data.TryFindMember("old", "b", out BtfMemberLocation c));
        Assert.Equal((12UL, 2UL, true), (c.BitOffset, c.BitSize, c.IsBitfield));
    }

    [Fact]
    public void Flexible_arrays_take_any_index()
    {
        var b = new SyntheticBtf();
        uint u64 = b.Int("u64", 8);
        b.Struct("flex", 8, new("n", u64, 0), new("data", b.Array(u64, u64, 0), 64));
        BtfData data = Build(b);
        Assert.True(data.TryFindMember("flex", "data[100]", out BtfMemberLocation member));
        Assert.Equal(8 + 800, member.ByteOffset);
        Assert.False(data.TryFindMember("flex", "data[4000000000]", out _));
    }

    [Theory]
    [InlineData("list_head", 16)]
    [InlineData("task_struct", 128)]
    [InlineData("pid_t", 4)]
    [InlineData("state", 4)]
    [InlineData("big", 8)]
    [InlineData("double", 8)]
    [InlineData("_Bool", 1)]
    public void Sizes_by_name(string name, int expected)
    {
        Assert.True(Build(Kernel()).TrySizeOf(name, out int bytes));
        Assert.Equal(expected, bytes);
    }

    [Fact]
    public void Sizes_by_id()
    {
        BtfData data = Build(Kernel());
        foreach ((uint id, int expected) in ((uint, int)[])[(5, 16), (13, 8), (19, 48), (25, 8), (26, 8), (27, 4096), (33, 8), (31, 1)])
        {
            Assert.True(data.TrySizeOf(id, out int bytes));
            Assert.Equal(expected, bytes);
        }

        foreach (uint unsized in (uint[])[0, 11, 21, 22, 29, 36, uint.MaxValue])
            Assert.False(data.TrySizeOf(unsized, out _));
        Assert.False(data.TrySizeOf("absent", out _));
    }

    [Fact]
    public void Functions_have_return_type_and_parameters()
    {
        BtfData data = Build(Kernel());
        Assert.True(data.TryFindFunction("do_thing", out BtfFunction f));
        Assert.Equal(("long unsigned int", 3), (f.ReturnType.Name, f.ParameterCount));
        Assert.Equal(("regs", BtfKind.Ptr), (f.Prototype.Parameter(0).Name, data.GetType(f.Prototype.Parameter(0).TypeId).Kind));
        Assert.True(data.TryFindFunction("leave", out f));
        Assert.True(f.ReturnType.IsVoid);
        Assert.True(data.TryFindFunction("yes", out f));
        Assert.Equal((BtfIntEncoding.Bool, 8, 1u), (f.ReturnType.IntEncoding, f.ReturnType.IntBits, f.ReturnType.Size));
        Assert.False(data.TryFindFunction("task_struct", out _));
        Assert.False(data.TryFindFunction("absent", out _));
    }

    [Fact]
    public void Records_of_every_kind_are_read()
    {
        BtfData data = Build(Kernel());
        Assert.Equal(36u, data.EndId);
        BtfType signed = data.GetType(9);
        Assert.Equal([("RUNNING", 0L), ("DEAD", -1L)], Enumerable.Range(0, 2).Select(i => (signed.Enumerator(i).Name, signed.Enumerator(i).Value)));
        BtfType big = data.GetType(10);
        Assert.Equal([-1L, 1L << 40], Enumerable.Range(0, 2).Select(i => big.Enumerator(i).Value));
        Assert.True(data.TryFindEnumerator("HIGH", out long value));
        Assert.Equal(1L << 40, value);
        Assert.False(data.TryFindEnumerator("LOW", out _));
        Assert.Equal(new BtfVariable(26, 64, 8), data.GetType(27).Variable(0));
        Assert.Equal((-1, 22u), (data.GetType(29).TaggedIndex, data.GetType(29).TargetId));
        Assert.True(data.TryResolve(32, out BtfType resolved));
        Assert.Equal("unsigned char", resolved.Name);
        Assert.True(data.TryGetType(0, out BtfType none) && none.IsVoid);
        Assert.False(data.TryGetType(36, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.GetType(12).Member(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.GetType(12).Member(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.GetType(1).Member(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.GetType(12).Parameter(0));
        Assert.Throws<InvalidDataException>(() => data.GetType(99));
        Assert.Throws<InvalidDataException>(() => data.GetString(1 << 20));
    }

    [Fact]
    public void Stored_indexes_open_again_without_a_look_at_the_records()
    {
        BtfData data = Build(Kernel());
        Assert.True(BtfData.TryOpen(data.Blob, data.TypeOffsets, data.NameIndexBlob, null, out BtfData again, out string whyNot), whyNot);
        Assert.Equal(data.EndId, again.EndId);
        Assert.True(again.TryFindMember("task_struct", "thread.sp", out _));
        Assert.False(BtfData.TryOpen(data.Blob[1..], data.TypeOffsets, data.NameIndexBlob, null, out _, out _));
        Assert.False(BtfData.TryOpen(data.Blob, data.TypeOffsets[1..], data.NameIndexBlob, null, out _, out _));
        Assert.False(BtfData.TryOpen(data.Blob, data.TypeOffsets, data.NameIndexBlob[1..], null, out _, out _));
        Assert.False(BtfData.TryOpen(data.Blob, new byte[4000], data.NameIndexBlob, null, out _, out _));
        byte[] wrong = new byte[data.TypeOffsets.Length];
        wrong.AsSpan().Fill(0xff);
        Assert.True(BtfData.TryOpen(data.Blob, wrong, data.NameIndexBlob, null, out again, out _));
        Assert.Throws<InvalidDataException>(() => again.TryGetType(1, out _));
        Assert.Throws<InvalidDataException>(() => again.TryFind("list_head", BtfKind.Struct, out _));
    }

    [Fact]
    public void Split_btf_goes_on_where_its_base_ends()
    {
        BtfData kernel = Build(Kernel());
        var split = new SyntheticBtf(kernel.EndId, kernel.StringEnd);
        uint own = split.Struct("my_device", 24, new("list", 12, 0), new("count", 1, 128));
        uint shadow = split.Struct("thread_struct", 8, new SyntheticMember("mine", 1, 0));
        split.Func("my_probe", split.FuncProto(2, ("dev", split.Ptr(own))));
        BtfData module = Build(split, kernel);

        Assert.Equal((kernel.EndId, kernel.StringEnd), (module.StartId, module.StringStart));
        Assert.True(module.TryFindMember("my_device", "list.prev", out BtfMemberLocation member));
        Assert.Equal(8, member.ByteOffset);
        Assert.True(module.TryFindMember("task_struct", "thread.sp", out _));
        Assert.True(module.TryFind("thread_struct", BtfKind.Struct, out BtfType found));
        Assert.Equal(shadow, found.Id);
        Assert.True(module.TryFindMember("thread_struct", "sp", out _));
        Assert.True(module.TryFindFunction("my_probe", out BtfFunction f));
        Assert.Equal("int", f.ReturnType.Name);
        Assert.True(module.TryFindFunction("do_thing", out _));
        Assert.True(module.TryFindEnumerator("HIGH", out _));
        Assert.False(kernel.TryFindFunction("my_probe", out _));
        Assert.Equal("int my_probe(struct my_device *dev);", BtfFormatter.Format(f.Function));
        Assert.Equal("list_head", module.GetType(12).Name);
        Assert.False(BtfData.TryBuild(split.Build(), null, FormatLimits.Default, out _, out _));
    }

    [Fact]
    public void Newer_headers_may_be_longer()
    {
        Assert.True(BtfData.TryBuild(Kernel().Build(extraHeader: 16), null, FormatLimits.Default, out BtfData data, out string whyNot), whyNot);
        Assert.True(data.TrySizeOf("list_head", out _));
    }

    [Fact]
    public void Cycles_end()
    {
        var b = new SyntheticBtf();
        b.Typedef("a", 2);
        b.Typedef("b", 1);
        b.Array(3, 1, 1);
        b.Struct("s", 8, new SyntheticMember("", 4, 0));
        b.Ptr(5);
        b.Const(6);
        BtfData data = Build(b);
        Assert.False(data.TryResolve(1, out _));
        Assert.False(data.TrySizeOf(1, out _));
        Assert.False(data.TrySizeOf(3, out _));
        Assert.False(data.TryFindMember("s", "x", out _));
        Assert.False(data.TryFindMember("a", "x", out _));
        for (uint id = 1; id < data.EndId; id++)
        {
            Assert.NotEmpty(BtfFormatter.Format(data.GetType(id)));
            Assert.NotEmpty(BtfFormatter.TypeName(data.GetType(id)));
        }
    }

    [Fact]
    public void Structs_that_nest_exponentially_cost_no_more_than_the_budget()
    {
        // Twenty levels, each holding the next ten times and without a name: 10^20 members to look at.
        var b = new SyntheticBtf();
        for (uint level = 0; level < 20; level++)
            b.Struct(level == 0 ? "bomb" : "", 8, [.. Enumerable.Repeat(new SyntheticMember("", level + 2, 0), 10)]);
        b.Struct("", 8, new SyntheticMember("end", 0, 0));
        BtfData data = Build(b);
        Assert.False(data.TryFindMember("bomb", "absent", out _));
        Assert.InRange(BtfFormatter.Format(data.GetType(1)).Length, 1, 64 << 20);
    }

    [Fact]
    public void Blobs_that_are_not_well_formed_are_refused_with_a_reason()
    {
        byte[] good = Kernel().Build();
        (string Expected, byte[] Blob)[] cases =
        [
            ("version 1", []),
            ("version 1", good[..23]),
            ("version 1", Patched(0, 0x9feb)),
            ("version 1", Patched(2, 0x2)),
            ("past the blob", Patched(4, 20)),
            ("past the blob", Patched(4, uint.MaxValue)),
            ("past the blob", Patched(8, uint.MaxValue)),
            ("past the blob", Patched(12, uint.MaxValue)),
            ("past the blob", Patched(16, (uint)good.Length)),
            ("past the blob", good[..^1]),
            ("NUL", Patched(20, BinaryPrimitives.ReadUInt32LittleEndian(good.AsSpan(20)) - 1)),
            ("empty one", Patched(16, BinaryPrimitives.ReadUInt32LittleEndian(good.AsSpan(16)) + 1, 20, BinaryPrimitives.ReadUInt32LittleEndian(good.AsSpan(20)) - 1)),
            ("record", Patched(12, BinaryPrimitives.ReadUInt32LittleEndian(good.AsSpan(12)) - 1)),
            ("record", Single(b => b.Record(20, "x", 0, 0, false))),
            ("record", Single(b => b.Record(0, "x", 0, 0, false))),
            ("record", Single(b => b.Record(4, "x", 0, 0xffff, false))),
            ("refers to", Single(b => b.Ptr(2))),
            ("refers to", Single(b => b.Array(1, 99, 1))),
            ("refers to", Single(b => b.Struct("s", 4, new SyntheticMember("m", 99, 0)))),
            ("refers to", Single(b => b.FuncProto(0, ("p", 99)))),
            ("refers to", Single(b => b.Datasec("d", 4, (99, 0, 4)))),
            ("refers to", Single(b => b.Record(4, "s", 4, 1, false, 9999, 0, 0))),
            ("refers to", Single(b => b.Record(6, "s", 4, 1, false, 9999, 0))),
            ("longer than", Single(b => b.Fwd(new string('n', 2000)))),
        ];
        foreach ((string expected, byte[] blob) in cases)
        {
            Assert.False(BtfData.TryBuild(blob, null, FormatLimits.Default, out _, out string whyNot), expected);
            Assert.Contains(expected, whyNot, StringComparison.Ordinal);
        }

        Assert.False(BtfData.TryBuild(good, null, FormatLimits.Default with { MaxBtfBytes = 100 }, out _, out string reason));
        Assert.Contains("100 allowed", reason, StringComparison.Ordinal);
        Assert.False(BtfData.TryBuild(good, null, FormatLimits.Default with { MaxBtfTypes = 10 }, out _, out reason));
        Assert.Contains("more than 10", reason, StringComparison.Ordinal);

        byte[] Patched(int at, uint value, int at2 = -1, uint value2 = 0)
        {
            byte[] copy = [.. good];
            if (at < 4)
                BinaryPrimitives.WriteUInt16LittleEndian(copy.AsSpan(at), (ushort)value);
            else
                BinaryPrimitives.WriteUInt32LittleEndian(copy.AsSpan(at), value);
            if (at2 >= 0)
                BinaryPrimitives.WriteUInt32LittleEndian(copy.AsSpan(at2), value2);
            return copy;
        }

        static byte[] Single(Func<SyntheticBtf, uint> add)
        {
            var b = new SyntheticBtf();
            add(b);
            return b.Build();
        }
    }
}
