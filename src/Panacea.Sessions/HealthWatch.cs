using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>Measures from outside whether a guest lives: every CPU takes timer interrupts or idles with nothing to run, the scheduler switches, time goes on.
/// Reads guest memory while it runs; stops nothing.</summary>
internal sealed class HealthWatch
{
    private readonly LinuxKernel _kernel;
    private readonly IReadOnlyList<int> _cpus;
    private readonly List<CpuSample> _first = [];
    private readonly ulong _firstJiffies;
    private readonly string? _unmeasured;

    /// <summary>Begins to watch.</summary>
    /// <param name="image">The kernel.</param>
    /// <param name="memory">Live guest memory.</param>
    /// <param name="vcpus">Number of vCPUs the hypervisor runs.</param>
    public HealthWatch(RepairImage image, IGuestMemory memory, int vcpus)
    {
        _kernel = image.KernelOver(memory);
        _cpus = [.. Enumerable.Range(0, Math.Min(vcpus, image.Meta.PerCpuBases.Count))];
        try
        {
            _firstJiffies = _kernel.ReadSymbolU64("jiffies_64");
            foreach (int cpu in _cpus)
                _first.Add(Sample(cpu));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            _unmeasured = e.Message;
        }
    }

    private readonly record struct CpuSample(ulong TimerInterrupts, ulong Switches, bool Idle);

    /// <summary>What has been seen since the watch began.</summary>
    public HealthResult Look()
    {
        if (_unmeasured is not null)
            return new HealthResult(false, [$"health can't be measured: {_unmeasured}"]);
        try
        {
            var evidence = new List<string>();
            ulong jiffies = _kernel.ReadSymbolU64("jiffies_64");
            bool alive = jiffies != _firstJiffies;
            evidence.Add($"jiffies {_firstJiffies} → {jiffies}");
            ulong before = 0, after = 0;
            for (int i = 0; i < _cpus.Count; i++)
            {
                CpuSample now = Sample(_cpus[i]);
                bool ticks = now.TimerInterrupts != _first[i].TimerInterrupts;
                alive &= ticks || now.Idle;
                before += _first[i].Switches;
                after += now.Switches;
                evidence.Add($"cpu{_cpus[i]} timer interrupts {_first[i].TimerInterrupts} → {now.TimerInterrupts}{(now.Idle ? ", idle" : "")}, context switches {_first[i].Switches} → {now.Switches}");
            }

            return new HealthResult(alive && after != before, evidence);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return new HealthResult(false, [$"health can't be measured: {e.Message}"]);
        }
    }

    /// <summary>irq_stat.apic_timer_irqs (arch/x86/include/asm/hardirq.h) and the CPU's runqueue (kernel/sched/sched.h, struct rq).</summary>
    private CpuSample Sample(int cpu)
    {
        ulong irqs = PerCpu.Address(_kernel, "irq_stat", cpu), rq = PerCpu.Address(_kernel, "runqueues", cpu);
        bool idle = _kernel.Read(rq, "rq.curr") == _kernel.Read(rq, "rq.idle") && _kernel.Read(rq, "rq.nr_running") == 0;
        return new CpuSample(_kernel.Read(irqs, "irq_cpustat_t.apic_timer_irqs"), _kernel.Read(rq, "rq.nr_switches"), idle);
    }
}
