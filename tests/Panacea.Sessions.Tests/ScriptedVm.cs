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

    /// <summary>Called when the script is over, instead of waiting.</summary>
    public Action OnIdle { get; set; } = () => { };

    public bool IsDisposed { get; private set; }

    public IReadOnlyList<ulong> Armed => _armed;

    public int Pid => 4711;

    public int VcpuCount => kernel.Options.Cpus;

    public IGuestMemory Memory => kernel.Memory;

    public bool IsMemoryShared => true;

    public bool IsGone { get; set; }

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
        return Now ?? Hold(kernel.Vcpu(0, kernel["vfs_write"], default), StopReason.Requested);
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
        Now!.End();
        Now = null;
        return true;
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
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = kernel.ControlRegisters;
        return string.Concat(Enumerable.Range(0, VcpuCount).Select(i => $"\r\nCPU#{i}\r\nIDT=     {kernel["idt_table"]:x16} 00000fff\r\nCR0={cr0:x8} CR2=0000000000000000 CR3={cr3:x16} CR4={cr4:x8}\r\nEFER={efer:x16}\r\n"));
    }

    /// <summary>However it is given up, the guest runs afterwards, without breakpoints.</summary>
    public void Dispose()
    {
        if (IsDisposed)
            return;
        Steps.Add("let-go");
        IsDisposed = true;
        _armed = [];
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

        internal void End()
        {
            Resumes++;
            Left = Changes;
        }
    }
}
