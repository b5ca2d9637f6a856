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
    private readonly List<CpuProgress> _first = [];
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
                _first.Add(CpuProgress.Read(_kernel, cpu));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            _unmeasured = e.Message;
        }
    }

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
                CpuProgress now = CpuProgress.Read(_kernel, _cpus[i]);
                bool ticks = now.TimerInterrupts != _first[i].TimerInterrupts;
                alive &= ticks || now.IsIdle;
                before += _first[i].Switches;
                after += now.Switches;
                evidence.Add($"cpu{_cpus[i]} timer interrupts {_first[i].TimerInterrupts} → {now.TimerInterrupts}{(now.IsIdle ? ", idle" : "")}, context switches {_first[i].Switches} → {now.Switches}");
            }

            return new HealthResult(alive && after != before, evidence);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return new HealthResult(false, [$"health can't be measured: {e.Message}"]);
        }
    }
}
