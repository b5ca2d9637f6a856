using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

public sealed partial class GuardSessionTests
{
    /// <summary>Nobody has stopped it: it is stopped for some glances, and repaired at the last of them.</summary>
    [Theory]
    [InlineData(GuardMode.Full, RepairKind.ErrorReturn, IncidentOutcome.Recovered)]
    [InlineData(GuardMode.Observe, RepairKind.None, IncidentOutcome.Declined)]
    public void A_hang_is_seen_and_broken(GuardMode mode, RepairKind repair, IncidentOutcome outcome)
    {
        Hang();
        Run(mode);
        Assert.Equal(["attached", "armed", "death", "resumed", "incident", "detached"], _sink.Events.Select(Name));
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal((repair, outcome, "hang", "hard lockup in ct_int"), (incident.Repair, incident.Outcome, incident.DeathPoint, incident.Report?.Title));
        Assert.Contains(incident.Report!.Findings, f => f.Id == "hang.irqs-off");
        Assert.Equal(mode == GuardMode.Observe, _vm.Held[^1].Left.Count == 0);
        Assert.Equal(4, _vm.Held.Count);
    }

    [Fact]
    public void A_hang_that_goes_by_itself_is_no_incident()
    {
        Hang();
        _vm.Before = step =>
        {
            if (step == "stop" && _vm.Held.Count == 2)
                _vm.Work();
        };
        _vm.ThenLives();
        Run();
        Assert.Empty(_sink.Incidents);
    }

    /// <summary>A QEMU that is suspended stops the guest when it goes on: whoever asked is not there any more, and neither is what it had armed for it.</summary>
    [Fact]
    public void A_stop_that_comes_late_is_no_incident_and_the_guest_goes_on()
    {
        bool isAsked = false, isLate = false;
        IReadOnlyList<ulong> armed = [];
        Hang();
        _vm.Before = step =>
        {
            if (step == "stop" && _vm.Held.Count == 1 && !isAsked)
            {
                isAsked = true;
                throw new GdbException("not in time", GdbFailure.Late);
            }

            if (step != "wait")
                return;
            armed = _vm.Armed;
            if (!isAsked || isLate)
                return;
            isLate = true;
            _vm.ArmBreakpoints(_guest["vfs_write"]);
            _vm.Work();
            _vm.Hold(_guest.Vcpu(0, _guest["vfs_write"], default), StopReason.Requested);
        };
        _vm.ThenLives();
        Run();
        Assert.True(isLate);
        Assert.Equal(["attached", "armed", "detached"], _sink.Events.Select(Name));
        Assert.NotEmpty(armed);
        Assert.DoesNotContain(_guest["vfs_write"], armed);
        _vm.AssertRuns();
    }

    /// <summary>Nobody is to blame any more: the guest stops where a CPU takes its tick, which calls the handler that was not called, and goes on with its tick when it comes back.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_disk_that_stands_still_is_helped(bool comesBack)
    {
        SyntheticVirtioDisk disk = _guest.AddVirtioDisk("vda", (1, 1), (1, 1));
        _guest.SetProgress(disk, 7, 7, 6, 5);
        ulong tick = _guest["update_process_times"];
        VcpuRegisters at = _guest.Crash(new CrashSpec()).Vcpu with { Rip = tick };
        int ticks = 0;
        for (int i = 0; i < 60; i++)
        {
            _vm.Then(() =>
            {
                if (_vm.Armed.Contains(tick) && ticks < (comesBack ? 2 : 1))
                {
                    if (++ticks == 2)
                        _guest.SetProgress(disk, 7, 7, 6, 6);
                    return new GuestWait(QemuWaitKind.Stopped, _vm.Hold(at, StopReason.Breakpoint));
                }

                _vm.Work();
                _time.Advance(TimeSpan.FromMilliseconds(250));
                return new GuestWait(QemuWaitKind.TimedOut, null);
            });
        }

        Run();
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal((RepairKind.Heal, "hang"), (comesBack ? incident.Repair : RepairKind.Heal, incident.DeathPoint));
        Assert.Contains(incident.Ladder, s => s.Explanation.StartsWith("vda's interrupt handler is called", StringComparison.Ordinal));
        Assert.Equal(comesBack ? IncidentOutcome.Recovered : IncidentOutcome.Failed, incident.Outcome);

        // For the look, at the tick, and when the handler has come back to it: where it went there, and with what, the journal says.
        Assert.Equal(ticks, _vm.Held.Count(h => h.Reason == StopReason.Breakpoint));
        Assert.Contains(incident.Journal, e => e.Why == "vring_interrupt()");
        Assert.DoesNotContain(tick, _vm.Armed);
    }

    /// <summary>What was done for nothing has failed, is not done again, and keeps nobody busy; a disk that gets on and stands again is another matter.</summary>
    [Fact]
    public void A_disk_that_no_help_moves_is_left_alone()
    {
        SyntheticVirtioDisk disk = _guest.AddVirtioDisk("vda", (1, 1), (1, 1));
        _guest.SetProgress(disk, 7, 6, 6, 6);
        ulong tick = _guest["update_process_times"];
        VcpuRegisters at = _guest.Crash(new CrashSpec()).Vcpu with { Rip = tick };
        for (int i = 0; i < 400; i++)
        {
            bool isLate = i == 300;
            _vm.Then(() =>
            {
                if (isLate)
                    _guest.SetProgress(disk, 9, 8, 8, 8);
                if (_vm.Armed.Contains(tick))
                    return new GuestWait(QemuWaitKind.Stopped, _vm.Hold(at, StopReason.Breakpoint));
                _vm.Work();
                _time.Advance(TimeSpan.FromMilliseconds(250));
                return new GuestWait(QemuWaitKind.TimedOut, null);
            });
        }

        Run();
        Assert.Equal([IncidentOutcome.Failed, IncidentOutcome.Declined, IncidentOutcome.Failed, IncidentOutcome.Declined], _sink.Incidents.Select(i => i.Outcome));
        Assert.Equal("it has not helped: vda, queue 0, stands as it stood", _sink.Incidents[0].OutcomeReason);
        LadderStep heal = Assert.Single(_sink.Incidents[1].Ladder, s => s.Repair == RepairKind.Heal);
        Assert.Equal(RungVerdict.FailedBefore, heal.Verdict);
        Assert.Equal(2, _sink.Incidents.Sum(i => i.Journal.Count(e => e.Why == "virtqueue_notify()")));
    }

