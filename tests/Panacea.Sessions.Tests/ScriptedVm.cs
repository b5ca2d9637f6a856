using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

/// <summary>A VM without QEMU: what happens to it is a script, and every operation of its guard can fail.</summary>
internal sealed class ScriptedVm(SyntheticKernel kernel) : IGuestControl
{
    private readonly Queue<Func<GuestWait>> _script = new();
    private readonly Queue<QmpEvent> _events = new();
    private ulong[] _armed = [];

    /// <summary>Every operation so far, in order.</summary>
    public List<string> Steps { get; } = [];

    /// <summary>Called before each operation; may throw.</summary>
    public Action<string>? Before { get; set; }

    /// <summary>The connection is of no further use: every operation fails but letting go.</summary>
    public bool IsBroken { get; set; }

    /// <summary>Every stop that there was.</summary>
    public List<HeldGuest> Held { get; } = [];

    /// <summary>Processor time of each vCPU's thread; null where it can't be told.</summary>
    public TimeSpan[]? Times { get; set; } = new TimeSpan[kernel.Options.Cpus];

    /// <summary>Where a vCPU is while the guest runs, and where it stands when it is stopped by its guard.</summary>
    public Func<int, VcpuRegisters>? Place { get; set; }

    /// <summary>Called when the script is over, instead of waiting.</summary>
    public Action OnIdle { get; set; } = () => { };

    public bool IsDisposed { get; private set; }

    /// <summary>What was armed when it was given up.</summary>
    public IReadOnlyList<ulong> ArmedBefore { get; set; } = [];

    public IReadOnlyList<ulong> Armed => _armed;

    public int Pid => 4711;

    public int VcpuCount => kernel.Options.Cpus;

    public IGuestMemory Memory => kernel.Memory;

    public bool IsMemoryShared => true;

    public bool IsGone { get; set; }

    public bool HasNews => false;

    public HeldGuest? Now { get; private set; }

    public IHeldGuest? Stopped => Now;

    public IHeldGuest? FoundStopped { get; private set; }

    /// <summary>The guest runs, and every stop ended exactly once.</summary>
    public void AssertRuns()
    {
        Assert.Null(Now);
        Assert.All(Held, h => Assert.Equal(1, h.Resumes));
    }

    /// <summary>Adds what the next wait finds.</summary>
    public ScriptedVm Then(Func<GuestWait> next)
    {
        _script.Enqueue(next);
        return this;
    }

    /// <summary>The guest stops.</summary>
    public ScriptedVm ThenStops(Func<VcpuRegisters> vcpu, StopReason reason = StopReason.Breakpoint) => Then(() => new GuestWait(QemuWaitKind.Stopped, Hold(vcpu(), reason)));

    /// <summary>Nothing happens until the guard has waited long enough; the guest works on meanwhile.</summary>
    public ScriptedVm ThenLives(bool works = true) => Then(() =>
    {
        if (works)
            Work();
        return new GuestWait(QemuWaitKind.TimedOut, null);
    });

    /// <summary>QEMU tells an event.</summary>
    public ScriptedVm ThenTells(string name) => Then(() =>
    {
        _events.Enqueue(new QmpEvent(name, 0, default));
        return new GuestWait(QemuWaitKind.Woken, null);
    });

    /// <summary>The guest stands already when the guard comes.</summary>
    public void StandsAt(VcpuRegisters vcpu) => FoundStopped = Hold(vcpu, StopReason.FoundStopped);

    public HeldGuest Hold(VcpuRegisters vcpu, StopReason reason)
    {
        VcpuRegisters[] all = [.. Enumerable.Range(0, VcpuCount).Select(i => i == vcpu.Vcpu ? vcpu : kernel.Vcpu(i, kernel["do_exit"], default))];
        Now = new HeldGuest(this, kernel, all, reason, vcpu.Vcpu);
        Held.Add(Now);
        return Now;
    }

    /// <summary>Time goes on: ticks on every CPU, context switches, jiffies.</summary>
    public void Work()
    {
        kernel.WriteU64(kernel["jiffies_64"], kernel.ReadU64(kernel["jiffies_64"]) + 250);
        for (int cpu = 0; cpu < kernel.Options.Cpus; cpu++)
        {
            ulong irq = kernel.PerCpu("irq_stat", cpu), rq = kernel.PerCpu("runqueues", cpu);
            kernel.Put(irq, "irq_cpustat_t.apic_timer_irqs", kernel.Get(irq, "irq_cpustat_t.apic_timer_irqs") + 250);
            kernel.Put(rq, "rq.nr_switches", kernel.Get(rq, "rq.nr_switches") + 99);
        }
    }

    public void Wake() => Steps.Add("wake");

    public GuestWait WaitForStop(TimeSpan timeout)
    {
        Enter("wait");
        if (Now is not null)
            return new GuestWait(QemuWaitKind.Stopped, Now);
        if (_script.TryDequeue(out Func<GuestWait>? next))
            return next();
        OnIdle();
        return new GuestWait(QemuWaitKind.TimedOut, null);
    }

    public IHeldGuest Stop()
    {
        Enter("stop");
        return Now ?? Hold(PlaceOf(0), StopReason.Requested);
    }

