using Panacea.Kernel.Code;
using Panacea.Repair;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
using Panacea.Target.Qemu;
using Panacea.TestKit.Linux;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Sessions.Tests;

/// <summary>Functions that crash again and again, and what is asked of a guarded guest.</summary>
public sealed partial class GuardSessionTests
{
    private static readonly TimeSpan Long = TimeSpan.FromHours(1);

    private SyntheticModule Driver()
    {
        SyntheticModule module = _guest.AddModule("drv", t => t.Add("drv_notify", w =>
        {
            w.Depth(8);
            w.A.db(0x0f, 0x1f, 0x44, 0x00, 0x00);
            w.Frame(() =>
            {
                w.At("fault");
                w.A.mov(__dword_ptr[rax], 1);
            });
        }).Add("drv_quick", w => { w.Depth(8); w.A.ret(); }));
        _guest.Link();
        return module;
    }

    /// <summary>The module's function, called back by one of the kernel's dispatch points, writes through NULL.</summary>
    private void Crashes(SyntheticModule module, string dispatcher = "notifier_call_chain", uint preempt = 0) =>
        _vm.ThenStops(() => _guest.Crash(new CrashSpec { Function = "drv_notify", Chain = ["do_syscall_64", dispatcher], Module = module, Preempt = preempt }).Vcpu);

