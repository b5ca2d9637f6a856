using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A timer of the wheel (struct timer_list).</summary>
/// <param name="Address">struct timer_list.</param>
/// <param name="Cpu">CPU whose wheel it is in.</param>
/// <param name="Base">Wheel of that CPU, from 0.</param>
/// <param name="Bucket">Bucket that it lies in.</param>
/// <param name="Expires">When it is due, in jiffies.</param>
/// <param name="Function">Its function's address.</param>
/// <param name="Name">Its function's name; null where no symbol covers it.</param>
/// <param name="Flags">TIMER_* and its bucket in the highest ten bits (include/linux/timer.h).</param>
/// <param name="Task">The task that sleeps until then (process_timeout), 0 for others.</param>
/// <param name="Work">The work that is queued then (delayed_work_timer_fn); null for others.</param>
public sealed record KernelTimer(
    ulong Address, int Cpu, int Base, int Bucket, ulong Expires, ulong Function, SymbolLocation? Name, uint Flags, ulong Task, SymbolLocation? Work);

/// <summary>A wheel of timers.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Index">Which of the CPU's.</param>
/// <param name="Name">standard or deferrable; from 6.9 local, global or deferrable ("timers: Keep the pinned timers separate from the others").</param>
/// <param name="Clock">Jiffies up to which it has run.</param>
/// <param name="NextExpiry">When its next timer is due, as it remembers.</param>
/// <param name="Running">The timer whose function runs now, 0 for none.</param>
/// <param name="Timers">Its timers by bucket, as far as the buckets hold together.</param>
public sealed record TimerWheel(int Cpu, int Index, string Name, ulong Clock, ulong NextExpiry, ulong Running, Walked<KernelTimer> Timers);

/// <summary>A high-resolution timer.</summary>
/// <param name="Address">struct hrtimer.</param>
/// <param name="Cpu">CPU.</param>
/// <param name="Clock">Clock it counts, as the kernel numbers its bases: 0 monotonic, 1 realtime, 2 boottime, 3 TAI, and four more for those that expire in softirq.</param>
/// <param name="SoftExpiresNs">When it may expire, in nanoseconds of that clock.</param>
/// <param name="ExpiresNs">When it has to.</param>
/// <param name="Function">Its function's address.</param>
/// <param name="Name">Its function's name; null where no symbol covers it.</param>
/// <param name="Task">The task that sleeps until then (hrtimer_wakeup), 0 for others.</param>
public sealed record HighResolutionTimer(ulong Address, int Cpu, int Clock, long SoftExpiresNs, long ExpiresNs, ulong Function, SymbolLocation? Name, ulong Task);

/// <summary>A CPU's high-resolution timers.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="NextExpiryNs">When the CPU's timer interrupt is due, in nanoseconds of CLOCK_MONOTONIC; <see cref="long.MaxValue"/> for never.</param>
/// <param name="IsHighResolution">They are as exact as the hardware; else as the tick.</param>
/// <param name="Events">Timer interrupts handled.</param>
/// <param name="Hangs">Times that handlers took so long that the interrupt had to be put off.</param>
/// <param name="Timers">Its timers, those of each clock in order.</param>
public sealed record HighResolutionTimers(int Cpu, long NextExpiryNs, bool IsHighResolution, uint Events, uint Hangs, Walked<HighResolutionTimer> Timers);

/// <summary>Timers (kernel/time/timer.c, hrtimer.c).</summary>
public static class Timers
{
    private const int MaxWheels = 8, MaxBuckets = 4096, MaxClocks = 32;

    private static readonly string[] TwoWheels = ["standard", "deferrable"], ThreeWheels = ["local", "global", "deferrable"];

    /// <summary>The wheels of every CPU that runs tasks, or did until a panic (<see cref="Cpus.Scheduled"/>).</summary>
    /// <exception cref="KernelShapeException">The kernel has no wheels of the known shape.</exception>
    /// <exception cref="GuestMemoryException">A wheel's own numbers can't be read.</exception>
    public static List<TimerWheel> Wheels(LinuxKernel kernel, TargetLimits limits)
    {
        ulong size = (ulong)kernel.Image.Types.SizeOf("timer_base");
        int wheels = Shapes.VariableElements(kernel, "timer_bases", "timer_base") ?? 2;
        if (wheels is < 1 or > MaxWheels)
            throw new KernelShapeException($"timer_bases has {wheels} elements");
        string[] names = wheels == 3 ? ThreeWheels : TwoWheels;
        var all = new List<TimerWheel>();
        foreach (int cpu in Cpus.Scheduled(kernel))
        {
            for (int i = 0; i < wheels; i++)
            {
                ulong at = unchecked(PerCpu.Address(kernel, "timer_bases", cpu) + ((ulong)i * size));
                all.Add(new TimerWheel(
                    cpu, i, i < names.Length ? names[i] : $"wheel {i}", kernel.Read(at, "timer_base.clk"), kernel.Read(at, "timer_base.next_expiry"), kernel.Read(at, "timer_base.running_timer"),
                    Walk.Collect(InWheel(kernel, at, cpu, i, limits))));
            }
        }

        return all;
    }

