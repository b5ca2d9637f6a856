using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Hangs;

/// <summary>A CPU that does not get on.</summary>
/// <param name="Cpu">The kernel's number of the CPU.</param>
/// <param name="Vcpu">Its vCPU.</param>
/// <param name="Hang">What was seen.</param>
/// <param name="Progress">As it was all the while.</param>
/// <param name="PreemptCount">The least preempt count that was seen: that of what hangs, without interrupts on top of it.</param>
internal sealed record HangingCpu(int Cpu, int Vcpu, Hang Hang, CpuProgress Progress, uint PreemptCount)
{
    /// <summary>It was told of before, and is given again beside a new one: what is to be done about that one may follow from both together alone.</summary>
    public bool IsTold { get; init; }
}

/// <summary>
/// Sees from outside that a CPU hangs, with no help of the guest. Time is the processor time that the host gave to the vCPU: a host that was suspended or has too little to give makes no hang. In
/// the usual case a few words of memory are read a few times a second; only of a CPU that seems not to get on are the registers looked at too, while the guest runs.
/// </summary>
/// <remarks>A hang is one of three things: the timer does not tick and interrupts are off whenever one looks; the CPU has been in one atomic section all the while, with ticks but without a context
/// switch; or somebody has waited all the while to run on it, and it is in the kernel whenever one looks. The last takes ten times as long to be called so: kernels without preemption have long ways.</remarks>
/// <param name="image">The kernel over live memory.</param>
/// <param name="cpus">Number of CPUs.</param>
/// <param name="target">The VM.</param>
/// <param name="after">How long after its onset a hang is to be seen, on a host that gives the vCPU a whole processor.</param>
internal sealed class HangWatch(LinuxKernel image, int cpus, IGuestControl target, TimeSpan after)
{
    /// <summary>How often one looks while all is well, and while a CPU is suspected.</summary>
    private static readonly TimeSpan CalmStep = TimeSpan.FromMilliseconds(250), CloseStep = TimeSpan.FromMilliseconds(2);

    /// <summary>Close looks at a suspected CPU, and how many of them look at registers too.</summary>
    private const int CloseLooks = 120, LooksPerRegisters = 20;

    private const uint NeedResched = 0x8000_0000, PreemptMask = 0xff;
    private const int LongFactor = 10;

    private readonly Track[] _tracks = [.. Enumerable.Range(0, cpus).Select(i => new Track(i))];
    private LinuxKernel _kernel = image;
    private int _closeLooks;

    /// <summary>A newer image of the same kernel, whose modules have changed.</summary>
    public void Use(LinuxKernel kernel) => _kernel = kernel;

    /// <summary>How long to wait before the next look.</summary>
    public TimeSpan NextLook => _closeLooks > 0 ? CloseStep : CalmStep;

    /// <summary>Why nothing can be seen; null where it can.</summary>
    public string? Blind { get; private set; }

    /// <summary>Part of the time that is left for looking closely.</summary>
    private TimeSpan Suspicious => after * 0.7;

    private sealed class Track(int cpu)
    {
        public int Cpu { get; } = cpu;

        public int Vcpu { get; set; } = cpu;

        public CpuProgress Last { get; set; }

        public bool IsKnown { get; set; }

        /// <summary>Processor time of the vCPU when it last ticked, and when it last ran something else.</summary>
        public TimeSpan TickedAt { get; set; }

        public TimeSpan SwitchedAt { get; set; }

        public TimeSpan Now { get; set; }

        /// <summary>What it was reported for; null where it was not, or has got on since.</summary>
        public HangingCpu? Told { get; set; }

        /// <summary>Processor time of the vCPU when it was reported; null where it was reported for the last time.</summary>
        public TimeSpan? ToldAt { get; set; }

        public Close? Close { get; set; }
    }

    /// <summary>What close looks have seen.</summary>
    private sealed class Close
    {
        public uint LeastPreempt { get; set; } = uint.MaxValue;

        public bool AlwaysAtomic { get; set; } = true;

