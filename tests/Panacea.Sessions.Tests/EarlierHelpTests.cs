using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;

namespace Panacea.Sessions.Tests;

public sealed class EarlierHelpTests
{
    [Fact]
    public void A_timer_is_remembered_only_where_it_was_started_for_nothing()
    {
        var helped = new EarlierHelp();
        var timer = new TickTimer(0xffff_8880_0000_1000, 1, false, false, 100);
        var hang = new Hang(CrashKind.LostTick, default, []) { Timer = timer };
        Assert.Null(helped.InVain(hang));
        helped.Add(timer, "a");
        Assert.Equal("a", helped.InVain(hang with { Timer = timer with { Expires = 200 } }));
        Assert.Null(helped.InVain(hang with { Timer = timer with { Address = 1 } }));
        Assert.Null(helped.InVain(new Hang(CrashKind.HungTask, default, [])));
        helped.Clear();
        Assert.Null(helped.InVain(hang));
    }
}
