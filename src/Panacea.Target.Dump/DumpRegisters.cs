using Panacea.Formats.Vmcore;

namespace Panacea.Target.Dump;

/// <summary>From the notes of a dump to registers: what a note does not hold is marked as not known.</summary>
internal static class DumpRegisters
{
    private static readonly (Gpr Register, QemuRegister Qemu, UserRegister User)[] General =
    [
        (Gpr.Rax, QemuRegister.Rax, UserRegister.Rax), (Gpr.Rcx, QemuRegister.Rcx, UserRegister.Rcx), (Gpr.Rdx, QemuRegister.Rdx, UserRegister.Rdx), (Gpr.Rbx, QemuRegister.Rbx, UserRegister.Rbx),
        (Gpr.Rsp, QemuRegister.Rsp, UserRegister.Rsp), (Gpr.Rbp, QemuRegister.Rbp, UserRegister.Rbp), (Gpr.Rsi, QemuRegister.Rsi, UserRegister.Rsi), (Gpr.Rdi, QemuRegister.Rdi, UserRegister.Rdi),
        (Gpr.R8, QemuRegister.R8, UserRegister.R8), (Gpr.R9, QemuRegister.R9, UserRegister.R9), (Gpr.R10, QemuRegister.R10, UserRegister.R10), (Gpr.R11, QemuRegister.R11, UserRegister.R11),
        (Gpr.R12, QemuRegister.R12, UserRegister.R12), (Gpr.R13, QemuRegister.R13, UserRegister.R13), (Gpr.R14, QemuRegister.R14, UserRegister.R14), (Gpr.R15, QemuRegister.R15, UserRegister.R15),
    ];

    /// <summary>Registers of every CPU that has notes: QEMU's where it wrote them, else the kernel's own.</summary>
    public static IReadOnlyList<VcpuRegisters> Of(VmcoreNotes notes, TargetLimits limits) => notes.Qemu.Count > 0
        ? [.. notes.Qemu.Take(limits.MaxCpus).Select(From)]
        : [.. notes.Status.Take(limits.MaxCpus).Select(From)];

    private static VcpuRegisters From(QemuCpuNote note, int index)
    {
        var gpr = new GprFile();
        foreach ((Gpr register, QemuRegister from, _) in General)
            gpr[register] = note[from];
        return new VcpuRegisters
        {
            Vcpu = index, Gpr = gpr, Rip = note[QemuRegister.Rip], Rflags = note[QemuRegister.Rflags], Cs = note.Selector(QemuSegment.Cs),
            FsBase = note.Base(QemuSegment.Fs), GsBase = note.Base(QemuSegment.Gs), KernelGsBase = note.KernelGsBase ?? 0,
            Cr0 = note.Control(0), Cr2 = note.Control(2), Cr3 = note.Control(3), Cr4 = note.Control(4), Efer = 0, TrapTable = note.Base(QemuSegment.Idt),
            Known = RegisterGroups.Integer | RegisterGroups.SegmentBases | RegisterGroups.Control | RegisterGroups.TrapTable
                | (note.KernelGsBase is null ? RegisterGroups.None : RegisterGroups.KernelGsBase),
        };
    }

    /// <summary>A kernel's note holds the segment bases of the current task, which are the vCPU's own only in user mode; so they are not taken.</summary>
    private static VcpuRegisters From(PrStatusNote note, int index)
    {
        var gpr = new GprFile();
        foreach ((Gpr register, _, UserRegister from) in General)
            gpr[register] = note[from];
        return new VcpuRegisters
        {
            Vcpu = index, Gpr = gpr, Rip = note[UserRegister.Rip], Rflags = note[UserRegister.Rflags], Cs = unchecked((ushort)note[UserRegister.Cs]),
            FsBase = 0, GsBase = 0, KernelGsBase = 0, Cr0 = 0, Cr2 = 0, Cr3 = 0, Cr4 = 0, Efer = 0, Known = RegisterGroups.Integer,
        };
    }
}