        public bool AlwaysWanted { get; set; } = true;

        /// <summary>In this kernel, and on that CPU of it: another one may have taken over (kexec).</summary>
        public bool AlwaysKernel { get; set; } = true;

        public bool AlwaysIrqsOff { get; set; } = true;

        public int Registers { get; set; }

        public HashSet<ulong> Addresses { get; } = [];
    }

    /// <summary>Looks once.</summary>
    /// <returns>CPUs that hang; empty in the usual case.</returns>
    public IReadOnlyList<HangingCpu> Look()
    {
        try
        {
            if (target.VcpuTimes() is not { } times)
            {
                Blind = "the processor time of single vCPUs can't be told (they share a thread of the host)";
                return [];
            }

            // What a dead kernel's memory says is of no moment, and a crash kernel may be at work beside it.
            if (PanicState.IsEnding(_kernel))
            {
                Blind = "the kernel has panicked, or is going down";
                Relax();
                return [];
            }

            Blind = null;
            foreach (Track track in _tracks)
                Follow(track, times);
            if (!Array.Exists(_tracks, IsSuspected))
            {
                Relax();
                return [];
            }

            return LookClosely();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            Blind = e.Message;
            Relax();
            return [];
        }
    }

    /// <summary>Hangs that were reported are not reported again until their CPU has got on in between, but beside new ones.</summary>
    public void Told(IEnumerable<HangingCpu> hangs)
    {
        foreach (HangingCpu hang in hangs.Where(h => !h.IsTold))
            (_tracks[hang.Cpu].Told, _tracks[hang.Cpu].ToldAt) = (hang, _tracks[hang.Cpu].Now);
        Relax();
    }

    /// <summary>Hangs that were reported long ago, and whose CPUs have not got on since: each is given once.</summary>
    public IReadOnlyList<HangingCpu> TakeOverdue()
    {
        var overdue = new List<HangingCpu>();
        foreach (Track track in _tracks)
        {
            if (track is not { Told: { } told, ToldAt: { } at } || track.Now - at < after * LongFactor || Blind is not null)
                continue;
            track.ToldAt = null;
            overdue.Add(told with { Progress = track.Last });
        }

        return overdue;
    }

    /// <summary>They were no hangs, or went by themselves: their time begins anew.</summary>
    public void Postpone(IEnumerable<HangingCpu> hangs)
    {
        foreach (HangingCpu hang in hangs.Where(h => !h.IsTold))
            _tracks[hang.Cpu].IsKnown = false;
        Relax();
    }

    /// <summary>A repair was made: whoever hangs still is a new hang.</summary>
    public void Forget()
    {
        foreach (Track track in _tracks)
            (track.IsKnown, track.Told) = (false, null);
        Relax();
    }

    private void Relax()
    {
        _closeLooks = 0;
        foreach (Track track in _tracks)
            track.Close = null;
    }

    private void Follow(Track track, IReadOnlyList<TimeSpan> times)
    {
        if (track.Vcpu >= times.Count)
            return;
        CpuProgress now = CpuProgress.Read(_kernel, track.Cpu);
        TimeSpan time = times[track.Vcpu];
        bool isNew = !track.IsKnown || time < track.Now;
        bool switched = now.Switches != track.Last.Switches || now.Task != track.Last.Task;
        if (isNew || now.TimerInterrupts != track.Last.TimerInterrupts || switched)
            track.TickedAt = time;
        if (isNew || switched)
            (track.SwitchedAt, track.Told) = (time, isNew ? track.Told : null);
        (track.Last, track.Now, track.IsKnown) = (now, time, true);
    }

    private bool HasNoTicks(Track track) => track.Now - track.TickedAt >= Suspicious;

    private bool HasNoSwitches(Track track) => track.Now - track.SwitchedAt >= Suspicious;

    private bool IsSuspected(Track track) => track is { IsKnown: true, Told: null } && (HasNoTicks(track) || HasNoSwitches(track));

