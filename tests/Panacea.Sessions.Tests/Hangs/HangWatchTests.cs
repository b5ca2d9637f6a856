using Panacea.Diagnosis;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Hangs;

/// <summary>What counts as a hang, and what does not: time is the vCPU's own.</summary>
public sealed class HangWatchTests : IDisposable
{
    private static readonly TimeSpan After = TimeSpan.FromSeconds(2), Step = TimeSpan.FromMilliseconds(250);

    private readonly ArmedGuest _guest = new();
    private readonly ScriptedVm _vm;
    private readonly HangWatch _watch;

    private SyntheticKernel Kernel => _guest.Guest;

    public HangWatchTests()
    {
        _vm = new ScriptedVm(Kernel) { Times = new TimeSpan[Kernel.Options.Cpus] };
        _watch = new HangWatch(_guest.Armed.Image.KernelOver(Kernel.Memory), Kernel.Options.Cpus, _vm, After);
        Kernel.Run(Kernel.Victim, 0, 0);
    }

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void A_cpu_without_ticks_and_with_interrupts_off_hangs()
    {
        Place(irqs: false);
        HangingCpu hang = Assert.Single(Watched(TimeSpan.FromSeconds(2), ticks: false));
        Assert.Equal((0, 0, CrashKind.HardLockup), (hang.Cpu, hang.Vcpu, hang.Hang.Kind));
        Assert.InRange(hang.Hang.Ran, TimeSpan.FromSeconds(1), After);
        Assert.Contains("interrupts were off at 6 of 6 looks", hang.Hang.Evidence);
    }

    [Fact]
    public void A_cpu_that_ticks_in_one_atomic_section_hangs()
    {
        Kernel.Run(Kernel.Victim, 0, 1);
        HangingCpu hang = Assert.Single(Watched(TimeSpan.FromSeconds(2), ticks: true));
        Assert.Equal((CrashKind.SoftLockup, 1u), (hang.Hang.Kind, hang.PreemptCount));
    }

    /// <summary>Kernels without preemption have long ways: somebody has to have waited ten times as long.</summary>
    [Theory]
    [InlineData(3, 0)]
    [InlineData(25, 1)]
    public void A_cpu_that_others_wait_for_hangs_in_the_end(int seconds, int hangs)
    {
        Kernel.Run(Kernel.Victim, 0, 0);
        WantOther();
        Assert.Equal(hangs, Watched(TimeSpan.FromSeconds(seconds), ticks: true).Count);
    }

    [Theory]
    [InlineData("the host gives it no time")]
    [InlineData("user mode")]
    [InlineData("another kernel")]
    [InlineData("a kernel that has panicked")]
    [InlineData("a kernel that restarts")]
    [InlineData("interrupts are on")]
    [InlineData("idle")]
    [InlineData("nobody waits")]
    [InlineData("it leaves the atomic section now and then")]
    [InlineData("it switches")]
    public void What_gets_on_or_cannot_does_not_hang(string what)
    {
        bool ticks = what is "nobody waits" or "it leaves the atomic section now and then" or "it switches";
        Place(irqs: what is not ("the host gives it no time" or "it switches"), user: what == "user mode");
        if (what == "another kernel")
            _vm.Place = vcpu => Kernel.Vcpu(vcpu, Kernel["ct_int"], default, 2) with { GsBase = 0xffff_8880_1234_0000 };
        if (what == "a kernel that has panicked")
            Kernel.WriteU64(Kernel["panic_cpu"], 1);
        if (what == "a kernel that restarts")
            Kernel.WriteU64(Kernel["system_state"], 6);
        if (what is "idle")
            Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.curr", Kernel.Get(Kernel.PerCpu("runqueues", 0), "rq.idle"));
        if (what == "it switches")
            Kernel.Run(Kernel.Victim, 0, 1);
        int look = 0;
        IReadOnlyList<HangingCpu> hangs = Watched(TimeSpan.FromSeconds(30), ticks, time: what != "the host gives it no time", each: () =>
        {
            look++;
            if (what == "it leaves the atomic section now and then")
                Kernel.Run(Kernel.Victim, 0, look % 50 == 0 ? 0u : 1u);
            if (what == "it switches" && look % 100 == 0)
                Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_switches", (ulong)(9000 + look));
        });
        Assert.Empty(hangs);
    }

    [Fact]
    public void A_hang_is_told_once_until_the_cpu_gets_on_or_is_repaired()
    {
        Place(irqs: false);
        IReadOnlyList<HangingCpu> hangs = Watched(TimeSpan.FromSeconds(2), ticks: false);
        _watch.Told(hangs);
        Assert.Empty(Watched(TimeSpan.FromSeconds(10), ticks: false));
        Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_switches", 123456);
        Assert.Single(Watched(TimeSpan.FromSeconds(3), ticks: false));
        _watch.Forget();
        Assert.Single(Watched(TimeSpan.FromSeconds(3), ticks: false));
    }

