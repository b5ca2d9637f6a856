using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Kernel.Structures;

/// <summary>The CPUs of a guest as its kernel counts them, and what is kept once for each of them.</summary>
public static class Cpus
{
    /// <summary>The CPUs that have a per-CPU area: those that could ever come online (cpu_possible_mask), by number.</summary>
    public static IReadOnlyList<int> Possible(LinuxKernel kernel) =>
        [.. Enumerable.Range(0, kernel.Image.Meta.PerCpuBases.Count).Where(cpu => kernel.Image.Meta.PerCpuBases[cpu] != 0)];

    /// <summary>The CPUs that run tasks (__cpu_online_mask, kernel/cpu.c). At a panic() the others have been taken offline.</summary>
    /// <exception cref="KernelShapeException">There is no such mask.</exception>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static IReadOnlyList<int> Online(LinuxKernel kernel) => [.. Mask(kernel, kernel.Symbol("__cpu_online_mask"), "__cpu_online_mask")];

    /// <summary>The CPUs that run tasks, and those that did until a panic took them offline: what was on their run queues and timer wheels is there still.</summary>
    /// <remarks>stop_this_cpu() (arch/x86/kernel/process.c) takes a CPU out of __cpu_online_mask only; who is unplugged has left __cpu_active_mask first (sched_cpu_deactivate(), kernel/sched/core.c).</remarks>
    /// <inheritdoc cref="Online" path="/exception"/>
    public static IReadOnlyList<int> Scheduled(LinuxKernel kernel) =>
        kernel.HasSymbol("__cpu_active_mask") ? [.. Online(kernel).Union(Mask(kernel, kernel.Symbol("__cpu_active_mask"), "__cpu_active_mask")).Order()] : Online(kernel);

    /// <summary>The CPUs of a struct cpumask, as far as there are per-CPU areas.</summary>
    public static IEnumerable<int> Mask(LinuxKernel kernel, ulong mask, string what)
    {
        int count = kernel.Image.Meta.PerCpuBases.Count;
        for (int word = 0; word * 64 < count; word++)
        {
            ulong bits = kernel.ReadU64(unchecked(mask + ((ulong)word * 8)), what);
            for (int bit = 0; bit < 64 && (word * 64) + bit < count; bit++)
            {
                if ((bits >> bit & 1) != 0)
                    yield return (word * 64) + bit;
            }
        }
    }

    /// <summary>One CPU's copy of what a __percpu pointer stands for (per_cpu_ptr).</summary>
    public static ulong At(LinuxKernel kernel, ulong pointer, int cpu) => unchecked(pointer + PerCpu.Base(kernel, cpu));

    /// <summary>The value of a struct percpu_counter: its count and what each CPU has not yet added to it (percpu_counter_sum, lib/percpu_counter.c). Over a running guest it may be off
    /// by what moves meanwhile.</summary>
    /// <remarks>A counter whose per-CPU part is NULL is one that was never initialised or is destroyed, or belongs to a kernel for one CPU: then the count alone is given.</remarks>
    public static long CounterSum(LinuxKernel kernel, ulong counter)
    {
        long sum = kernel.ReadSigned(counter, "percpu_counter.count");
        ulong parts = kernel.HasMember("percpu_counter.counters") ? kernel.Read(counter, "percpu_counter.counters") : 0;
        if (parts == 0)
            return sum;
        foreach (int cpu in Possible(kernel))
            sum = unchecked(sum + (int)kernel.Space.ReadUInt32(new VirtualAddress(At(kernel, parts, cpu)), "percpu_counter.counters"));
        return sum;
    }
}