    /// <summary>The high-resolution timers of every CPU that runs tasks, or did until a panic.</summary>
    /// <exception cref="KernelShapeException">The kernel has none of the known shape.</exception>
    /// <exception cref="GuestMemoryException">A CPU's own numbers can't be read.</exception>
    public static List<HighResolutionTimers> HighResolution(LinuxKernel kernel, TargetLimits limits) => [.. Cpus.Scheduled(kernel).Select(cpu =>
    {
        ulong at = PerCpu.Address(kernel, "hrtimer_bases", cpu);
        return new HighResolutionTimers(
            cpu, kernel.ReadSigned(at, "hrtimer_cpu_base.expires_next"), kernel.Read(at, "hrtimer_cpu_base.hres_active") != 0, kernel.ReadU32(at, "hrtimer_cpu_base.nr_events"),
            kernel.ReadU32(at, "hrtimer_cpu_base.nr_hangs"), Walk.Collect(InClocks(kernel, at, cpu, limits)));
    })];

    private static IEnumerable<KernelTimer> InWheel(LinuxKernel kernel, ulong wheel, int cpu, int index, TargetLimits limits)
    {
        int buckets = Shapes.Elements(kernel, "timer_base.vectors", 8, MaxBuckets);
        ulong map = unchecked(wheel + kernel.Offset("timer_base.pending_map")), vectors = unchecked(wheel + kernel.Offset("timer_base.vectors"));
        ulong sleeps = kernel.Image.TryFindSymbol("process_timeout", out ulong process) && kernel.HasMember("process_timer.task") ? process : 0;
        ulong works = kernel.Image.TryFindSymbol("delayed_work_timer_fn", out ulong delayed) && kernel.HasMember("delayed_work.timer") ? delayed : 0;
        int count = 0;
        ulong word = 0;
        for (int bucket = 0; bucket < buckets; bucket++)
        {
            if (bucket % 64 == 0)
                word = kernel.ReadU64(unchecked(map + ((ulong)bucket / 8)), "timer_base.pending_map");
            if ((word >> (bucket % 64) & 1) == 0)
                continue;
            foreach (ulong node in Lists.HlistNodes(kernel, unchecked(vectors + ((ulong)bucket * 8)), "timer_base.vectors", limits))
            {
                if (++count > limits.MaxChain)
                    throw new StructureException(StructureFault.TooLong, node, $"timer wheel: more than {limits.MaxChain} timers");
                ulong timer = Walk.ContainerOf(kernel, node, "timer_list.entry"), function = kernel.Read(timer, "timer_list.function");
                ulong task = function == sleeps && sleeps != 0 ? kernel.Read(Walk.ContainerOf(kernel, timer, "process_timer.timer"), "process_timer.task") : 0;
                SymbolLocation? work = function == works && works != 0
                    ? kernel.Image.Symbolize(kernel.Read(Walk.ContainerOf(kernel, timer, "delayed_work.timer"), "delayed_work.work.func")) : null;
                yield return new KernelTimer(
                    timer, cpu, index, bucket, kernel.Read(timer, "timer_list.expires"), function, kernel.Image.Symbolize(function), kernel.ReadU32(timer, "timer_list.flags"), task, work);
            }
        }
    }

    private static IEnumerable<HighResolutionTimer> InClocks(LinuxKernel kernel, ulong cpuBase, int cpu, TargetLimits limits)
    {
        int size = kernel.Image.Types.SizeOf("hrtimer_clock_base"), clocks = Shapes.Elements(kernel, "hrtimer_cpu_base.clock_base", size, MaxClocks);
        ulong first = unchecked(cpuBase + kernel.Offset("hrtimer_cpu_base.clock_base")), root = kernel.Offset("hrtimer_clock_base.active") + kernel.Offset("timerqueue_head.rb_root");
        ulong sleeps = kernel.Image.TryFindSymbol("hrtimer_wakeup", out ulong wakeup) && kernel.HasMember("hrtimer_sleeper.task") ? wakeup : 0;
        for (int clock = 0; clock < clocks; clock++)
        {
            foreach (ulong timer in RedBlackTrees.Entries(kernel, unchecked(first + ((ulong)clock * (ulong)size) + root), "hrtimer.node.node", limits))
            {
                ulong function = kernel.Read(timer, "hrtimer.function");
                ulong task = function == sleeps && sleeps != 0 ? kernel.Read(Walk.ContainerOf(kernel, timer, "hrtimer_sleeper.timer"), "hrtimer_sleeper.task") : 0;
                yield return new HighResolutionTimer(
                    timer, cpu, clock, kernel.ReadSigned(timer, "hrtimer._softexpires"), kernel.ReadSigned(timer, "hrtimer.node.expires"), function, kernel.Image.Symbolize(function), task);
            }
        }
    }
}
