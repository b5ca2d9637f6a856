using System.Runtime.CompilerServices;

namespace Panacea.Target;

/// <summary>The sixteen general registers in hardware encoding order (ModRM/REX numbering).</summary>
public enum Gpr
{
    /// <summary>RAX.</summary>
    Rax,
    /// <summary>RCX.</summary>
    Rcx,
    /// <summary>RDX.</summary>
    Rdx,
    /// <summary>RBX.</summary>
    Rbx,
    /// <summary>RSP.</summary>
    Rsp,
    /// <summary>RBP.</summary>
    Rbp,
    /// <summary>RSI.</summary>
    Rsi,
    /// <summary>RDI.</summary>
    Rdi,
    /// <summary>R8.</summary>
    R8,
    /// <summary>R9.</summary>
    R9,
    /// <summary>R10.</summary>
    R10,
    /// <summary>R11.</summary>
    R11,
    /// <summary>R12.</summary>
    R12,
    /// <summary>R13.</summary>
    R13,
    /// <summary>R14.</summary>
    R14,
    /// <summary>R15.</summary>
    R15,
}

/// <summary>Sixteen general registers by value, indexed by <see cref="Gpr"/>.</summary>
[InlineArray(16)]
public struct GprFile
{
    private ulong _element0;

    /// <summary>The register's value.</summary>
    public ulong this[Gpr register]
    {
        readonly get => this[(int)register];
        set => this[(int)register] = value;
    }
}

/// <summary>The integer state of one vCPU, as of the moment it was stopped. Values are in host order.</summary>
public sealed record VcpuRegisters
{
    /// <summary>Index of the vCPU, from 0, in the hypervisor's order.</summary>
    public required int Vcpu { get; init; }

    /// <summary>General registers.</summary>
    public required GprFile Gpr { get; init; }

    /// <summary>Instruction pointer.</summary>
    public required ulong Rip { get; init; }

    /// <summary>Flags.</summary>
    public required ulong Rflags { get; init; }

    /// <summary>Code segment selector; its low two bits are the privilege level.</summary>
    public required ushort Cs { get; init; }

    /// <summary>FS segment base.</summary>
    public required ulong FsBase { get; init; }

    /// <summary>GS segment base: in kernel mode, the per-CPU area.</summary>
    public required ulong GsBase { get; init; }

    /// <summary>The GS base that SWAPGS exchanges: in user mode, the per-CPU area.</summary>
    public required ulong KernelGsBase { get; init; }

    /// <summary>Control register 0.</summary>
    public required ulong Cr0 { get; init; }

    /// <summary>Page-fault linear address.</summary>
    public required ulong Cr2 { get; init; }

    /// <summary>Page-table root and PCID.</summary>
    public required ulong Cr3 { get; init; }

    /// <summary>Control register 4.</summary>
    public required ulong Cr4 { get; init; }

    /// <summary>Extended feature enable register.</summary>
    public required ulong Efer { get; init; }

    /// <summary>Interrupts are enabled (RFLAGS.IF).</summary>
    public bool InterruptsEnabled => (Rflags & 0x200) != 0;

    /// <summary>The vCPU was executing in user mode (CPL 3).</summary>
    public bool IsUserMode => (Cs & 3) == 3;

    /// <summary>The vCPU is in 64-bit long mode with paging (EFER.LMA and CR0.PG).</summary>
    public bool IsLongMode => (Efer & 0x400) != 0 && (Cr0 & 0x8000_0000) != 0;
}

/// <summary>A register that a stopped guest lets be written.</summary>
public enum WritableRegister
{
    /// <summary>RAX.</summary>
    Rax,
    /// <summary>RCX.</summary>
    Rcx,
    /// <summary>RDX.</summary>
    Rdx,
    /// <summary>RBX.</summary>
    Rbx,
    /// <summary>RSP.</summary>
    Rsp,
    /// <summary>RBP.</summary>
    Rbp,
    /// <summary>RSI.</summary>
    Rsi,
    /// <summary>RDI.</summary>
    Rdi,
    /// <summary>R8.</summary>
    R8,
    /// <summary>R9.</summary>
    R9,
    /// <summary>R10.</summary>
    R10,
    /// <summary>R11.</summary>
    R11,
    /// <summary>R12.</summary>
    R12,
    /// <summary>R13.</summary>
    R13,
    /// <summary>R14.</summary>
    R14,
    /// <summary>R15.</summary>
    R15,
    /// <summary>Instruction pointer.</summary>
    Rip,
    /// <summary>Flags.</summary>
    Rflags,
}
