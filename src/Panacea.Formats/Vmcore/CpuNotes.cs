using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>Registers in the order of <c>struct user_regs_struct</c> (arch/x86/include/asm/user_64.h), 8 bytes each.</summary>
public enum UserRegister
{
    /// <summary>R15.</summary>
    R15,
    /// <summary>R14.</summary>
    R14,
    /// <summary>R13.</summary>
    R13,
    /// <summary>R12.</summary>
    R12,
    /// <summary>RBP.</summary>
    Rbp,
    /// <summary>RBX.</summary>
    Rbx,
    /// <summary>R11.</summary>
    R11,
    /// <summary>R10.</summary>
    R10,
    /// <summary>R9.</summary>
    R9,
    /// <summary>R8.</summary>
    R8,
    /// <summary>RAX.</summary>
    Rax,
    /// <summary>RCX.</summary>
    Rcx,
    /// <summary>RDX.</summary>
    Rdx,
    /// <summary>RSI.</summary>
    Rsi,
    /// <summary>RDI.</summary>
    Rdi,
    /// <summary>RAX as it was at a system call's entry.</summary>
    OrigRax,
    /// <summary>Instruction pointer.</summary>
    Rip,
    /// <summary>Code segment selector.</summary>
    Cs,
    /// <summary>Flags.</summary>
    Rflags,
    /// <summary>RSP.</summary>
    Rsp,
    /// <summary>Stack segment selector.</summary>
    Ss,
    /// <summary>FS base; the current task's, where the kernel wrote the note.</summary>
    FsBase,
    /// <summary>GS base; the current task's (not the per-CPU area), where the kernel wrote the note.</summary>
    GsBase,
}

/// <summary>NT_PRSTATUS of one CPU: <c>struct elf_prstatus</c> (include/linux/elfcore.h), of which a core of a whole system has the process id and the registers.</summary>
/// <remarks>A crashing kernel writes one for each CPU that it reached (crash_save_cpu, kernel/crash_core.c), with the user's segment bases of the current task
/// (ELF_CORE_COPY_REGS, arch/x86/include/asm/elf.h); QEMU writes one for each vCPU, with the vCPU's own (target/i386/arch_dump.c).</remarks>
public sealed class PrStatusNote
{
    /// <summary>NT_PRSTATUS.</summary>
    public const uint NoteType = 1;

    private const int PidAt = 32, RegistersAt = 112, Registers = 27, Size = 336;
    private readonly byte[] _descriptor;

    private PrStatusNote(byte[] descriptor) => _descriptor = descriptor;

    /// <summary>The current task's id where the kernel wrote the note; the vCPU's index plus one where QEMU did.</summary>
    public uint Pid => BinaryPrimitives.ReadUInt32LittleEndian(_descriptor.AsSpan(PidAt));

    /// <summary>A register.</summary>
    public ulong this[UserRegister register] => BinaryPrimitives.ReadUInt64LittleEndian(_descriptor.AsSpan(RegistersAt + (8 * (int)register)));

    /// <summary>Takes a note's descriptor; false where it is not of the 64-bit layout.</summary>
    public static bool TryRead(ReadOnlySpan<byte> descriptor, out PrStatusNote note)
    {
        note = null!;
        if (descriptor.Length < RegistersAt + (8 * Registers) || descriptor.Length > Size + 16)
            return false;
        note = new PrStatusNote(descriptor.ToArray());
        return true;
    }
}

/// <summary>General registers in the order of QEMUCPUState, 8 bytes each.</summary>
public enum QemuRegister
{
    /// <summary>RAX.</summary>
    Rax,
    /// <summary>RBX.</summary>
    Rbx,
    /// <summary>RCX.</summary>
    Rcx,
    /// <summary>RDX.</summary>
    Rdx,
    /// <summary>RSI.</summary>
    Rsi,
    /// <summary>RDI.</summary>
    Rdi,
    /// <summary>RSP.</summary>
    Rsp,
    /// <summary>RBP.</summary>
    Rbp,
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

/// <summary>Segments in the order of QEMUCPUState.</summary>
public enum QemuSegment
{
    /// <summary>CS.</summary>
    Cs,
    /// <summary>DS.</summary>
    Ds,
    /// <summary>ES.</summary>
    Es,
    /// <summary>FS.</summary>
    Fs,
    /// <summary>GS.</summary>
    Gs,
    /// <summary>SS.</summary>
    Ss,
    /// <summary>LDT.</summary>
    Ldt,
    /// <summary>Task register.</summary>
    Tr,
    /// <summary>GDT.</summary>
    Gdt,
    /// <summary>IDT.</summary>
    Idt,
}

/// <summary>QEMU's own note of one vCPU (owner "QEMU", type 0): QEMUCPUState, version 1, of target/i386/arch_dump.c.</summary>
/// <remarks>u32 version, u32 size, 16 general registers, RIP, RFLAGS, 10 segments (u32 selector, limit, flags, pad; u64 base), CR0 to CR4, and in newer ones (the
/// note's size tells) the kernel GS base. EFER is not in it.</remarks>
public sealed class QemuCpuNote
{
    /// <summary>The note's owner.</summary>
    public const string Owner = "QEMU";

    private const int RegistersAt = 8, SegmentsAt = RegistersAt + (18 * 8), SegmentSize = 24, ControlAt = SegmentsAt + (10 * SegmentSize), KernelGsAt = ControlAt + (5 * 8), MaxSize = 4096;
    private readonly byte[] _descriptor;

    private QemuCpuNote(byte[] descriptor) => _descriptor = descriptor;

    /// <summary>A general register.</summary>
    public ulong this[QemuRegister register] => U64(RegistersAt + (8 * (int)register));

    /// <summary>The GS base that SWAPGS exchanges; null where this QEMU did not write it.</summary>
    public ulong? KernelGsBase => _descriptor.Length >= KernelGsAt + 8 ? U64(KernelGsAt) : null;

    /// <summary>Base of a segment or table.</summary>
    public ulong Base(QemuSegment segment) => U64(SegmentsAt + ((int)segment * SegmentSize) + 16);

    /// <summary>Selector of a segment.</summary>
    public ushort Selector(QemuSegment segment) => unchecked((ushort)BinaryPrimitives.ReadUInt32LittleEndian(_descriptor.AsSpan(SegmentsAt + ((int)segment * SegmentSize))));

    /// <summary>Control register 0 to 4.</summary>
    public ulong Control(int number) => number is >= 0 and <= 4 ? U64(ControlAt + (8 * number)) : throw new ArgumentOutOfRangeException(nameof(number));

    /// <summary>Takes a note's descriptor; false where it is of another version or too short.</summary>
    public static bool TryRead(ReadOnlySpan<byte> descriptor, out QemuCpuNote note)
    {
        note = null!;
        if (descriptor.Length is < KernelGsAt or > MaxSize || BinaryPrimitives.ReadUInt32LittleEndian(descriptor) != 1)
            return false;
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[4..]);
        if (size is < KernelGsAt or > MaxSize)
            return false;
        note = new QemuCpuNote(descriptor[..(int)Math.Min((uint)descriptor.Length, size)].ToArray());
        return true;
    }

    private ulong U64(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_descriptor.AsSpan(at));
}