    private List<HangingCpu> LookClosely()
    {
        bool registers = _closeLooks++ % LooksPerRegisters == 0;
        IReadOnlyList<VcpuRegisters> vcpus = registers ? MonitorRegisters.Parse(target.HumanMonitor("info registers -a")) : [];
        if (registers)
            Assign(vcpus);
        foreach (Track track in _tracks.Where(IsSuspected))
        {
            Close close = track.Close ??= new Close();
            uint word = _kernel.Space.ReadUInt32(new VirtualAddress(PerCpu.PreemptCountAddress(_kernel, track.Cpu)), "preempt count"), count = word & ~NeedResched;
            close.LeastPreempt = Math.Min(close.LeastPreempt, count);

            // An idle task has preemption off as a rule: only an interrupt or a softirq on top of it hangs.
            close.AlwaysAtomic &= (track.Last.IsIdleTask ? count & ~PreemptMask : count) != 0;
            close.AlwaysWanted &= (word & NeedResched) == 0;
            if (vcpus.FirstOrDefault(v => v.Vcpu == track.Vcpu) is not { } vcpu)
                continue;
            close.Registers++;
            close.AlwaysKernel &= !vcpu.IsUserMode && PerCpu.CpuOf(_kernel, vcpu) == track.Cpu;
            close.AlwaysIrqsOff &= (vcpu.Rflags & 0x200) == 0;
            close.Addresses.Add(vcpu.Rip);
        }

        if (_closeLooks < CloseLooks)
            return [];
        var found = new List<HangingCpu>();
        foreach (Track track in _tracks.Where(IsSuspected))
        {
            if (Judge(track) is { } hang)
                found.Add(hang);
            else if (track.Now - track.SwitchedAt >= after * LongFactor || track.Last.IsIdleTask)
                (track.TickedAt, track.SwitchedAt) = (track.Now, track.Now);
        }

        if (found.Count > 0)
            found.AddRange(_tracks.Where(t => t.Told is not null).Select(t => t.Told! with { Progress = t.Last, IsTold = true }));
        Relax();
        return found;
    }

    /// <summary>Which vCPU a CPU is, where it is not the one of its number.</summary>
    private void Assign(IReadOnlyList<VcpuRegisters> vcpus)
    {
        foreach (VcpuRegisters vcpu in vcpus.Where(v => !v.IsUserMode))
        {
            if (PerCpu.CpuOf(_kernel, vcpu) is { } cpu && cpu < _tracks.Length && _tracks[cpu].Vcpu != vcpu.Vcpu)
                (_tracks[cpu].Vcpu, _tracks[cpu].IsKnown) = (vcpu.Vcpu, false);
        }
    }

    private HangingCpu? Judge(Track track)
    {
        if (track.Close is not { Registers: > CloseLooks / LooksPerRegisters / 2, AlwaysKernel: true } close)
            return null;
        bool isHard = HasNoTicks(track) && close.AlwaysIrqsOff, isAtomic = HasNoSwitches(track) && close.AlwaysAtomic;
        bool isLong = !track.Last.IsIdleTask && close.AlwaysWanted && track.Now - track.SwitchedAt >= after * LongFactor;
        if (!isHard && !isAtomic && !isLong)
            return null;
        TimeSpan ran = track.Now - (isHard ? track.TickedAt : track.SwitchedAt);
        string[] evidence =
        [
            $"cpu{track.Cpu}: {ran.TotalSeconds:0.0} s of processor time without {(isHard ? "a timer interrupt" : "a context switch")}",
            isHard ? $"interrupts were off at {close.Registers} of {close.Registers} looks" : isAtomic ? $"the preempt count was never less than 0x{close.LeastPreempt:x} at {CloseLooks} looks" : "somebody waited to run on it all the while",
            $"{close.Addresses.Count} different instruction pointers",
        ];
        return new HangingCpu(track.Cpu, track.Vcpu, new Hang(isHard ? CrashKind.HardLockup : CrashKind.SoftLockup, ran, evidence), track.Last, close.LeastPreempt);
    }
}
