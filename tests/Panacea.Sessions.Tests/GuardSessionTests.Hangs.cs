using Panacea.Repair;
using Panacea.Target;
using Panacea.Target.Qemu;
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

    /// <summary>What may take long is left to it, and looked at again only after a while.</summary>
    [Fact]
    public void Work_that_gives_way_to_nobody_on_purpose_is_no_incident()
    {
        Hang(_guest.Crash(new CrashSpec { Entry = null, Function = "ct_panic", Preempt = 1 }).Vcpu with { Rflags = 2 });
        Run();
        Assert.Empty(_sink.Incidents);
        Assert.InRange(_vm.Held.Count, 4, 10);
    }

    [Fact]
    public void Hangs_that_cannot_be_seen_are_said()
    {
        _vm.Times = null;
        Run();
        Assert.Contains("share a thread", Assert.Single(_sink.Events.OfType<WarningEvent>()).Message, StringComparison.Ordinal);
    }

    /// <summary>CPU 0 stands in ct_int with interrupts off, uses time and does not tick.</summary>
    private void Hang(VcpuRegisters? at = null)
    {
        GprFile gpr = default;
        gpr[Gpr.Rsp] = at is null ? _guest.Crash(new CrashSpec { Preempt = 1 }).FaultSp : 0;
        VcpuRegisters hangs = at ?? _guest.Vcpu(0, _guest.Text["ct_int:fault"], gpr, 2);
        _vm.Times = new TimeSpan[_vm.VcpuCount];
        _vm.Place = vcpu => vcpu == 0 ? hangs : _guest.Vcpu(vcpu, _guest["vfs_write"], default);
        for (int i = 0; i < 150; i++)
        {
            _vm.Then(() =>
            {
                _vm.Times[0] += TimeSpan.FromMilliseconds(100);
                if (_vm.Held.Count > 3)
                    _vm.Work();
                return new GuestWait(QemuWaitKind.TimedOut, null);
            });
        }
    }
}
