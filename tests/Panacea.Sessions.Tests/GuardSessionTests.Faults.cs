using Panacea.Injection;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Tests;

/// <summary>Faults that are in the guest until its first crash.</summary>
public sealed partial class GuardSessionTests
{
    /// <summary>It is taken out where the oops begins, before anything of the oops runs; the death point comes after that, and the guest is not stopped there for the experiment any more.</summary>
    [Fact]
    public async Task A_fault_that_stays_until_the_first_crash_is_taken_out_where_the_oops_begins()
    {
        byte[] before = Code();
        Task<GuestAnswer>? answer = null;
        _openControl = (_, ask) =>
        {
            answer = ask(new FaultInjectRequest(FaultType.TextBitFlip, "ct_call", 7) { UntilCrash = true });
            return null;
        };
        byte[] injected = [], begun = [];
        IReadOnlyList<ulong> awaited = [], armed = [];
        _vm.ThenLives().ThenStops(() =>
        {
            (injected, awaited) = (Code(), _vm.Armed);
            return _guest.Vcpu(0, _guest["oops_begin"], default);
        }).ThenStops(() =>
        {
            (begun, armed) = (Code(), _vm.Armed);
            return Dies();
        }).ThenLives();
        Run();
        Assert.Null((await answer!).Error);
        Assert.NotEqual(before, injected);
        Assert.Equal(before, begun);
        Assert.Equal([_guest["oops_begin"]], awaited.Except(armed));
        Assert.Equal(IncidentOutcome.Recovered, Assert.Single(_sink.Incidents).Outcome);
        Assert.DoesNotContain(_sink.Events, e => e is WarningEvent);

        byte[] Code()
        {
            byte[] code = new byte[64];
            Assert.True(_guest.Space.TryRead(new VirtualAddress(_guest["ct_call"]), code, out _));
            return code;
        }
    }
}
