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

/// <summary>Registers of a vCPU that are known or not known together.</summary>
[Flags]
public enum RegisterGroups
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>General registers, RIP, RFLAGS and CS.</summary>
    Integer = 1,

    /// <summary>FS and GS base.</summary>
    SegmentBases = 2,

    /// <summary>The GS base that SWAPGS exchanges.</summary>
    KernelGsBase = 4,

    /// <summary>CR0, CR2, CR3 and CR4.</summary>
    Control = 8,

    /// <summary>EFER.</summary>
    Efer = 16,

    /// <summary>The base of the trap table.</summary>
    TrapTable = 32,

    /// <summary>All but the trap table: what a stopped guest tells.</summary>
    Live = Integer | SegmentBases | KernelGsBase | Control | Efer,
}

/// <summary>The integer state of one vCPU, as of the moment it was stopped. Values are in host order.</summary>
public sealed record VcpuRegisters
{
    /// <summary>Which of them are known. The notes of a dump lack some: those read as 0 and mean nothing.</summary>
    public RegisterGroups Known { get; init; } = RegisterGroups.Live;

    /// <summary>All registers of some groups are known.</summary>
    public bool Knows(RegisterGroups groups) => (Known & groups) == groups;

    /// <summary>Index of the vCPU, from 0, in the hypervisor's order.</summary>
    public required int Vcpu { get; init; }

    /// <summary>The kernel's number of the CPU, where that has been found out in another way than by its GS base; else null.</summary>
    public int? Cpu { get; init; }

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

    /// <summary>Base of the trap table (IDTR).</summary>
    public ulong TrapTable { get; init; }

    /// <summary>Interrupts are enabled (RFLAGS.IF).</summary>
    public bool InterruptsEnabled => (Rflags & 0x200) != 0;

    /// <summary>The vCPU was executing in user mode (CPL 3).</summary>
    public bool IsUserMode => (Cs & 3) == 3;

    /// <summary>The vCPU is in 64-bit long mode with paging (EFER.LMA and CR0.PG); false where that is not known.</summary>
    public bool IsLongMode => (Efer & 0x400) != 0 && (Cr0 & 0x8000_0000) != 0;
}

/// <summary>One register to write.</summary>
/// <param name="Register">Which.</param>
/// <param name="Value">Its new value.</param>
public readonly record struct RegisterWrite(WritableRegister Register, ulong Value);

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
