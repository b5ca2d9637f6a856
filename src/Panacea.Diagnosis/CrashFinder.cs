using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>Finds the crash in a machine that has died already: a dump, or a guest that stands or loops in panic(). What a guard sees at the death point is found again on the stack.</summary>
/// <param name="image">The kernel.</param>
/// <param name="capture">Reads the evidence.</param>
public sealed class CrashFinder(RepairImage image, CrashCapture capture)
{
    /// <summary>Trap entries of arch/x86/entry/entry_64.S: <c>asm_exc_page_fault</c>, …</summary>
    private const string TrapPrefix = "asm_exc_";

    /// <summary>The unmapped page below a stack in vmalloc (kernel/fork.c, alloc_thread_stack_node).</summary>
    private const ulong GuardBytes = 4096;

    /// <summary>The first cause of the death.</summary>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="vcpus">Registers of the CPUs, as far as they are known.</param>
    /// <param name="evidence">What was found.</param>
    /// <param name="whyNot">Why there is none.</param>
    /// <returns>False where no CPU's stack shows a death.</returns>
    public bool TryFind(IGuestMemory memory, IReadOnlyList<VcpuRegisters> vcpus, out CrashEvidence evidence, out string whyNot)
    {
        evidence = null!;
        LinuxKernel kernel = image.KernelOver(memory);
        uint? dead = PanicState.DeadCpu(kernel);
        whyNot = vcpus.Count == 0 ? "the registers of no CPU are known" : "no CPU's stack shows an oops or a panic";
        List<CrashCapture.CapturedCpu> cpus = [.. vcpus.Where(v => !v.IsUserMode).Select(v => capture.Open(memory, v))];
        foreach (CrashCapture.CapturedCpu cpu in cpus.OrderByDescending(c => c.Cpu is { } number && number == dead))
        {
            Backtrace stack = capture.UnwinderOf(cpu).Unwind(UnwindStart.From(cpu.Vcpu));
            if (TryFind(cpu, stack, isDead: cpu.Cpu is { } number && number == dead, out evidence))
                return true;
        }

        return false;
    }

    private bool TryFind(CrashCapture.CapturedCpu cpu, Backtrace stack, bool isDead, out CrashEvidence evidence)
    {
        evidence = null!;
        for (int i = stack.Frames.Count - 1; i >= 0; i--)
        {
            // The outermost one is the first cause: a panic that an oops led to lies within it, and so does whatever interrupted the panic since.
            if (stack.Frames[i].Reliability != FrameReliability.Exact || PointOf(stack.Frames[i]) is not { } point)
                continue;
            if (point.Symbol != "oops_end")
            {
                Backtrace rest = Outward(stack, i);
                var entered = new PtRegs { Gpr = Known(rest.Frames[0].Registers), Ip = rest.Frames[0].Ip, Flags = cpu.Vcpu.Rflags, Cs = cpu.Vcpu.Cs };
                evidence = capture.Evidence(cpu, point, entered, 0, null, rest, ContextOf(rest, cpu.Task)) with { IsPast = true };
                return true;
            }

            int trap = Enumerable.Range(i, stack.Frames.Count - i).FirstOrDefault(k => stack.Frames[k] is { Regs: not null, RegsAddress: not null }, -1);
            if (trap < 0)
                continue;
            evidence = AtTrap(cpu, stack, trap, point);
            return true;
        }

        return isDead && TryAtRegisters(cpu, out evidence);
    }

    private CrashEvidence AtTrap(CrashCapture.CapturedCpu cpu, Backtrace stack, int trap, DeathPoint point)
    {
        Backtrace rest = Outward(stack, trap);
        ulong regsAddress = rest.Frames[0].RegsAddress!.Value;
        string? entry = capture.FindTrapEntry(stack, regsAddress, out bool overflowed);
        return capture.Evidence(cpu, point, rest.Frames[0].Regs!.Value, regsAddress, entry, rest, ContextOf(rest, cpu.Task), overflowed) with { IsPast = true };
    }

