using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Replay;

/// <summary>Runs single instructions on the processor that the tests run on: what they do there is what they do.</summary>
internal sealed partial class HostCpu : IDisposable
{
    private const int PageSize = 4096, CodeAt = 0, StateAt = PageSize, DataAt = 2 * PageSize, Pages = 4;
    private const int ReadWriteExecute = 7, PrivateAnonymous = 0x22;

    private static readonly AssemblerRegister64[] Registers = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];

    private readonly nint _memory = Map(0, Pages * PageSize, ReadWriteExecute, PrivateAnonymous, -1, 0);

    /// <summary>Address of the page that instructions may access.</summary>
    public ulong Data => (ulong)_memory + DataAt;

    /// <summary>That page.</summary>
    public unsafe Span<byte> DataBytes => new((void*)(_memory + DataAt), PageSize);

    /// <summary>Runs one instruction.</summary>
    /// <param name="code">Its bytes.</param>
    /// <param name="registers">All registers but RSP, before and after.</param>
    /// <param name="flags">RFLAGS before and after.</param>
    public unsafe void Run(ReadOnlySpan<byte> code, ulong[] registers, ref ulong flags)
    {
        var before = new Assembler(64);
        foreach (AssemblerRegister64 saved in (AssemblerRegister64[])[rbx, rbp, r12, r13, r14, r15, rdi])
            before.push(saved);
        before.push(__qword_ptr[rdi + (16 * 8)]);
        before.popfq();
        foreach (AssemblerRegister64 register in Registers.Where(r => r != rsp && r != rdi))
            before.mov(register, __qword_ptr[rdi + (Number(register) * 8)]);
        before.mov(rdi, __qword_ptr[rdi + (Number(rdi) * 8)]);
        var after = new Assembler(64);
        after.pushfq();
        after.push(rdi);
        after.mov(rdi, __qword_ptr[rsp + 16]);
        foreach (AssemblerRegister64 register in Registers.Where(r => r != rsp && r != rdi))
            after.mov(__qword_ptr[rdi + (Number(register) * 8)], register);
        after.pop(rax);
        after.mov(__qword_ptr[rdi + (Number(rdi) * 8)], rax);
        after.pop(rax);
        after.mov(__qword_ptr[rdi + (16 * 8)], rax);
        after.cld();
        foreach (AssemblerRegister64 saved in (AssemblerRegister64[])[rdi, r15, r14, r13, r12, rbp, rbx])
            after.pop(saved);
        after.ret();
        var whole = new MemoryStream();
        before.Assemble(new StreamCodeWriter(whole), (ulong)_memory + CodeAt);
        whole.Write(code);
        after.Assemble(new StreamCodeWriter(whole), (ulong)_memory + CodeAt + (ulong)whole.Length);
        whole.ToArray().CopyTo(new Span<byte>((void*)(_memory + CodeAt), PageSize));
        var state = new Span<ulong>((void*)(_memory + StateAt), 17);
        registers.CopyTo(state);
        state[16] = flags;
        ((delegate* unmanaged<nint, void>)(_memory + CodeAt))(_memory + StateAt);
        state[..16].CopyTo(registers);
        flags = state[16];
    }

    public void Dispose() => _ = Unmap(_memory, Pages * PageSize);

    private static int Number(AssemblerRegister64 register) => register.Value - Register.RAX;

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nint length, int protection, int flags, int descriptor, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nint length);
}
