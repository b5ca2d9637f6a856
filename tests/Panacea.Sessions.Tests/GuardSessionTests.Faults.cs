using Panacea.Injection;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
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
    }

    /// <summary>A hang that nothing was done about is what it is in a guest without a guard: the fault stays, and is still taken out where an oops begins.</summary>
    [Theory]
    [InlineData(GuardMode.Full, true)]
    [InlineData(GuardMode.Observe, false)]
    public async Task A_fault_is_taken_out_after_a_hang_only_where_something_was_done_about_it(GuardMode mode, bool isOut)
    {
        byte[] before = Code();
        Task<GuestAnswer>? answer = null;
        _openControl = (_, ask) =>
        {
            answer = ask(new FaultInjectRequest(FaultType.TextBitFlip, "ct_call", 7) { UntilCrash = true });
            return null;
        };
        byte[] injected = [];
        IReadOnlyList<ulong> armed = [];
        Hang(others: 2);
        _vm.Before = step =>
        {
            if (injected.Length == 0 && Code() is var now && !now.SequenceEqual(before))
                injected = now;
            if (step == "wait")
                armed = _vm.Armed;
        };
        _vm.ThenLives();
        Run(mode);
        Assert.Null((await answer!).Error);
        Assert.NotEmpty(injected);
        Assert.Equal("hang", Assert.Single(_sink.Incidents).DeathPoint);
        Assert.Equal(isOut, before.SequenceEqual(Code()));
        if (!isOut)
            Assert.Contains(_guest["oops_begin"], armed);
    }

    private byte[] Code()
    {
        byte[] code = new byte[64];
        Assert.True(_guest.Space.TryRead(new VirtualAddress(_guest["ct_call"]), code, out _));
        return code;
    }
}