    public IHeldGuest? ArmBreakpoints(params ReadOnlySpan<ulong> addresses)
    {
        Enter("arm");
        Assert.True(addresses.Length <= QemuTarget.MaxHardwareBreakpoints);
        _armed = addresses.ToArray();
        return null;
    }

    public IHeldGuest? Disarm() => ArmBreakpoints();

    public bool NoteResumedElsewhere()
    {
        Enter("note-resumed");
        if ((IsKept && !IsLetGo()) || ResumedElsewhereAfter-- > 0)
            return false;
        IsKept = false;
        Now!.End();
        Now = null;
        return true;
    }

    /// <summary>Somebody has let a guest go on that is kept stopped.</summary>
    public Func<bool> IsLetGo { get; set; } = () => true;

    public bool IsKept { get; private set; }

    /// <summary>How often it is asked in vain whether an operator's pause is over.</summary>
    public int ResumedElsewhereAfter { get; set; }

    public void Reset(TimeSpan patience)
    {
        Enter("reset");
        Assert.NotNull(Now);
        _armed = [];
        _events.Enqueue(new QmpEvent("RESET", 0, default));
    }

    public void KeepStopped()
    {
        Enter("keep-stopped");
        Assert.NotNull(Now);
        _armed = [];
        IsKept = true;
    }

    public void FlushDisks() => Enter("flush-disks");

    public void RefreshMemory() => Enter("refresh-memory");

    public bool TryMeasureStop(IHeldGuest guest, TimeSpan patience, out long microseconds)
    {
        microseconds = 1234;
        return guest.IsResumed;
    }

    public bool TryTakeEvent(out QmpEvent? e) => _events.TryDequeue(out e);

    public string HumanMonitor(string command)
    {
        Enter("monitor");
        return string.Concat(Enumerable.Range(0, VcpuCount).Select(PlaceOf).Select(Printed));
    }

    public IReadOnlyList<TimeSpan>? VcpuTimes() => Times;

    public bool IsSuspended() => false;

    private VcpuRegisters PlaceOf(int vcpu) => Place?.Invoke(vcpu) ?? kernel.Vcpu(vcpu, kernel["vfs_write"], default);

    private string Printed(VcpuRegisters v) => $"""

        CPU#{v.Vcpu}
        {string.Join(' ', Enum.GetValues<Gpr>().Select(r => $"{r.ToString().ToUpperInvariant(),-3}={v.Gpr[r]:x16}"))}
        RIP={v.Rip:x16} RFL={v.Rflags:x8} [-------] CPL={v.Cs & 3} II=0 A20=1 SMM=0 HLT=0
        CS ={v.Cs:x4} 0000000000000000 ffffffff 00af9b00
        FS =0000 {v.FsBase:x16} ffffffff 00c00000
        GS =0000 {v.GsBase:x16} ffffffff 00c00000
        IDT=     {kernel["idt_table"]:x16} 00000fff
        CR0={v.Cr0:x8} CR2={v.Cr2:x16} CR3={v.Cr3:x16} CR4={v.Cr4:x8}
        EFER={v.Efer:x16}

        """.ReplaceLineEndings("\r\n");

    /// <summary>However it is given up, the guest runs afterwards, without breakpoints, unless it is kept stopped.</summary>
    public void Dispose()
    {
        if (IsDisposed)
            return;
        Steps.Add("let-go");
        IsDisposed = true;
        _armed = [];
        if (IsKept)
            return;
        Now?.End();
        Now = null;
    }

    internal void Enter(string step)
    {
        Assert.False(IsDisposed, $"{step} after the VM was let go");
        Steps.Add(step);
        if (IsBroken)
            throw new GdbException("QEMU's gdb stub closed the connection", GdbFailure.Closed);
        Before?.Invoke(step);
    }

    /// <summary>One stop.</summary>
    internal sealed class HeldGuest : ScriptedGuest, IHeldGuest
    {
        private readonly ScriptedVm _vm;

        public HeldGuest(ScriptedVm vm, SyntheticKernel kernel, VcpuRegisters[] vcpus, StopReason reason, int stopped)
            : base(kernel.Memory, vcpus)
        {
            _vm = vm;
            Reason = reason;
            StoppedVcpu = stopped;
            Before = step =>
            {
                Assert.Equal(0, Resumes);
                _vm.Enter(step);
            };
        }

        public StopReason Reason { get; }

        public int Resumes { get; private set; }

        public bool IsResumed => Resumes > 0;

        /// <summary>What had been changed when it was resumed.</summary>
        public IReadOnlyList<string> Left { get; private set; } = [];

        public IReadOnlyList<VcpuRegisters> ReadAllRegisters() => [.. Enumerable.Range(0, VcpuCount).Select(ReadRegisters)];

        public int FindVcpuAt(params ReadOnlySpan<ulong> addresses)
        {
            foreach (VcpuRegisters registers in ReadAllRegisters())
            {
                if (addresses.Contains(registers.Rip))
                    return registers.Vcpu;
            }

            return -1;
        }

        public void StepOver(int vcpu)
        {
            Before!("step");
            Step(vcpu);
        }

        public void Resume()
        {
            Before!("resume");
            End();
            _vm.Now = null;
        }

        public void ResumeOnly(int vcpu)
        {
            Before!($"resume-only {vcpu}");
            End();
            _vm.Now = null;
        }

        internal void End()
        {
            Resumes++;
            Left = Changes;
        }
    }
}
