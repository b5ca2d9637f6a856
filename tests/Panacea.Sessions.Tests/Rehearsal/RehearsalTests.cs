using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Sessions.Rehearsal;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Rehearsal;

/// <summary>The first plan after which a copy lives goes to the guest; a rehearsal that fails by itself changes nothing; copies are gone afterwards.</summary>
public sealed class RehearsalTests : IDisposable
{
    private static readonly CrashSpec Spec = new();

    private readonly ArmedGuest _guest = new();
    private readonly Copies _copies = new();
    private readonly ScriptedVm _vm;
    private readonly SyntheticCrash _crash;
    private RehearsalPolicy _policy = new() { Mode = RehearsalMode.Always };
    private int _earlier;
    private bool _declined;

    public RehearsalTests()
    {
        _crash = _guest.Guest.Crash(Spec);
        _vm = new ScriptedVm(_guest.Guest);
        _vm.ArmBreakpoints(_guest.Armed.Addresses);
    }

    public void Dispose() => _guest.Dispose();

    private StopResult Handle()
    {
        DeathPoint point = _guest.Armed.PointAt(_crash.Vcpu.Rip)!;
        var window = new StopWindow(_vm, _guest.Armed)
        {
            Rehearser = new Rehearser(_policy, _copies, _guest.Armed, TargetLimits.Default), EarlierRepairs = _ => _earlier,
            Declined = (_, _) =>
            {
                _declined = true;
                return null;
            },
        };
        StopResult result = window.Handle(_vm.Hold(_crash.Vcpu, StopReason.Breakpoint), 0, point, (_, _) => null, Stopwatch.GetTimestamp());
        _vm.AssertRuns();
        _copies.AssertGone();
        return result;
    }

    [Fact]
    public void A_plan_that_a_copy_lives_with_goes_to_the_guest()
    {
        StopResult result = Handle();
        Assert.Empty(result.Errors);
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
        RehearsedPlan tried = Assert.Single(result.Rehearsal!.Plans);
        Assert.Equal((RepairKind.ErrorReturn, TrialVerdict.Lives), (tried.Repair, tried.Verdict));
        Assert.Equal(result.Applied!.Explanation, tried.Explanation);
        Assert.Contains(tried.Seen, s => s.StartsWith("jiffies", StringComparison.Ordinal));
        Assert.Equal(["detected", "evidence-read", "diagnosed", "planned", "rehearsed", "applied", "resumed"], result.Timeline.Select(t => t.Step));

        // The copy got the same writes as the guest, and the one that silences it.
        IReadOnlyList<string> guest = _vm.Held[0].Left, copy = Assert.Single(_copies.Made).Vm.Held[0].Left;
        Assert.Empty(guest.Except(copy));
        Assert.EndsWith(" 07 -> 00", Assert.Single(copy.Except(guest)), StringComparison.Ordinal);
        Assert.Equal(_guest.Armed.Addresses, _copies.Made[0].Vm.ArmedBefore);
    }

    [Fact]
    public void Where_a_copy_dies_the_next_plan_is_tried()
    {
        _copies.Dies.Add(0);
        StopResult result = Handle();
        Assert.Equal([TrialVerdict.Dies, TrialVerdict.Lives], result.Rehearsal!.Plans.Select(p => p.Verdict));
        Assert.Equal(result.Rehearsal.Plans[1].Repair, result.Applied!.Kind);
        Assert.NotEqual(RepairKind.ErrorReturn, result.Applied.Kind);
        Assert.Contains("dies again, in ct_int", Assert.Single(result.Rehearsal.Plans[0].Seen), StringComparison.Ordinal);
        LadderVerdict failed = Assert.Single(result.Ladder, v => v.Bar?.Verdict == RungVerdict.FailedRehearsal);
        Assert.Equal(RepairKind.ErrorReturn, failed.Kind);
        Assert.Contains("failed on a copy: the copy dies again", failed.Bar!.Why, StringComparison.Ordinal);
        Assert.Same(result.Applied, result.Ladder[^1].Verdict.Plan);
    }