    /// <summary>Time to go by itself, and then once more; not where the CPU has got on in between.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_hang_that_was_told_and_stays_is_given_once_more(bool getsOn)
    {
        Place(irqs: false);
        _watch.Told(Watched(TimeSpan.FromSeconds(2), ticks: false));
        Assert.Empty(Watched(TimeSpan.FromSeconds(15), ticks: false));
        Assert.Empty(_watch.TakeOverdue());
        if (getsOn)
            Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_switches", 123456);
        Watched(TimeSpan.FromSeconds(6), ticks: false, time: !getsOn);
        Assert.Equal(getsOn ? [] : [0], _watch.TakeOverdue().Select(h => h.Cpu));
        Assert.Empty(_watch.TakeOverdue());
    }

    /// <summary>What is to be done may follow from all that hang together: whoever was told of is there again beside another one.</summary>
    [Fact]
    public void A_hang_that_was_told_is_told_again_beside_another_one()
    {
        Place(irqs: false);
        _watch.Told(Watched(TimeSpan.FromSeconds(2), ticks: false));
        _vm.Place = vcpu => Kernel.Vcpu(vcpu, Kernel["ct_int"], default, 2);
        IReadOnlyList<HangingCpu> both = Watched(TimeSpan.FromSeconds(3), ticks: false, vcpu: 1, each: () => _vm.Times![0] = _vm.Times[1] + TimeSpan.FromSeconds(2));
        Assert.Equal([(1, false), (0, true)], both.Select(h => (h.Cpu, h.IsTold)));

        // Time goes on for the one that was told of first: it is overdue when it would have been without the other.
        _watch.Told(both);
        Watched(TimeSpan.FromSeconds(19), ticks: false);
        Assert.Equal([0], _watch.TakeOverdue().Select(h => h.Cpu));
    }

    /// <summary>vCPUs need not have the numbers of the kernel's CPUs.</summary>
    [Fact]
    public void The_vcpu_of_a_cpu_is_told_by_its_registers()
    {
        _vm.Place = vcpu => Kernel.Vcpu(1 - vcpu, Kernel["ct_int"], default, vcpu == 1 ? 0x2UL : 0x202) with { Vcpu = vcpu };
        HangingCpu hang = Assert.Single(Watched(TimeSpan.FromSeconds(6), ticks: false, vcpu: 1));
        Assert.Equal((0, 1), (hang.Cpu, hang.Vcpu));
    }

    [Fact]
    public void What_cannot_be_seen_is_no_hang_and_is_said()
    {
        _vm.Times = null;
        Assert.Empty(_watch.Look());
        Assert.Contains("share a thread", _watch.Blind);
        _vm.Times = new TimeSpan[Kernel.Options.Cpus];
        Assert.Empty(_watch.Look());
        Assert.Null(_watch.Blind);
        Kernel.Memory.Lose(Kernel.Physical(Kernel.PerCpu("runqueues", 1)));
        Assert.Empty(_watch.Look());
        Assert.NotNull(_watch.Blind);
    }

    private void Place(bool irqs, bool user = false) => _vm.Place = vcpu =>
        Kernel.Vcpu(vcpu, Kernel["ct_int"], default, irqs || vcpu > 0 ? 0x202UL : 2) with { Cs = (ushort)(user ? 0x33 : 0x10) };

    /// <summary>Somebody waits to run on CPU 0: the inverted bit is clear.</summary>
    private void WantOther()
    {
        ulong at = Panacea.Kernel.Subsystems.PerCpu.PreemptCountAddress(_guest.Armed.Image.KernelOver(Kernel.Memory), 0);
        Kernel.Write(at, [0, 0, 0, 0]);
    }

    /// <summary>Looks for as long, while one vCPU runs all the time, or not at all.</summary>
    private IReadOnlyList<HangingCpu> Watched(TimeSpan limit, bool ticks, bool time = true, int vcpu = 0, Action? each = null)
    {
        TimeSpan passed = TimeSpan.Zero;
        while (passed < limit)
        {
            TimeSpan step = _watch.NextLook;
            Assert.InRange(step, TimeSpan.FromMilliseconds(1), Step);
            passed += step;
            if (time)
                _vm.Times![vcpu] += step;
            ulong irq = Kernel.PerCpu("irq_stat", 0);
            if (ticks)
                Kernel.Put(irq, "irq_cpustat_t.apic_timer_irqs", Kernel.Get(irq, "irq_cpustat_t.apic_timer_irqs") + 1);
            each?.Invoke();
            if (_watch.Look() is { Count: > 0 } hangs)
                return hangs;
        }

        return [];
    }
}