    /// <summary>The tick at which a disk is helped has interrupted somebody: that the help was for nothing says nothing of them.</summary>
    [Fact]
    public void A_task_that_was_interrupted_for_a_disk_may_be_healed()
    {
        SyntheticVirtioDisk disk = _guest.AddVirtioDisk("vda", (1, 1), (1, 1));
        _guest.SetProgress(disk, 7, 6, 6, 6);
        ulong tick = _guest["update_process_times"], damaged = _guest["ct_int"] + 1;
        VcpuRegisters at = _guest.Crash(new CrashSpec()).Vcpu with { Rip = tick };
        for (int i = 0; i < 60; i++)
        {
            _vm.Then(() =>
            {
                if (_vm.Armed.Contains(tick))
                    return new GuestWait(QemuWaitKind.Stopped, _vm.Hold(at, StopReason.Breakpoint));
                _vm.Work();
                _time.Advance(TimeSpan.FromMilliseconds(250));
                return new GuestWait(QemuWaitKind.TimedOut, null);
            });
        }

        _vm.ThenStops(() =>
        {
            _guest.Memory.Write(_guest.Physical(damaged), [0xb8]);
            return Dies();
        }).ThenLives();
        Run(window: TimeSpan.FromSeconds(12));
        Assert.StartsWith("it stands again", _sink.Incidents[0].OutcomeReason);
        Assert.Equal(RungVerdict.Taken, _sink.Incidents.Single(i => i.DeathPoint == "oops_end").Ladder.Single(s => s.Repair == RepairKind.Heal).Verdict);
    }

    /// <summary>What may take long is left to it, and looked at again only after a while.</summary>
    [Fact]
    public void Work_that_gives_way_to_nobody_on_purpose_is_no_incident()
    {
        Hang(_guest.Crash(new CrashSpec { Entry = null, Function = "ct_panic", Preempt = 1 }).Vcpu with { Rflags = 2 });
        Run();
        Assert.Empty(_sink.Incidents);
        Assert.InRange(_vm.Held.Count, 4, 10);
    }

    /// <summary>A hang that nobody could break has time to go by itself. Where the policy has it so it is then dealt with as a death is; else the guest is left alone.</summary>
    [Theory]
    [InlineData(true, false, FallbackAction.Reset, 2)]
    [InlineData(true, true, FallbackAction.Reset, 1)]
    [InlineData(true, false, FallbackAction.Leave, 2)]
    [InlineData(false, false, FallbackAction.Reset, 1)]
    public void A_hang_that_stays_is_dealt_with_by_the_fallback(bool fallback, bool getsOn, FallbackAction action, int incidents)
    {
        Hang(stays: !getsOn);
        _vm.ThenLives();
        Run(GuardMode.Observe, hangs: new HangPolicy { Fallback = fallback }, fallback: new FallbackPolicy { Then = action });
        Assert.Equal(incidents, _sink.Incidents.Count);
        Assert.All(_sink.Incidents, i => Assert.Equal((IncidentOutcome.Declined, "hang"), (i.Outcome, i.DeathPoint)));

        // What is still being read of the machine for the first may take longer than for the second.
        Incident[] inOrder = [.. _sink.Incidents.OrderBy(i => i.At)];
        Assert.Null(inOrder[0].Fallback);
        bool isReset = incidents == 2 && action == FallbackAction.Reset;
        Assert.Equal(isReset, _vm.Steps.Contains("reset"));
        Assert.Equal(isReset ? FallbackAction.Reset : null, inOrder[^1].Fallback?.Action);
    }

    [Fact]
    public void Hangs_that_cannot_be_seen_are_said()
    {
        _vm.Times = null;
        Run();
        Assert.Contains("share a thread", Assert.Single(_sink.Events.OfType<WarningEvent>()).Message, StringComparison.Ordinal);
    }

    /// <summary>CPU 0 stands in ct_int with interrupts off, uses time and does not tick, until it has been stopped four times; and as often as for something else.</summary>
    private void Hang(VcpuRegisters? at = null, bool stays = false, int others = 0)
    {
        GprFile gpr = default;
        gpr[Gpr.Rsp] = at is null ? _guest.Crash(new CrashSpec { Preempt = 1 }).FaultSp : 0;
        VcpuRegisters hangs = at ?? _guest.Vcpu(0, _guest.Text["ct_int:fault"], gpr, 2);
        _vm.Times = new TimeSpan[_vm.VcpuCount];
        _vm.Place = vcpu => vcpu == 0 ? hangs : _guest.Vcpu(vcpu, _guest["vfs_write"], default);
        for (int i = 0; i < (stays ? 450 : 150); i++)
        {
            _vm.Then(() =>
            {
                _vm.Times[0] += TimeSpan.FromMilliseconds(100);
                if (_vm.Held.Count > 3 + others && !stays)
                    _vm.Work();
                return new GuestWait(QemuWaitKind.TimedOut, null);
            });
        }
    }
}
