using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Stacks of tasks: the magic at the end of each (set_task_stack_end_magic, kernel/fork.c; checked by the kernel in schedule() with CONFIG_SCHED_STACK_END_CHECK alone), where a task
/// that sleeps has left its stack pointer, and canaries.</summary>
public sealed class StackValidator : IValidator
{
    /// <summary>STACK_END_MAGIC (include/uapi/linux/magic.h).</summary>
    private const ulong EndMagic = 0x57AC_6E9D;

    /// <summary>A running CPU switches between two reads: then again.</summary>
    private const int Attempts = 8;

    /// <inheritdoc/>
    public string Name => "stacks";

    /// <inheritdoc/>
    public string Description => "end magic of every task's stack, saved stack pointers, canaries, no stack with two tasks";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "stacks");
        var owners = new Dictionary<ulong, ulong>();
        ulong size = kernel.Image.Types.TrySizeOf("thread_union", out int bytes) ? (ulong)bytes : 16384;
        foreach (ulong task in context.Tasks.Select(t => t.Address).Concat(context.IdleTasks).Distinct())
        {
            notes.Guard($"stack of the task at 0x{task:x}", () =>
            {
                ulong stack = kernel.Read(task, "task_struct.stack");

                // The stack of a task that has exited is given back before the task itself (put_task_stack).
                if (stack == 0 || !notes.Count("stacks"))
                    return;
                string who = $"the task at 0x{task:x} (pid {kernel.ReadS32(task, "task_struct.pid")})";
                if (!owners.TryAdd(stack, task))
                    notes.Found("shared", Confidence.High, $"{who} has the same stack, 0x{stack:x}, as the task at 0x{owners[stack]:x}");
                if (kernel.ReadU64(stack, "end of a stack") is var magic && magic != EndMagic)
                    notes.Found("end-magic", Confidence.High, $"the last word of the stack of {who} at 0x{stack:x} is 0x{magic:x}, not the end magic: the stack ran over", $"expected 0x{EndMagic:x}");
                if (kernel.HasMember("task_struct.thread.sp") && !TaskDetails.IsRunning(kernel, task) && kernel.Read(task, "task_struct.thread.sp") is var sp && (sp < stack + 8 || sp >= stack + size)
                    && !TaskDetails.IsRunning(kernel, task) && !context.IdleTasks.Contains(task))
                    notes.Found("pointer", Confidence.High, $"{who} does not run, and its stack pointer 0x{sp:x} is not on its stack 0x{stack:x}");
                if (kernel.HasMember("task_struct.stack_canary"))
                {
                    // The lowest byte is zero to stop strings (CANARY_MASK, include/linux/stackprotector.h).
                    ulong canary = kernel.Read(task, "task_struct.stack_canary");
                    notes.Count("canaries");
                    if (canary == 0 || (canary & 0xff) != 0)
                        notes.Found("canary", Confidence.Medium, $"the canary of {who} is 0x{canary:x}, which is none that the kernel makes");
                }
            });
        }

        if (kernel.HasMember("task_struct.stack_canary"))
            notes.Guard("canaries of CPUs", () => Cpus.Online(kernel).ToList().ForEach(cpu => OfCpu(context, notes, cpu)));
        return notes.Done();
    }

    /// <summary>The canary that functions compare with is the current task's: fixed_percpu_data.stack_canary, from 6.15 the variable __stack_chk_guard (commit 80d47defddc0,
    /// "x86/stackprotector/64: Convert to normal per-CPU variable").</summary>
    private static void OfCpu(CheckContext context, CheckNotes notes, int cpu)
    {
        LinuxKernel kernel = context.Kernel;
        ulong at = kernel.HasMember("fixed_percpu_data.stack_canary") && kernel.Image.TryFindPerCpuSymbol("fixed_percpu_data", out _)
            ? unchecked(PerCpu.Address(kernel, "fixed_percpu_data", cpu) + kernel.Offset("fixed_percpu_data.stack_canary"))
            : kernel.Image.TryFindPerCpuSymbol("__stack_chk_guard", out _) ? PerCpu.Address(kernel, "__stack_chk_guard", cpu) : 0;
        if (at == 0)
            return;
        ulong task = 0, expected = 0, canary = 0;
        for (int attempt = 0; attempt < (context.IsLive ? Attempts : 1); attempt++)
        {
            task = PerCpu.CurrentTask(kernel, cpu);
            (expected, canary) = (kernel.Read(task, "task_struct.stack_canary"), kernel.ReadU64(at, "stack canary"));
            if (expected == canary)
                return;
        }

        notes.Found("cpu-canary", Confidence.Medium, $"CPU {cpu} compares with the canary 0x{canary:x}, and its task at 0x{task:x} has 0x{expected:x}", $"at 0x{at:x}");
    }
}
