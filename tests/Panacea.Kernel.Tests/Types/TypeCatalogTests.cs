using Panacea.Kernel.Tests.Image;
using Panacea.Kernel.Types;
using Panacea.TestKit.Formats;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Types;

public sealed class TypeCatalogTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Members_are_where_the_compiler_put_them(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape));
        foreach (string path in (string[])["task_struct.pid", "task_struct.comm", "task_struct.tasks.prev", "module.list", "module.arch.orc_unwind", "printk_ringbuffer.text_data_ring.size_bits", "rq.curr"])
        {
            Assert.True(g.Image.Types.TryMember(path, out MemberInfo member), path);
            Assert.Equal(((int)g.Guest.Types.Offset(path), g.Guest.Types.Member(path).Type.Size * 8), (member.ByteOffset, member.BitSize));
        }

        Assert.Equal(new MemberInfo(19, 5, 3), g.Image.Types.Member("printk_info.level"));
        Assert.Equal(g.Guest.Types.SizeOf("task_struct"), g.Image.Types.SizeOf("task_struct"));
        Assert.Equal(12, g.Image.Types.SizeOf("irq_cpustat_t"));
        Assert.Equal(shape == KernelShape.Linux612, g.Image.Types.TryMember("module.mem", out _));
        Assert.Equal(shape == KernelShape.Linux61, g.Image.Types.TryMember("module.core_layout.base", out _));
    }

    [Theory]
    [InlineData("task_struct")]
    [InlineData("task_struct.")]
    [InlineData(".pid")]
    [InlineData("")]
    [InlineData("task_struct.no_such")]
    [InlineData("task_struct.pid.deeper")]
    [InlineData("no_such.pid")]
    [InlineData("task_struct..pid")]
    public void What_is_not_there_is_said_by_its_name(string path)
    {
        using var g = new KernelGuest();
        Assert.False(g.Image.Types.TryMember(path, out _));
        Assert.Equal($"this kernel's types have no {path}", Assert.Throws<KernelShapeException>(() => g.Image.Types.Member(path)).Message);
    }

    [Theory]
    [InlineData("f_int", ReturnKind.SignedInteger, 4, "int")]
    [InlineData("f_long", ReturnKind.SignedInteger, 8, "long int")]
    [InlineData("f_short", ReturnKind.SignedInteger, 2, "short")]
    [InlineData("f_uint", ReturnKind.UnsignedInteger, 4, "unsigned int")]
    [InlineData("f_bool", ReturnKind.Bool, 1, "_Bool")]
    [InlineData("f_ptr", ReturnKind.Pointer, 8, "a pointer")]
    [InlineData("f_void", ReturnKind.Void, 0, "void")]
    [InlineData("f_ssize_t", ReturnKind.SignedInteger, 8, "ssize_t")]
    [InlineData("f_const", ReturnKind.SignedInteger, 4, "int")]
    [InlineData("f_struct", ReturnKind.Other, 0, "pair")]
    [InlineData("f_enum", ReturnKind.Other, 0, "color")]
    public void Return_types_are_seen_through_typedefs_and_qualifiers(string function, ReturnKind kind, int bytes, string name)
    {
        var b = new SyntheticBtf();
        uint s32 = b.Int("int", 4, encoding: 1), s64 = b.Int("long int", 8, encoding: 1), s16 = b.Int("short", 2, encoding: 1), u32 = b.Int("unsigned int", 4), flag = b.Int("_Bool", 1, encoding: 4);
        b.Func("f_int", b.FuncProto(s32));
        b.Func("f_long", b.FuncProto(s64));
        b.Func("f_short", b.FuncProto(s16));
        b.Func("f_uint", b.FuncProto(u32));
        b.Func("f_bool", b.FuncProto(flag));
        b.Func("f_ptr", b.FuncProto(b.Ptr(0)));
        b.Func("f_void", b.FuncProto(0));
        b.Func("f_ssize_t", b.FuncProto(b.Typedef("ssize_t", b.Typedef("__kernel_ssize_t", s64))));
        b.Func("f_const", b.FuncProto(b.Const(b.Volatile(s32))));
        b.Func("f_struct", b.FuncProto(b.Struct("pair", 8, new("a", s32, 0), new("b", s32, 32))));
        b.Func("f_enum", b.FuncProto(b.Enum("color", false, ("RED", 0))));
        Assert.True(Open(b.Build()).TryReturnType(function, out ReturnType returns));
        Assert.Equal(new ReturnType(kind, bytes, name), returns);
    }

    [Fact]
    public void A_function_without_a_prototype_is_not_guessed_at()
    {
        var b = new SyntheticBtf();
        uint loop = b.Typedef("loop", 2);
        b.Typedef("pool", loop);
        b.Func("f_loop", b.FuncProto(loop));
        b.Struct("f_struct", 8);
        if (!TypeCatalog.TryIndex(b.Build(), null, out var types, out var names, out _))
            return;
        TypeCatalog catalog = TypeCatalog.Open(b.Build(), types, names);
        Assert.False(catalog.TryReturnType("no_such", out _));
        Assert.False(catalog.TryReturnType("f_struct", out _));
        Assert.False(catalog.TryReturnType("f_loop", out _));
    }

    [Fact]
    public void The_empty_catalog_knows_nothing()
    {
        Assert.False(TypeCatalog.Empty.IsPresent);
        Assert.False(TypeCatalog.Empty.TryMember("task_struct.pid", out _));
        Assert.False(TypeCatalog.Empty.TrySizeOf("task_struct", out _));
        Assert.False(TypeCatalog.Empty.TryReturnType("panic", out _));
        Assert.Same(TypeCatalog.Empty, TypeCatalog.Open(default, default, default));
    }

    [Fact]
    public void Damaged_types_are_refused_with_a_reason()
    {
        Assert.False(TypeCatalog.TryIndex(new SyntheticBtf().Build(), null, out _, out _, out string none));
        Assert.Equal("it holds no types", none);
        var b = new SyntheticBtf();
        b.Int("int", 4);
        byte[] blob = b.Build();
        Assert.True(TypeCatalog.TryIndex(blob, null, out var types, out var names, out _));
        Assert.Contains("indexes", Assert.Throws<InvalidDataException>(() => TypeCatalog.Open(blob, default, names)).Message);
        Assert.Throws<InvalidDataException>(() => TypeCatalog.Open(blob[..10], types, names));
        Assert.False(TypeCatalog.TryIndex(blob.AsMemory()[..10], null, out _, out _, out string whyNot));
        Assert.NotEmpty(whyNot);
    }

    private static TypeCatalog Open(byte[] blob)
    {
        Assert.True(TypeCatalog.TryIndex(blob, null, out var types, out var names, out string whyNot), whyNot);
        return TypeCatalog.Open(blob, types, names);
    }
}
