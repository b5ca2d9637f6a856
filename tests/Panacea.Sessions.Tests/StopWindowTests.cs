using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

/// <summary>Whatever throws while the guest stands still, it is resumed, once, and nothing of a repair stays that was not applied as a whole.</summary>
public sealed class StopWindowTests
{
    /// <summary>Kinds of crash that a repair takes a different way for.</summary>
    private static readonly Dictionary<string, CrashSpec> Crashes = new()
    {
        ["page fault"] = new CrashSpec(),
        ["kill"] = new CrashSpec { Function = "ct_void" },
        ["panic"] = new CrashSpec { Entry = null, Function = "ct_panic" },
        ["two steps"] = new CrashSpec { Entry = "asm_exc_invalid_op", Function = "ct_bug" },
        ["nothing applies"] = new CrashSpec { Preempt = 0x10_0000 },
    };

    public static TheoryData<string, bool, StopReason> Ways()
    {
        var data = new TheoryData<string, bool, StopReason>();
        foreach (string crash in Crashes.Keys)
        {
            data.Add(crash, true, StopReason.Breakpoint);
            data.Add(crash, false, StopReason.Breakpoint);
            data.Add(crash, false, StopReason.FoundStopped);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void A_death_is_read_decided_written_and_resumed(string crash, bool nops, StopReason reason)
    {
        using var run = new Run(Crashes[crash], nops, reason);
        StopResult result = run.Handle();
        Assert.Empty(result.Errors);
        Assert.Null(result.Lost);
        run.Vm.AssertRuns();
        Assert.Equal(crash == "two steps" ? 2 : 1, run.Vm.Held.Count);
        Assert.Equal(crash == "nothing applies", result.Applied is null);
        Assert.Equal(
            (string[])["detected", "evidence-read", "diagnosed", "planned", .. crash == "nothing applies" ? (string[])[] : ["applied"], "resumed"], result.Timeline.Select(t => t.Step));
        Assert.True(result.Evidence!.Memory.IsSealed);
        if (crash == "nothing applies")
            Assert.Equal(run.PassedBy, Assert.Single(run.Vm.Held).Left);
        else
            Assert.Equal(result.Journal.Count > 0, run.Vm.Held[^1].Left.Count > 0);
        if (crash == "two steps")
        {
            Assert.Equal(run.Armed.Addresses, run.Vm.Armed);
            Assert.Contains(run.Vm.Held[1].Left, l => l.Contains($"Rip {run.Guest["die:back:oops_end"]:x} -> {run.Crash.ReturnAddress:x}"));
        }
    }

    /// <summary>The same mistake often takes several CPUs at once: the second one is held until the first is through, and is met as a death of its own afterwards.</summary>
    [Fact]
    public void A_second_CPU_that_dies_between_two_steps_waits_for_its_turn()
    {
        using var run = new Run(Crashes["two steps"], nops: true, StopReason.Breakpoint, second: false);
        run.Vm.ThenStops(() => run.Guest.Vcpu(1, run.Guest["oops_end"], run.Crash.Vcpu.Gpr)).ThenStops(() => run.AtSecondStep);
        StopResult result = run.Handle();
        Assert.Empty(result.Errors);
        Assert.NotNull(result.Applied);
        run.Vm.AssertRuns();
        Assert.Equal(["resume", "resume-only 0", "resume"], run.Vm.Steps.Where(s => s.StartsWith("resume", StringComparison.Ordinal)));
        Assert.Empty(run.Vm.Held[1].Left);
        Assert.Contains(run.Vm.Held[2].Left, l => l.Contains($"Rip {run.Guest["die:back:oops_end"]:x} -> {run.Crash.ReturnAddress:x}"));
    }

    /// <summary>It may have to wait for the one that is held: then all go on, and each is met for itself.</summary>
    [Fact]
    public void A_CPU_that_does_not_get_on_alone_is_not_waited_for()
    {
        using var run = new Run(Crashes["two steps"], nops: true, StopReason.Breakpoint, second: false);
        run.Vm.ThenStops(() => run.Guest.Vcpu(1, run.Guest["oops_end"], run.Crash.Vcpu.Gpr));
        StopResult result = run.Handle();
        Assert.Contains("was not reached in time", Assert.Single(result.Errors), StringComparison.Ordinal);
        Assert.Null(result.Applied);
        run.Vm.AssertRuns();
        Assert.Equal(["resume", "resume-only 0", "resume"], run.Vm.Steps.Where(s => s.StartsWith("resume", StringComparison.Ordinal)));
    }

    public static TheoryData<string, bool, string> Failures()
    {
        var data = new TheoryData<string, bool, string>();
        foreach (string crash in Crashes.Keys)
        {
            foreach (string kind in (string[])["bug", "refused", "broken"])
            {
                data.Add(crash, true, kind);
                data.Add(crash, false, kind);
            }
        }

        return data;
    }

    /// <summary>Each operation of a whole stop window fails in turn.</summary>
    [Theory]
    [MemberData(nameof(Failures))]
    public void Whatever_throws_at_any_step_the_guest_goes_on(string crash, bool nops, string kind)
    {
        IReadOnlyList<string> whole;
        int steps;
        using (var good = new Run(Crashes[crash], nops, StopReason.Breakpoint))
        {
            good.Handle();
            whole = good.Vm.Held[0].Left;
            steps = good.Vm.Steps.Count;
        }

        Assert.True(steps >= 3);
        using var run = new Run(Crashes[crash], nops, StopReason.Breakpoint);
        for (int step = 0; step < steps; step++)
        {
            run.Again();
            int at = 0;
            string failed = "";
            run.Vm.Before = what =>
            {
                if (at++ != step)
                    return;
                failed = what;
                run.Vm.IsBroken = kind == "broken";
                throw kind switch
                {
                    "bug" => new InvalidOperationException("a bug of ours"),
                    "refused" => new GdbException("E22", GdbFailure.Refused),
                    _ => new GdbException("QEMU did not answer in time", GdbFailure.Timeout),
                };
            };
            StopResult result = run.Handle();
            string where = $"{crash}, {kind}, step {step}: {failed}; {string.Join(" | ", result.Errors)}";
            Assert.True(result.Errors.Count > 0, where);
            Assert.True(result.Evidence is null || result.Evidence.Memory.IsSealed, where);

            // What the session does where QEMU does not answer.
            if (result.Lost is not null || run.Vm.Now is not null)
            {
                Assert.True(result.Lost is not null, $"{where}: the guest stands and nobody was told");
                run.Vm.Dispose();
            }

            Assert.True(run.Vm.Now is null && run.Vm.Held.All(h => h.Resumes == 1), where);
            if (kind == "broken")
            {
                Assert.NotNull(result.Lost);
                continue;
            }

            // All of the first step of the repair, or nothing of it.
            IReadOnlyList<string> left = run.Vm.Held[0].Left;
            bool isWhole = left.SequenceEqual(whole), isNothing = left.Count == 0 || left.SequenceEqual(run.PassedBy) || left.All(l => l.Contains("Rip"));
            Assert.True(isWhole || isNothing, $"{where}: {string.Join(", ", left)}");
            Assert.True(result.Applied is null || isWhole, $"{where}: said to be applied");
            Assert.True(result.Journal.Count > 0 || isNothing, $"{where}: {string.Join(", ", left)} is left and not in the record");
            Assert.True(run.Vm.IsDisposed || run.Vm.Armed.SequenceEqual(run.Armed.Addresses), $"{where}: breakpoints are left");
        }
    }

    [Fact]
    public void A_guest_that_lies_about_its_registers_is_resumed_and_the_record_says_so()
    {
        using var run = new Run(new CrashSpec(), true, StopReason.Breakpoint);
        GprFile gpr = run.Crash.Vcpu.Gpr;
        gpr[Gpr.Rsi] = 0xdead_beef;
        StopResult result = run.Handle(run.Crash.Vcpu with { Gpr = gpr });
        Assert.Null(result.Applied);
        Assert.Null(result.Evidence);
        Assert.Contains("the registers of the trap can't be read", Assert.Single(result.Errors));
        run.Vm.AssertRuns();
        Assert.Equal(run.PassedBy, run.Vm.Held[0].Left);
    }

    [Fact]
    public void A_policy_that_throws_costs_the_repair_and_nothing_else()
    {
        using var run = new Run(new CrashSpec(), true, StopReason.Breakpoint);
        StopResult result = run.Handle(bars: (_, _) => throw new InvalidOperationException("policy"));
        Assert.NotNull(result.Evidence);
        Assert.Equal(["InvalidOperationException: policy"], result.Errors);
        run.Vm.AssertRuns();
        Assert.Equal(run.PassedBy, run.Vm.Held[0].Left);
    }

    /// <summary>A second step that is not reached in time, or where the guest dies elsewhere first.</summary>
    [Theory]
    [InlineData("time is over")]
    [InlineData("another death")]
    [InlineData("gone")]
    public void A_second_step_that_is_not_reached_leaves_no_breakpoint(string what)
    {
        using var run = new Run(Crashes["two steps"], true, StopReason.Breakpoint, second: false);
        VcpuRegisters elsewhere = run.Guest.Vcpu(0, run.Guest["panic"], default);
        if (what == "another death")
            run.Vm.ThenStops(() => elsewhere);
        else if (what == "gone")
            run.Vm.Then(() =>
            {
                run.Vm.IsGone = true;
                return new GuestWait(QemuWaitKind.Gone, null);
            });
        StopResult result = run.Handle();
        Assert.Null(result.Applied);
        Assert.NotEmpty(result.Errors);
        if (what == "gone")
            return;
        Assert.Equal(run.Armed.Addresses, run.Vm.Armed);

        // The other death is the session's: it finds the guest standing there.
        Assert.Equal(what == "another death", run.Vm.Now is not null);
        Assert.Equal(1, run.Vm.Held[0].Resumes);
    }

    [Fact]
    public void Another_activation_of_the_same_handler_is_let_through()
    {
        using var run = new Run(Crashes["two steps"], true, StopReason.Breakpoint, second: false);
        run.Vm.ThenStops(() => run.Guest.Vcpu(1, run.Guest["die:back:oops_end"], default)).ThenStops(() => run.AtSecondStep);
        StopResult result = run.Handle();
        Assert.Empty(result.Errors);
        Assert.NotNull(result.Applied);
        Assert.Equal(3, run.Vm.Held.Count);
        Assert.Equal(run.Vm.Held, result.Stops);
        Assert.Empty(run.Vm.Held[1].Left);
        run.Vm.AssertRuns();
    }

    /// <summary>A task that slept where it must not has its preempt count again where it wakes up, on whatever CPU. The repair holds where it sleeps on.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Who_slept_in_an_atomic_section_finds_it_as_it_was(bool wakes)
    {
        using var run = new Run(
            new CrashSpec
            {
                Entry = null, Function = "__schedule_bug", Inner = ["check_panic_on_warn"], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_sleeper", "schedule_timeout", "schedule", "__schedule"], Preempt = 3,
            },
            true, StopReason.Breakpoint);
        ulong count = PerCpu.PreemptCountAddress(run.Armed.Image.KernelOver(run.Guest.Memory), 1), back = run.Guest["schedule_timeout:back:schedule"];
        GprFile gpr = run.Crash.Vcpu.Gpr;
        gpr[Gpr.Rsp] = run.Armed.Capture.StackOf(run.Guest.Memory, run.Crash.Vcpu).Frames.Single(f => f.Ip == back).Sp;
        run.Guest.Write(count, [0, 0, 0, 0x80]);
        if (wakes)
            run.Vm.ThenStops(() => run.Guest.Vcpu(1, back, gpr));
        else
            run.Vm.Then(() => new GuestWait(QemuWaitKind.TimedOut, null));
        StopResult result = run.Handle();
        Assert.Equal(RepairKind.GoOn, result.Applied?.Kind);
        byte[] word = new byte[4];
        Assert.True(run.Guest.Space.TryRead(new VirtualAddress(count), word, out _));
        Assert.Equal(wakes ? [2, 0, 0, 0x80] : [0, 0, 0, 0x80], word);
        Assert.Equal(!wakes, result.Errors.Any(e => e.StartsWith("the return from schedule() was not reached in time", StringComparison.Ordinal)));
        Assert.Equal(run.Armed.Addresses, run.Vm.Armed);
        run.Vm.AssertRuns();
    }

    /// <summary>schedule() returns to where it was called for everybody: the guest is not held up for what the repair holds without.</summary>
    [Fact]
    public void A_step_that_everybody_comes_by_is_not_waited_for_at_any_price()
    {
        using var run = new Run(
            new CrashSpec
            {
                Entry = null, Function = "__schedule_bug", Inner = ["check_panic_on_warn"], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_sleeper", "schedule_timeout", "schedule", "__schedule"], Preempt = 3,
            },
            true, StopReason.Breakpoint);
        VcpuRegisters other = run.Guest.Vcpu(1, run.Guest["schedule_timeout:back:schedule"], default);
        for (int i = 0; i < 1000; i++)
            run.Vm.ThenStops(() => other);
        StopResult result = run.Handle();
        Assert.Equal(RepairKind.GoOn, result.Applied?.Kind);
        Assert.InRange(run.Vm.Held.Count, 2, 20);
        Assert.Contains(result.Errors, e => e.StartsWith("the return from schedule() was not reached in time", StringComparison.Ordinal));
        Assert.Equal(run.Armed.Addresses, run.Vm.Armed);
        run.Vm.AssertRuns();
    }

    /// <summary>Others keep coming by a step that never comes: when its time is over the guest goes on.</summary>
    [Fact]
    public void A_step_is_not_waited_for_beyond_its_time_whoever_comes_by()
    {
        using var run = new Run(Crashes["two steps"], true, StopReason.Breakpoint, second: false);
        VcpuRegisters other = run.Guest.Vcpu(1, run.Guest["die:back:oops_end"], default);
        int left = 500;
        void Another() => run.Vm.Then(() =>
        {
            // The guest runs for a moment between any two stops.
            Thread.Sleep(20);
            if (--left > 0)
                Another();
            return new GuestWait(QemuWaitKind.Stopped, run.Vm.Hold(other, StopReason.Breakpoint));
        });
        Another();
        StopResult result = run.Handle();
        Assert.Null(result.Applied);
        Assert.True(left > 0, "it was waited for until nobody came by any more");
        Assert.Contains(result.Errors, e => e.EndsWith("was not reached in time: the process was left to go on from there by itself", StringComparison.Ordinal));
        Assert.Equal(run.Armed.Addresses, run.Vm.Armed);
        run.Vm.AssertRuns();
    }

    private sealed class Run : IDisposable
    {
        private readonly ArmedGuest _guest;
        private readonly CrashSpec _spec;
        private readonly StopReason _reason;
        private readonly bool _second;

        public Run(CrashSpec spec, bool nops, StopReason reason, bool second = true)
        {
            _guest = new ArmedGuest(new SyntheticKernelOptions { EntryNops = nops });
            (_spec, _reason, _second) = (spec, reason, second);
            Again();
        }

        public SyntheticKernel Guest => _guest.Guest;

        public ArmedKernel Armed => _guest.Armed;

        public ScriptedVm Vm { get; private set; } = null!;

        public SyntheticCrash Crash { get; private set; } = null!;

        private DeathPoint Point => Armed.PointAt(Crash.Vcpu.Rip)!;

        /// <summary>The kernel goes on dying: past the NOP, or one instruction on.</summary>
        public IReadOnlyList<string> PassedBy => [$"vcpu0.Rip {Point.Address:x} -> {Point.Address + (ulong)Math.Max(1, Point.EntryNopLength):x}"];

        public VcpuRegisters AtSecondStep
        {
            get
            {
                GprFile gpr = Crash.Vcpu.Gpr;
                gpr[Gpr.Rsp] += 8;
                return Guest.Vcpu(0, Guest["die:back:oops_end"], gpr);
            }
        }

        /// <summary>The same crash once more, in a VM of its own.</summary>
        public void Again()
        {
            Crash = Guest.Crash(_spec);
            Vm = new ScriptedVm(Guest);
            Vm.ArmBreakpoints(Armed.Addresses);
            if (_second && _spec.Entry == "asm_exc_invalid_op")
                Vm.ThenStops(() => AtSecondStep);
            Vm.Steps.Clear();
        }

        public StopResult Handle(VcpuRegisters? vcpu = null, Func<RepairKind, CrashEvidence, RungBar?>? bars = null) =>
            new StopWindow(Vm, Armed).Handle(Vm.Hold(vcpu ?? Crash.Vcpu, _reason), 0, Point, bars ?? ((_, _) => null), Stopwatch.GetTimestamp());

        public void Dispose() => _guest.Dispose();
    }
}