    private byte[] Entry(SyntheticModule module)
    {
        byte[] code = new byte[FuseCode.JumpBytes];
        Assert.True(_guest.Space.TryRead(new Target.VirtualAddress(module.Text["drv_notify"]), code, out _));
        return code;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_function_that_crashes_again_and_again_gets_a_fuse(bool clear)
    {
        SyntheticModule module = Driver();
        Crashes(module);
        Crashes(module);
        byte[] after = [];
        _vm.Then(() =>
        {
            after = Entry(module);
            return new GuestWait(QemuWaitKind.TimedOut, null);
        });
        Run(window: Long, fuse: new FusePolicy { After = 2, ClearOnDetach = clear });
        Assert.Equal([null, "drv_notify"], _sink.Incidents.Select(i => i.Fuse?.Function));
        Assert.True(FuseCode.TryReadJump(after, module.Text["drv_notify"], out ulong stub));
        byte[] code = new byte[FuseCode.StubBytes];
        Assert.True(_guest.Space.TryRead(new Target.VirtualAddress(stub), code, out _));
        Assert.True(FuseCode.TryReadStub(code, out int value));
        Assert.Equal(0, value);
        Incident second = _sink.Incidents[1];
        Assert.Contains(second.Ladder, s => s is { Applied: true, Repair: RepairKind.Unwind } && s.Explanation.Contains("crashed 2 times within 10m, so from now on it returns 0 at once (fuse)", StringComparison.Ordinal));
        Assert.Contains("what drv_notify [drv] does, until its fuse is cleared", second.Lost);
        Assert.Contains(second.Journal, l => l.Why.StartsWith("fuse of drv_notify", StringComparison.Ordinal));
        FuseChange[] changes = clear ? [FuseChange.Set, FuseChange.Cleared] : [FuseChange.Set];
        Assert.Equal(changes, _sink.Events.OfType<FuseEvent>().Select(e => e.Change));
        Assert.Equal(clear, FuseCode.IsNop(Entry(module)));
    }

    /// <summary>The module is gone at the end, and its fuse with it: the guest is not stopped for nothing.</summary>
    [Fact]
    public void A_guest_whose_fuses_are_gone_is_not_stopped_to_clear_them()
    {
        SyntheticModule module = Driver();
        Crashes(module);
        int held = 0;
        _vm.Then(() =>
        {
            _guest.Write(module.Text["drv_notify"], [0x0f, 0x1f, 0x44, 0x00, 0x00]);
            held = _vm.Held.Count;
            return new GuestWait(QemuWaitKind.TimedOut, null);
        });
        Run(window: Long, fuse: new FusePolicy { After = 1, ClearOnDetach = true });
        Assert.Equal([FuseChange.Set], _sink.Events.OfType<FuseEvent>().Select(e => e.Change));
        Assert.Equal(held, _vm.Held.Count);
        Assert.DoesNotContain(_sink.Events, e => e is WarningEvent);
    }

    /// <summary>The next rung of an interrupt would be to leave it to the kernel, which panics.</summary>
    [Fact]
    public void An_interrupt_of_a_module_gets_its_fuse_before_it_is_given_up()
    {
        SyntheticModule module = Driver();
        for (int i = 0; i < 3; i++)
            Crashes(module, "call_timer_fn", 0x100);
        Run(window: Long);
        Assert.Equal([null, null, "drv_notify"], _sink.Incidents.Select(i => i.Fuse?.Function));
        Assert.Contains(_sink.Incidents[2].Ladder, s => s.Explanation.Contains("so from now on it returns at once (fuse)", StringComparison.Ordinal));
    }

    /// <summary>The session counts for the repair: the third poll at the same place is the one that is given up.</summary>
    [Fact]
    public void A_poll_that_crashes_again_and_again_is_given_up()
    {
        SyntheticModule module = Driver();
        for (int i = 0; i < 3; i++)
            Crashes(module, "__napi_poll", 0x100);
        Run(window: Long, fuse: new FusePolicy { After = 0 });
        Assert.Equal([true, true, false], _sink.Incidents.Select(i => i.Ladder.Single(s => s.Applied).Explanation.Contains("64 packets, its budget", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(2, false)]
    public void There_is_no_fuse_where_none_is_asked_for_or_none_can_be_set(int after, bool isTraceable)
    {
        SyntheticModule module = Driver();
        if (!isTraceable)
            _guest.Write(module.Text["drv_notify"], 0xe8);
        for (int i = 0; i < 3; i++)
            Crashes(module);
        Run(window: Long, fuse: new FusePolicy { After = after });
        Assert.Equal([RepairKind.Unwind, RepairKind.Unwind, RepairKind.Unwind], _sink.Incidents.Select(i => i.Repair));
        Assert.All(_sink.Incidents, i => Assert.Null(i.Fuse));
        Assert.Equal(!isTraceable, _sink.Incidents[1].Ladder.Any(s => s.Risks.Any(r => r.EndsWith("drv_notify is being traced: end the tracing first", StringComparison.Ordinal))));
    }

    [Fact]
    public void A_function_of_the_kernels_own_gets_none()
    {
        for (int i = 0; i < 3; i++)
            _vm.ThenStops(Dies);
        Run(window: Long, fuse: new FusePolicy { After = 1 });
        Assert.All(_sink.Incidents, i => Assert.Null(i.Fuse));
    }

    [Fact]
    public async Task What_is_asked_of_the_guest_is_answered_between_crashes()
    {
        SyntheticModule module = Driver();
        var answers = new List<Task<GuestAnswer>>();
        _openControl = (pid, ask) =>
        {
            Assert.Equal(4711, pid);
            answers.Add(ask(new FuseSetRequest("drv:drv_notify", "-EIO", false)));
            answers.Add(ask(new FuseListRequest()));
            answers.Add(ask(new FuseSetRequest("drv_notify", "0", false)));
            answers.Add(ask(new FuseClearRequest("drv_notify")));
            answers.Add(ask(new FuseClearRequest("drv_notify")));
            answers.Add(ask(new FuseSetRequest("drv_notify", null, false)));
            answers.Add(ask(new FuseSetRequest("drv_quick", "0", false)));
            answers.Add(ask(new FuseSetRequest("vfs_write", "0", false)));
            answers.Add(ask(new FuseSetRequest("nope", null, false)));
            answers.Add(ask(new FuseSetRequest("drv:vfs_write", null, false)));
            answers.Add(ask(new QuarantineListRequest()));
            answers.Add(ask(new QuarantineKillRequest(77)));
            return null;
        };
        _vm.ThenLives();
        Run();
        GuestAnswer[] said = await Task.WhenAll(answers);
        FuseLine fuse = new("drv_notify", "drv", $"0x{module.Text["drv_notify"]:x}", "-EIO");
        Assert.Equal([fuse], said[0].Fuses);
        Assert.Equal([fuse], said[1].Fuses);
        Assert.Equal("drv_notify has a fuse already, which returns -EIO", said[2].Error);
        Assert.True(said[3] is { Error: null, Fuses.Count: 0 });
        Assert.True(said[4] is { IsMissing: true, Error: "drv_notify has no fuse; see 'panacea fuse list'" }, said[4].Error);
        Assert.Equal("BTF has no prototype of drv_notify, so what it returns is unknown; say with --return what it is to return", said[5].Error);
        Assert.StartsWith("drv_quick does not begin with the NOP", said[6].Error, StringComparison.Ordinal);
        Assert.StartsWith("vfs_write does not begin with the NOP", said[7].Error, StringComparison.Ordinal);
        Assert.Equal((true, "there is no function nope in this guest"), (said[8].IsMissing, said[8].Error));
        Assert.True(said[9].IsMissing);
        Assert.True(said[10] is { Error: null, Frozen.Count: 0 });
        Assert.Equal("77 is no frozen task; see 'panacea quarantine list'", said[11].Error);
        Assert.Equal([FuseChange.Set, FuseChange.Cleared], _sink.Events.OfType<FuseEvent>().Select(e => e.Change));
        Assert.True(FuseCode.IsNop(Entry(module)));
    }

    /// <summary>A line on the guard's socket may lack what a request is to have.</summary>
    [Fact]
    public async Task A_request_that_makes_no_sense_ends_no_guard()
    {
        Task<GuestAnswer>? answer = null;
        _openControl = (_, ask) =>
        {
            answer = ask(new FuseSetRequest(null!, null, false));
            return null;
        };
        _vm.ThenLives().ThenStops(Dies).ThenLives();
        Run();
        Assert.StartsWith("the request could not be answered: ", (await answer!).Error, StringComparison.Ordinal);
        Assert.Equal(IncidentOutcome.Recovered, Assert.Single(_sink.Incidents).Outcome);
    }

    [Fact]
    public async Task Who_asks_too_late_is_told_so()
    {
        Func<GuestRequest, Task<GuestAnswer>>? late = null;
        _openControl = (_, ask) =>
        {
            late = ask;
            return null;
        };
        Run();
        Assert.Equal("the guard is ending; try again", (await late!(new FuseListRequest())).Error);
    }

    [Fact]
    public async Task A_guest_that_stands_for_its_operator_is_only_looked_at()
    {
        SyntheticModule module = Driver();
        Task<GuestAnswer>? list = null, set = null;
        Func<GuestRequest, Task<GuestAnswer>>? ask = null;
        _openControl = (_, asked) =>
        {
            ask = asked;
            return null;
        };
        _vm.ThenStops(() => _guest.Vcpu(0, _guest["vfs_write"], default), StopReason.Other);
        _vm.Before = step =>
        {
            if (step == "note-resumed" && set is null)
                (set, list) = (ask!(new FuseSetRequest("drv_notify", "0", false)), ask(new FuseListRequest()));
        };
        _vm.ResumedElsewhereAfter = 2;
        Run();
        Assert.Equal("the guest stands still: let it go on first", (await set!).Error);
        Assert.True(await list! is { Error: null, Fuses.Count: 0 });
        Assert.True(FuseCode.IsNop(Entry(module)));
    }
}