    [Fact]
    public void Where_every_copy_dies_nothing_is_done_to_the_guest()
    {
        _policy = _policy with { Plans = 7 };
        _copies.Dies.UnionWith(Enumerable.Range(0, 7));
        StopResult result = Handle();
        Assert.Null(result.Applied);
        Assert.True(_declined);
        Assert.True(result.Rehearsal!.Plans.Count > 1);
        Assert.All(result.Rehearsal.Plans, p => Assert.Equal(TrialVerdict.Dies, p.Verdict));
        Assert.Empty(result.Journal);
    }

    /// <summary>Two CPUs that were on their way to the same place: whatever is done for the one, the other dies there.</summary>
    [Theory]
    [InlineData(true, 3, TrialVerdict.Unknown, false)]
    [InlineData(true, 1, TrialVerdict.Unknown, true)]
    [InlineData(false, 1, TrialVerdict.Dies, false)]
    public void A_CPU_that_was_not_repaired_says_nothing_of_the_plan(bool isOther, int plans, TrialVerdict verdict, bool isUsed)
    {
        _policy = _policy with { Plans = plans };
        _copies.Elsewhere = kernel => kernel.Crash(Spec with { Cpu = 1 }, isOther ? kernel.AddTask(900, "other", arguments: ["other"]) : kernel.Victim).Vcpu;
        StopResult result = Handle();
        Assert.Equal(verdict, result.Rehearsal!.Plans[0].Verdict);
        Assert.Equal(plans > 1 ? [TrialVerdict.Lives] : [], result.Rehearsal.Plans.Skip(1).Select(p => p.Verdict));
        Assert.StartsWith(isOther ? "CPU 1 of the copy dies, in ct_int+0x" : "the copy dies again, in ct_int+0x", Assert.Single(result.Rehearsal.Plans[0].Seen), StringComparison.Ordinal);
        Assert.Equal(isUsed, result.Applied!.Kind == RepairKind.ErrorReturn);
    }

    [Fact]
    public void A_plan_that_was_not_tried_is_as_good_as_it_was()
    {
        _policy = _policy with { Plans = 1 };
        _copies.Dies.Add(0);
        StopResult result = Handle();
        Assert.Single(result.Rehearsal!.Plans);
        Assert.NotNull(result.Applied);
        Assert.NotEqual(RepairKind.ErrorReturn, result.Applied.Kind);
    }

    [Fact]
    public void A_copy_that_does_not_tick_stands()
    {
        _copies.Stands.Add(0);
        StopResult result = Handle();
        Assert.Equal([TrialVerdict.Stands, TrialVerdict.Lives], result.Rehearsal!.Plans.Select(p => p.Verdict));
        Assert.NotEqual(RepairKind.ErrorReturn, result.Applied!.Kind);
    }

    /// <summary>The kernel goes on in the crashed task, ticks come, and whether that task comes to its end is not seen in time.</summary>
    [Fact]
    public void A_copy_whose_crashed_CPU_does_not_get_on_says_nothing_of_the_plan()
    {
        int cpu = 0;
        _copies.Idle = (kernel, vm) =>
        {
            ulong at = kernel.PerCpu("runqueues", cpu), switches = kernel.Get(at, "rq.nr_switches");
            vm.Work();
            kernel.Put(at, "rq.nr_switches", switches);
        };
        _policy = _policy with { Plans = 1 };
        StopResult result = Handle();
        cpu = result.Evidence!.Cpu!.Value;
        RehearsedPlan tried = Assert.Single(result.Rehearsal!.Plans);
        Assert.Equal(TrialVerdict.Unknown, tried.Verdict);
        Assert.Contains("CPU 0 of the copy had not got on", tried.Seen[^1], StringComparison.Ordinal);
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
    }

