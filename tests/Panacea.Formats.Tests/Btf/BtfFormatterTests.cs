using Panacea.Formats.Btf;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests.Btf;

public sealed class BtfFormatterTests
{
    private static string Format(uint id, bool offsets = false) =>
        BtfFormatter.Format(BtfDataTests.Build(BtfDataTests.Kernel()).GetType(id), offsets).Replace("\t", "  ", StringComparison.Ordinal);

    [Fact]
    public void A_struct_is_spelled_out_with_anonymous_members_inside()
    {
        Assert.Equal(
            """
            struct task_struct {
              int flags;
              int on_rq: 3;
              int exiting: 1;
              int wide: 20;
              union {
                long unsigned int both;
                struct {
                  int lo;
                  int hi;
                };
              };
              struct thread_struct thread;
              char comm[16];
              pid_t pid;
              struct thread_struct threads[2];
            };
            """, Format(18));
    }

    [Fact]
    public void Offsets_are_comments()
    {
        string text = Format(18, offsets: true);
        Assert.Contains("int exiting: 1; /* 4:3 */", text, StringComparison.Ordinal);
        Assert.Contains("int hi; /* 12 4 */", text, StringComparison.Ordinal);
        Assert.Contains("char comm[16]; /* 40 16 */", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1, "long unsigned int;")]
    [InlineData(5, "char [16];")]
    [InlineData(8, "typedef unsigned char u8;")]
    [InlineData(9, "enum state {\n  RUNNING = 0,\n  DEAD = -1,\n};")]
    [InlineData(10, "enum big {\n  ALL = 18446744073709551615,\n  HIGH = 1099511627776,\n};")]
    [InlineData(11, "struct file;")]
    [InlineData(12, "struct list_head {\n  struct list_head *next;\n  struct list_head *prev;\n};")]
    [InlineData(22, "long unsigned int do_thing(struct file *regs, const char, ...);")]
    [InlineData(24, "void leave(void);")]
    [InlineData(26, "struct task_struct *current_task;")]
    [InlineData(33, "volatile restrict u8 *;")]
    public void Every_kind_has_its_form(uint id, string expected) => Assert.Equal(expected, Format(id));

    [Fact]
    public void A_section_where_a_type_should_be_is_not_spelled_out()
    {
        var b = new SyntheticBtf();
        uint number = b.Int("int", 4);
        uint section = b.Datasec("", 4, (b.Var("v", number), 0, 4));
        uint wrapped = b.Const(section);
        BtfData data = BtfDataTests.Build(b);
        Assert.Equal("Datasec {…};", BtfFormatter.Format(data.GetType(section)));
        Assert.Equal("const Datasec {…};", BtfFormatter.Format(data.GetType(wrapped)));
    }

    [Fact]
    public void Declarators_are_grouped_as_c_reads_them()
    {
        var b = new SyntheticBtf();
        uint i = b.Int("int", 4);
        uint c = b.Const(b.Int("char", 1));
        uint handler = b.Typedef("handler_t", b.Ptr(b.FuncProto(i, ("", i), ("name", b.Ptr(c)))));
        uint table = b.Array(b.Ptr(b.FuncProto(0, ("x", handler))), i, 4);
        uint ptrToArray = b.Ptr(b.Array(i, i, 3));
        uint constPtr = b.Const(b.Ptr(c));
        uint returnsPtrToFunc = b.FuncProto(b.Ptr(b.FuncProto(i)), ("a", constPtr));
        b.Struct("s", 64, new("ops", table, 0), new("pa", ptrToArray, 256), new("cp", constPtr, 320), new("grid", b.Array(b.Array(i, i, 3), i, 2), 384));
        b.Func("pick", returnsPtrToFunc);
        BtfData data = BtfDataTests.Build(b);

        Assert.True(data.TryFind("handler_t", BtfKind.Typedef, out BtfType type));
        Assert.Equal("typedef int (*handler_t)(int, const char *name);", BtfFormatter.Format(type));
        Assert.True(data.TryFind("s", BtfKind.Struct, out type));
        Assert.Equal("struct s {\n\tvoid (*ops[4])(handler_t x);\n\tint (*pa)[3];\n\tconst char * const cp;\n\tint grid[2][3];\n};", BtfFormatter.Format(type));
        Assert.True(data.TryFind("pick", BtfKind.Func, out type));
        Assert.Equal("int (*pick(const char * const a))(void);", BtfFormatter.Format(type));
        Assert.Equal("const char * const", BtfFormatter.TypeName(data.GetType(constPtr)));
        Assert.Equal("int (*)[3]", BtfFormatter.TypeName(data.GetType(ptrToArray)));
    }
}
