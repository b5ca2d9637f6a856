using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Whose registers the notes of a crash kernel's dump are.</summary>
/// <remarks>
/// Each CPU that dies for a crash kernel writes a note into a buffer of its own (the per-CPU <c>crash_notes</c>; crash_save_cpu(), kernel/crash_core.c, before 6.8 kernel/kexec_core.c). The dump
/// has those notes in the order of the CPUs, none of which is named, and without the CPUs that wrote none: who was offline, or did not answer the NMI (fs/proc/vmcore.c,
/// merge_note_headers_elf64). So the order does not tell whose they are. The buffers do, which are in the dump's memory too.
/// </remarks>
public sealed class CrashNotes
{
    /// <summary>A note of <c>struct elf_prstatus</c>: 12 bytes of header, 8 of name, 336 of registers.</summary>
    private const int NoteBytes = 12 + 8 + 336;

    private CrashNotes(IReadOnlyList<VcpuRegisters> vcpus, IReadOnlyList<string> missing) => (Vcpus, Missing) = (vcpus, missing);

    /// <summary>The registers, each with its CPU where that was found.</summary>
    public IReadOnlyList<VcpuRegisters> Vcpus { get; }

    /// <summary>What is not known of CPUs, in sentences.</summary>
    public IReadOnlyList<string> Missing { get; }

    /// <summary>Finds out whose the registers are that came without any sign of it; those of a hypervisor, whose GS base tells, are left as they are.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="vcpus">Registers, in the dump's order.</param>
    public static CrashNotes Read(LinuxKernel kernel, IReadOnlyList<VcpuRegisters> vcpus)
    {
        VcpuRegisters[] found = [.. vcpus];
        List<int> open = [.. Enumerable.Range(0, found.Length).Where(i => found[i].Cpu is null && !found[i].Knows(RegisterGroups.SegmentBases))];
        if (open.Count == 0)
            return new CrashNotes(vcpus, []);
        List<int> left = [.. Cpus.Possible(kernel)];
        Dictionary<int, PrStatusNote?> saved = left.ToDictionary(cpu => cpu, cpu => KernelReads.Try(() => Saved(kernel, cpu), null));
        Match((cpu, registers) => saved[cpu] is { } note && IsSame(note, registers));
        if (open.Count > 0)
        {
            // Where the buffers are not to be had, a kernel stack is one CPU's alone.
            Dictionary<int, List<KernelStack>> stacks = left.ToDictionary(cpu => cpu, cpu => KernelReads.Try(() => Stacks.Of(kernel, cpu, PerCpu.CurrentTask(kernel, cpu)), []));
            Match((cpu, registers) => !registers.IsUserMode && stacks[cpu].Exists(s => s.Contains(registers.Gpr[Gpr.Rsp])));
        }

        if (open.Count > 0)
            return new CrashNotes(found, [$"of {open.Count} CPU{(open.Count == 1 ? "" : "s")} that saved registers it can't be told which {(open.Count == 1 ? "it is" : "they are")}: what ran there is not known"]);

        // No hypervisor has numbered them: the kernel's number is the only one.
        return new CrashNotes(
            [.. found.Select(v => v with { Vcpu = v.Cpu ?? v.Vcpu })],
            [.. Silent(kernel, left).Select(cpu => $"CPU {cpu} saved no registers for the crash kernel (it did not answer the NMI){Ran(kernel, cpu)}: its stack is not known")]);

        void Match(Func<int, VcpuRegisters, bool> isOf)
        {
            foreach (int i in open.ToArray())
            {
                int at = left.FindIndex(cpu => isOf(cpu, found[i]));
                if (at < 0)
                    continue;

                // In kernel mode the GS base is the CPU's area; what the note has for it is the current task's (ELF_CORE_COPY_REGS, arch/x86/include/asm/elf.h).
                found[i] = found[i] with { Cpu = left[at], GsBase = found[i].IsUserMode ? 0 : kernel.Image.Meta.PerCpuBases[left[at]] };
                left.RemoveAt(at);
                open.Remove(i);
            }
        }
    }

    /// <summary>The note in one CPU's buffer; null where it has written none.</summary>
    private static PrStatusNote? Saved(LinuxKernel kernel, int cpu)
    {
        if (kernel.TryReadVariable("crash_notes") is not { } pointer || pointer == 0)
            return null;
        byte[] bytes = new byte[NoteBytes];
        kernel.Space.Read(new VirtualAddress(Cpus.At(kernel, pointer, cpu)), bytes, "crash_notes");
        return ElfNotes.TryReadOne(bytes, out ElfNote note, out _) && note is { Name: "CORE", Type: PrStatusNote.NoteType } && PrStatusNote.TryRead(note.Descriptor.Span, out PrStatusNote status)
            ? status : null;
    }

    private static bool IsSame(PrStatusNote note, VcpuRegisters registers) =>
        note[UserRegister.Rip] == registers.Rip && note[UserRegister.Rsp] == registers.Gpr[Gpr.Rsp] && note[UserRegister.Rflags] == registers.Rflags
        && note[UserRegister.Rax] == registers.Gpr[Gpr.Rax] && note[UserRegister.Rbx] == registers.Gpr[Gpr.Rbx] && note[UserRegister.Rcx] == registers.Gpr[Gpr.Rcx]
        && note[UserRegister.Rdx] == registers.Gpr[Gpr.Rdx] && note[UserRegister.Rsi] == registers.Gpr[Gpr.Rsi] && note[UserRegister.Rdi] == registers.Gpr[Gpr.Rdi]
        && note[UserRegister.Rbp] == registers.Gpr[Gpr.Rbp] && note[UserRegister.R12] == registers.Gpr[Gpr.R12] && note[UserRegister.R13] == registers.Gpr[Gpr.R13]
        && note[UserRegister.R14] == registers.Gpr[Gpr.R14] && note[UserRegister.R15] == registers.Gpr[Gpr.R15];

    /// <summary>Of some CPUs, those that ran tasks.</summary>
    private static IEnumerable<int> Silent(LinuxKernel kernel, List<int> cpus) => KernelReads.Try(() => Cpus.Scheduled(kernel).Intersect(cpus).ToList(), []);

    private static string Ran(LinuxKernel kernel, int cpu) =>
        KernelReads.Try<LinuxTask?>(() => Tasks.ReadTask(kernel, PerCpu.CurrentTask(kernel, cpu)), null) is { } task ? $"; it ran PID {task.Pid} \"{task.Comm}\"" : "";
}