    [Fact]
    public void A_copy_is_silent()
    {
        Handle();
        Assert.Equal(0u, (uint)_copies.Kernels[0].ReadU64(_copies.Kernels[0]["console_printk"]));
        Assert.NotEqual(0u, (uint)_guest.Guest.ReadU64(_guest.Guest["console_printk"]));
    }

    [Fact]
    public void A_copy_that_does_not_come_up_says_nothing_of_the_plan()
    {
        _copies.Fails.UnionWith(Enumerable.Range(0, 7));
        StopResult result = Handle();
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
        Assert.All(result.Rehearsal!.Plans, p => Assert.Equal((TrialVerdict.Unknown, "no QEMU"), (p.Verdict, Assert.Single(p.Seen))));
        Assert.Empty(result.Errors);
    }

    [Fact]
    public void A_state_that_can_not_be_saved_leaves_the_ladders_word()
    {
        _copies.FreezeFails = true;
        StopResult result = Handle();
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
        Assert.Equal("no state", result.Rehearsal!.WhyNot);
        Assert.Empty(result.Rehearsal.Plans);
    }

    [Fact]
    public void Time_that_is_over_leaves_the_ladders_word()
    {
        _policy = _policy with { Budget = TimeSpan.Zero };
        StopResult result = Handle();
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
        Assert.Empty(result.Rehearsal!.Plans);
    }

    /// <summary>A QEMU that does not come up, or a trial that hangs, keeps the guest standing for the budget and no longer.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_hangs_is_not_waited_for(bool inStart)
    {
        using var release = new ManualResetEventSlim();
        _policy = _policy with { Budget = TimeSpan.FromMilliseconds(200) };
        if (inStart)
            _copies.BeforeStart = release.Wait;
        else
            _copies.OnIdle = release.Wait;
        DeathPoint point = _guest.Armed.PointAt(_crash.Vcpu.Rip)!;
        var window = new StopWindow(_vm, _guest.Armed) { Rehearser = new Rehearser(_policy, _copies, _guest.Armed, TargetLimits.Default) };
        StopResult result = window.Handle(_vm.Hold(_crash.Vcpu, StopReason.Breakpoint), 0, point, (_, _) => null, Stopwatch.GetTimestamp());
        _vm.AssertRuns();
        Assert.Equal(RepairKind.ErrorReturn, result.Applied?.Kind);
        Assert.Contains("did not come to an end", result.Rehearsal!.WhyNot, StringComparison.Ordinal);
        release.Set();
        _copies.AssertGone();
    }

    /// <summary>What is known to fail is not used because the time was over before something else was known.</summary>
    [Fact]
    public void A_plan_that_failed_is_out_even_where_the_time_is_over()
    {
        using var release = new ManualResetEventSlim();
        _policy = _policy with { Budget = TimeSpan.FromSeconds(3) };
        _copies.Dies.Add(0);
        _copies.BeforeStart = () =>
        {
            if (_copies.Made.Count == 1)
                release.Wait();
        };
        StopResult result = new StopWindow(_vm, _guest.Armed) { Rehearser = new Rehearser(_policy, _copies, _guest.Armed, TargetLimits.Default) }
            .Handle(_vm.Hold(_crash.Vcpu, StopReason.Breakpoint), 0, _guest.Armed.PointAt(_crash.Vcpu.Rip)!, (_, _) => null, Stopwatch.GetTimestamp());
        _vm.AssertRuns();
        Assert.Equal(TrialVerdict.Dies, Assert.Single(result.Rehearsal!.Plans).Verdict);
        Assert.NotEqual(RepairKind.ErrorReturn, result.Applied!.Kind);
        release.Set();
        _copies.AssertGone();
    }

    [Theory]
    [InlineData(RehearsalMode.Never, Confidence.High, 0, null)]
    [InlineData(RehearsalMode.Auto, Confidence.High, 0, null)]
    [InlineData(RehearsalMode.Auto, Confidence.High, 1, "repaired at this place before")]
    [InlineData(RehearsalMode.Always, Confidence.Low, 0, "every plan")]
    public void Whether_it_is_rehearsed(RehearsalMode mode, Confidence below, int earlier, string? why)
    {
        (_policy, _earlier) = (new RehearsalPolicy { Mode = mode, Below = below }, earlier);
        StopResult result = Handle();
        Assert.NotNull(result.Applied);
        Assert.Equal(why is null, result.Rehearsal is null);
        Assert.Contains(why ?? "", result.Rehearsal?.Why ?? "", StringComparison.Ordinal);
    }

