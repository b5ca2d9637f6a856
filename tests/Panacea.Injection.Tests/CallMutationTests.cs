using Iced.Intel;
using Panacea.Injection.Text;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Injection.Tests;

public sealed class CallMutationTests
{
    [Fact]
    public void An_argument_is_not_set()
    {
        var f = new Assembled(a =>
        {
            a.mov(rdi, rbx);
            a.mov(esi, 5);
            a.call(Assembled.Of("printk"));
            a.ret();
        });
        var setters = f.Calls.ArgumentSetters().ToList();

        Assert.Equal([(0, Register.RDI), (1, Register.RSI)], setters.Select(s => (s.Index, s.Argument)).Order());
        Mutation mutation = f.Calls.Argument(setters.Single(s => s.Index == 1), f.BytesOf(1));
        Assert.Equal("does not set the 2nd argument of printk", mutation.What);
        Assert.Equal((Mnemonic.Nop, f[1].Length), (Assembled.Read(mutation).Mnemonic, Assembled.Read(mutation).Length));
    }

    [Fact]
    public void What_is_read_on_the_way_or_set_on_one_of_two_ways_is_left_alone()
    {
        var f = new Assembled(a =>
        {
            Label join = a.CreateLabel();
            a.mov(edi, 1);
            a.test(rax, rax);
            a.je(join);
            a.mov(edi, 2);
            a.Label(ref join);
            a.mov(rsi, rbx);
            a.mov(rdx, rsi);
            a.call(Assembled.Of("printk"));
            a.ret();
        });
        Assert.Equal([Register.RDX], f.Calls.ArgumentSetters().Select(s => s.Argument));
    }

    [Fact]
    public void A_copy_of_a_known_length_is_longer()
    {
        var f = new Assembled(a =>
        {
            a.mov(edx, 64);
            a.call(Assembled.Of("memcpy"));
            a.ret();
        });
        Assert.Equal([0], f.Calls.Lengths());
        int ones = 0;
        for (ulong seed = 0; seed < 200; seed++)
        {
            Instruction read = Assembled.Read(f.Calls.Overrun(0, f.BytesOf(0), Assembled.Random(seed))!);
            Assert.Equal(Register.EDX, read.Op0Register);
            Assert.InRange(read.GetImmediate(1), 65ul, 64ul + 4096);
            ones += read.GetImmediate(1) == 65 ? 1 : 0;
        }

        // Half of them by one byte.
        Assert.InRange(ones, 70, 130);
    }

    [Fact]
    public void A_copy_whose_length_is_in_a_register_is_longer_where_the_sum_fits_in()
    {
        var f = new Assembled(a =>
        {
            a.mov(rdx, rbx);
            a.call(Assembled.Of("memcpy"));
            a.ret();
        });
        Instruction read = Assembled.Read(f.Calls.Overrun(0, f.BytesOf(0), Assembled.Random())!);
        Assert.Equal((Mnemonic.Lea, Register.EDX, Register.RBX), (read.Mnemonic, read.Op0Register, read.MemoryBase));
        Assert.InRange(read.MemoryDisplacement64, 1ul, 127ul);

        // Two bytes have no room for it.
        var small = new Assembled(a =>
        {
            a.mov(edx, ebx);
            a.call(Assembled.Of("memcpy"));
            a.ret();
        });
        Assert.Null(small.Calls.Overrun(0, small.BytesOf(0), Assembled.Random()));
    }

    [Theory]
    [InlineData("kmalloc_trace")]
    [InlineData("__kmalloc_noprof")]
    public void An_allocation_fails(string allocator)
    {
        var f = new Assembled(a =>
        {
            a.call(Assembled.Of(allocator));
            a.mov(rbx, rax);
            a.jmp(Assembled.Of(allocator));
        });
        int[] calls = [.. f.Calls.CallsOf(CalledFunctions.Allocates)];
        Assert.Equal([0, 2], calls);

        Mutation called = f.Calls.Allocation(0, f.BytesOf(0))!;
        Assert.Equal((Mnemonic.Xor, Register.EAX, Register.EAX), (Assembled.Read(called).Mnemonic, Assembled.Read(called).Op0Register, Assembled.Read(called).Op1Register));
        Assert.Equal(Mnemonic.Nop, Assembled.Read(called, 1).Mnemonic);

        // A jump at the end is a call whose caller's caller gets the answer.
        Mutation jumped = f.Calls.Allocation(2, f.BytesOf(2))!;
        Assert.Equal((Mnemonic.Xor, Mnemonic.Ret, Mnemonic.Int3), (Assembled.Read(jumped).Mnemonic, Assembled.Read(jumped, 1).Mnemonic, Assembled.Read(jumped, 2).Mnemonic));
    }

    [Fact]
    public void Memory_is_not_freed()
    {
        var f = new Assembled(a =>
        {
            a.call(Assembled.Of("kfree"));
            a.call(Assembled.Of("printk"));
            a.ret();
        });
        Assert.Equal([0], f.Calls.CallsOf(CalledFunctions.IsFree));
        Mutation mutation = f.Calls.Free(0, f.BytesOf(0))!;
        Assert.Equal((Mnemonic.Nop, 5), (Assembled.Read(mutation).Mnemonic, Assembled.Read(mutation).Length));
        Assert.Equal("does not call kfree", mutation.What);
    }
}
