using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;

namespace Panacea.Sessions.Hangs;

/// <summary>Whether the guest gets on at all from one look to the next. Where it does not, whatever stands still in its memory proves nothing: its QEMU is suspended, or the host gives it no time.</summary>
/// <param name="cpus">Number of CPUs.</param>
internal sealed class GuestWork(int cpus)
{
    private CpuProgress[]? _before;

    /// <summary>Some CPU has got on: it has ticked, or has run something else.</summary>
    public bool Any { get; private set; }

    /// <summary>Every CPU has got on or has nothing to do, and some timer has ticked: no CPU hangs, and the host has given time to each that is not idle. One that has stood in the middle of something all the while is not
    /// among them.</summary>
    public bool All { get; private set; }

    /// <summary>Looks; the first look finds nothing.</summary>
    /// <param name="kernel">The kernel over the guest, which runs.</param>
    public void Look(LinuxKernel kernel)
    {
        var now = new CpuProgress[cpus];
        for (int cpu = 0; cpu < cpus; cpu++)
            now[cpu] = CpuProgress.Read(kernel, cpu);
        CpuProgress[]? before = _before;
        _before = now;
        Any = before is not null && Enumerable.Range(0, cpus).Any(i => GotOn(now[i], before[i]));
        All = before is not null && Enumerable.Range(0, cpus).All(i => now[i].IsIdle || GotOn(now[i], before[i])) && Enumerable.Range(0, cpus).Any(i => now[i].TimerInterrupts != before[i].TimerInterrupts);
    }

    private static bool GotOn(CpuProgress now, CpuProgress before) => now.TimerInterrupts != before.TimerInterrupts || now.Switches != before.Switches;
}
