using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Hangs;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>Measures from outside whether a guest lives: every CPU takes timer interrupts or idles with nothing to run, the scheduler switches, time goes on.
/// Of what was helped although no function was to blame, that it gets on. Reads guest memory while it runs; stops nothing.</summary>
internal sealed class HealthWatch
{
    private readonly LinuxKernel _kernel;
    private readonly IReadOnlyList<int> _cpus;
    private readonly List<CpuProgress> _first = [];
    private readonly ulong _firstJiffies;
    private readonly string? _unmeasured;
    private readonly Hang? _helped;
    private readonly TargetLimits _limits;

    /// <summary>Begins to watch.</summary>
    /// <param name="image">The kernel.</param>
    /// <param name="memory">Live guest memory.</param>
    /// <param name="vcpus">Number of vCPUs the hypervisor runs.</param>
    /// <param name="helped">What hung, where that was the reason; null where the guest died.</param>
    /// <param name="limits">Ceilings.</param>
    public HealthWatch(RepairImage image, IGuestMemory memory, int vcpus, Hang? helped, TargetLimits limits)
    {
        (_helped, _limits) = (helped, limits);
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

            string? standing = Standing();
            if (standing is not null)
                evidence.Add(standing);
            return new HealthResult(alive && after != before && standing is null, evidence) { Standing = alive && after != before ? standing : null };
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return new HealthResult(false, [$"health can't be measured: {e.Message}"]);
        }
    }

    /// <summary>What was helped and stands as it stood, in a sentence.</summary>
    private string? Standing()
    {
        if (_helped?.Stall is { } stall && StallWatch.IsStill(stall, _kernel, _limits))
            return $"{stall.Disk.Device.Name}, queue {stall.Queue.HardwareQueue}, stands as it stood";
        if (_helped?.Timer is not { } lost)
            return null;
        int at = _cpus.ToList().FindIndex(cpu => TickTimer.Read(_kernel, cpu).Address == lost.Address);

        // While its function runs it is in no queue either: then there was an interrupt.
        return at >= 0 && TickTimer.Read(_kernel, _cpus[at]).HasNotTickedSince(lost) && CpuProgress.Read(_kernel, _cpus[at]).TimerInterrupts == _first[at].TimerInterrupts
            ? $"cpu{_cpus[at]} still has no tick" : null;
    }
}