    /// <summary>A plan that is less sure than what is asked for: a process is killed, and what it holds further out is not given back.</summary>
    [Theory]
    [InlineData(Confidence.High, true)]
    [InlineData(Confidence.Medium, false)]
    public void A_doubtful_plan_is_rehearsed(Confidence below, bool rehearsed)
    {
        var rehearser = new Rehearser(new RehearsalPolicy { Mode = RehearsalMode.Auto, Below = below }, _copies, _guest.Armed, TargetLimits.Default);
        CrashEvidence evidence = _guest.Armed.Capture.Capture(_guest.Guest.Memory, _crash.Vcpu, _guest.Armed.PointAt(_crash.Vcpu.Rip)!);
        var plan = new RepairPlan { Kind = RepairKind.Kill, Explanation = "", Writes = [], Registers = [], Lost = [], Risks = [], Confidence = Confidence.Medium };
        Assert.Equal(rehearsed, rehearser.Why(evidence, plan) is not null);
    }

    /// <summary>Copies of the crashed guest, in the order in which they are asked for.</summary>
    private sealed class Copies : ICloneSource, IClonesOfAMoment
    {
        public HashSet<int> Dies { get; } = [];

        /// <summary>How the first one dies.</summary>
        public Func<SyntheticKernel, VcpuRegisters>? Elsewhere { get; set; }

        public HashSet<int> Stands { get; } = [];

        public HashSet<int> Fails { get; } = [];

        public bool FreezeFails { get; set; }

        public Action BeforeStart { get; set; } = () => { };

        public Action? OnIdle { get; set; }

        public Action<SyntheticKernel, ScriptedVm>? Idle { get; set; }

        public List<SyntheticKernel> Kernels { get; } = [];

        public List<Copy> Made { get; } = [];

        public int AtOnce => 1;

        public string? WhyNot() => null;

        public IClonesOfAMoment Freeze() => FreezeFails ? throw new TargetException("no state") : this;

        public IGuestClone Start()
        {
            BeforeStart();
            int number = Made.Count;
            if (Fails.Contains(number))
            {
                Made.Add(new Copy(null!) { IsGone = true });
                throw new TargetException("no QEMU");
            }

            var kernel = new SyntheticKernel();
            SyntheticCrash crash = kernel.Crash(Spec);
            var vm = new ScriptedVm(kernel);
            vm.Hold(crash.Vcpu, StopReason.Other);
            if (Dies.Contains(number))
                vm.ThenStops(() => kernel.Crash(Spec).Vcpu);
            if (number == 0 && Elsewhere is { } dies)
                vm.ThenStops(() => dies(kernel));
            if (!Stands.Contains(number))
                vm.OnIdle = OnIdle ?? (Idle is { } idle ? () => idle(kernel, vm) : vm.Work);
            Kernels.Add(kernel);
            Made.Add(new Copy(vm));
            return Made[^1];
        }

        public void Dispose()
        {
        }

        /// <summary>They are ended beside the guest's going on.</summary>
        public void AssertGone() => Assert.True(SpinWait.SpinUntil(() => Made.TrueForAll(m => m.IsGone), TimeSpan.FromSeconds(20)));
    }

    private sealed class Copy(ScriptedVm vm) : IGuestClone
    {
        public ScriptedVm Vm => vm;

        public IGuestControl Guest => vm;

        public long OwnMemory => 0;

        public bool IsGone { get; set; }

        public void Dispose()
        {
            vm.ArmedBefore = [.. vm.Armed];
            vm.Dispose();
            IsGone = true;
        }
    }
}