    /// <summary>kexec's crash path saves the registers of the oops, not those of its own (crash_setup_regs, arch/x86/include/asm/kexec.h): the CPU seems to stand where it trapped. The trap's
    /// pt_regs lie where the CPU pushed them: below the stack pointer that it had, aligned to 16 bytes, or at the top of a stack of the trap's own, as for a double fault (Intel SDM 3A, 6.14.2
    /// and 6.14.5).</summary>
    private bool TryAtRegisters(CrashCapture.CapturedCpu cpu, out CrashEvidence evidence)
    {
        evidence = null!;
        if (image.Meta.DeathPoints.FirstOrDefault(p => p.Symbol == "oops_end") is not { } point)
            return false;
        ulong sp = cpu.Vcpu.Gpr[Gpr.Rsp];
        foreach (ulong top in (ulong[])[sp & ~15UL, .. Stacks.Of(cpu.Kernel, cpu.Cpu, 0).Where(s => s.Name != "irq").Select(s => s.End)])
        {
            ulong at = unchecked(top - PtRegs.Size);
            if (!PtRegs.TryRead(cpu.Kernel.Space, at, out PtRegs regs, out _) || regs.Ip != cpu.Vcpu.Rip || regs.Gpr[Gpr.Rsp] != sp)
                continue;
            string? entry = EntryBehind(cpu.Kernel, at);
            Backtrace stack = capture.UnwinderOf(cpu).Unwind(UnwindStart.From(regs, at));
            evidence = capture.Evidence(cpu, point, regs, at, entry, stack, ContextOf(stack, cpu.Task), overflowed: entry == "asm_exc_double_fault" && IsAtGuardPage(cpu, sp)) with { IsPast = true };
            return true;
        }

        return false;
    }

    /// <summary>The entry that called the handler which was given some pt_regs: its return address lies below them.</summary>
    private string? EntryBehind(LinuxKernel kernel, ulong regsAddress) =>
        kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(regsAddress - 8)), out ulong back, out _) && image.Symbolize(unchecked(back - 1))?.Name is { } name && name.StartsWith(TrapPrefix, StringComparison.Ordinal)
            ? name : null;

    /// <summary>A push would have hit the guard page below the task's stack, which makes a double fault a stack overflow (handle_stack_overflow, arch/x86/kernel/traps.c).</summary>
    private static bool IsAtGuardPage(CrashCapture.CapturedCpu cpu, ulong sp) =>
        cpu.Task is { } task && Stacks.Of(cpu.Kernel, null, task.Address).Exists(s => unchecked(s.Start - sp) < GuardBytes);

    /// <summary>The way to panic() is often moved out of its function, to <c>oops_end.cold</c>.</summary>
    private DeathPoint? PointOf(StackFrame frame) => Buckets.Plain(image.Symbolize(frame.Point.LookupAddress)?.Name) switch
    {
        "oops_end" => Point("oops_end"),
        "panic" or "vpanic" or "nmi_panic" => Point("panic") ?? Point("vpanic"),
        _ => null,
    };

    private DeathPoint? Point(string symbol) => image.Meta.DeathPoints.FirstOrDefault(p => p.Symbol == symbol);

    private static Backtrace Outward(Backtrace stack, int from) =>
        stack with { Frames = [.. stack.Frames.Skip(from).Select((f, i) => f with { Index = i })] };

    private static GprFile Known(KnownRegisters registers)
    {
        GprFile file = default;
        foreach (Gpr register in Enum.GetValues<Gpr>())
        {
            if (registers.TryGet(register, out ulong value))
                file[register] = value;
        }

        return file;
    }

    /// <summary>The context, told by the stack: the preempt count has gone on since the crash. The innermost interrupt outward of the crash is what it was running for.</summary>
    private CrashContext ContextOf(Backtrace stack, CrashedTask? task)
    {
        foreach (StackFrame frame in stack.Frames)
        {
            if (frame.Reliability != FrameReliability.Exact || image.Symbolize(frame.Point.LookupAddress)?.Name is not { } name)
                continue;
            if (name is "asm_exc_nmi" or "exc_nmi" or "end_repeat_nmi" or "nmi_panic")
                return CrashContext.Nmi;
            if (name is "__do_softirq" or "handle_softirqs")
                return CrashContext.Softirq;
            if (name is "asm_common_interrupt" or "common_interrupt" || name.StartsWith("asm_sysvec_", StringComparison.Ordinal))
                return CrashContext.Hardirq;
        }

        return task is null ? CrashContext.Unknown
            : task.Pid == 0 ? CrashContext.Idle
            : task.IsKernelThread ? CrashContext.KernelThread
            : CrashContext.Process;
    }
}
