using Iced.Intel;
using Panacea.Injection.Text;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Injection.Tests;

public sealed class OperandMutationTests
{
    [Fact]
    public void Another_register_is_read()
    {
        var f = new Assembled(a => { a.mov(rax, rbx); a.ret(); });
        var seen = new HashSet<Register>();
        for (ulong seed = 0; seed < 200; seed++)
        {
            Mutation mutation = OperandMutations.Source(f[0], f.BytesOf(0), Assembled.Random(seed))!;
            Instruction read = Assembled.Read(mutation);
            Assert.Equal((Mnemonic.Mov, Register.RAX), (read.Mnemonic, read.Op0Register));
            seen.Add(read.Op1Register);
            Assert.Equal(mutation.Before.Length, mutation.After.Length);
        }

        // Every register but its own and the stack pointer.
        Assert.Equal(14, seen.Count);
        Assert.DoesNotContain(Register.RBX, seen);
        Assert.DoesNotContain(Register.RSP, seen);
    }

    [Fact]
    public void A_number_has_one_bit_flipped()
    {
        var f = new Assembled(a => { a.add(rcx, 0x1234); a.ret(); });
        for (ulong seed = 0; seed < 50; seed++)
        {
            Instruction read = Assembled.Read(OperandMutations.Source(f[0], f.BytesOf(0), Assembled.Random(seed))!);
            Assert.Equal(1, System.Numerics.BitOperations.PopCount(read.GetImmediate(1) ^ 0x1234));
        }
    }

    [Fact]
    public void Another_register_is_written()
    {
        var f = new Assembled(a => { a.mov(edx, __[rdi + 8]); a.ret(); });
        Instruction read = Assembled.Read(OperandMutations.Destination(f[0], f.BytesOf(0), Assembled.Random())!);

        Assert.NotEqual(Register.EDX, read.Op0Register);
        Assert.Equal(4, read.Op0Register.GetSize());
        Assert.Equal((Register.RDI, 8ul), (read.MemoryBase, read.MemoryDisplacement64));
    }

    [Fact]
    public void Comparisons_and_the_stack_pointer_are_no_destination()
    {
        var f = new Assembled(a => { a.cmp(rax, rbx); a.test(rax, rax); a.sub(rsp, 0x20); a.push(rbx); a.ret(); });
        Assert.All(Enumerable.Range(0, 4), i => Assert.Null(OperandMutations.Destination(f[i], f.BytesOf(i), Assembled.Random())));
    }

    [Fact]
    public void A_pointer_has_another_base_or_a_displacement_that_is_off_by_one_bit()
    {
        var f = new Assembled(a => { a.mov(rax, __qword_ptr[rbx + 0x40]); a.ret(); });
        int bases = 0, displacements = 0;
        for (ulong seed = 0; seed < 100; seed++)
        {
            Instruction read = Assembled.Read(OperandMutations.Pointer(f[0], f.BytesOf(0), Assembled.Random(seed))!);
            if (read.MemoryBase != Register.RBX)
                bases++;
            else if (System.Numerics.BitOperations.PopCount((read.MemoryDisplacement64 ^ 0x40) & 0xff) == 1)
                displacements++;
        }

        Assert.Equal(100, bases + displacements);
        Assert.InRange(bases, 20, 80);
    }

    [Fact]
    public void Frames_and_per_cpu_variables_are_no_pointers()
    {
        var f = new Assembled(a => { a.mov(rax, __qword_ptr[rsp + 8]); a.mov(rax, __qword_ptr.gs[0x28]); a.mov(rax, rbx); a.ret(); });
        Assert.All(Enumerable.Range(0, 3), i => Assert.Null(OperandMutations.Pointer(f[i], f.BytesOf(i), Assembled.Random())));
    }

    [Fact]
    public void The_same_seed_changes_the_same()
    {
        var f = new Assembled(a => { a.mov(rax, rbx); a.ret(); });
        Mutation one = OperandMutations.Source(f[0], f.BytesOf(0), Assembled.Random(7))!, other = OperandMutations.Source(f[0], f.BytesOf(0), Assembled.Random(7))!;
        Assert.Equal(one.After, other.After);
    }
}
