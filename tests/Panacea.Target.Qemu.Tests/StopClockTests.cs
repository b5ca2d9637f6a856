using System.Text.Json;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests;

public sealed class StopClockTests
{
    private static readonly TimeSpan NoPatience = TimeSpan.FromMilliseconds(1);

    [Fact]
    public void A_stop_is_as_long_as_from_QEMUs_STOP_to_its_RESUME()
    {
        var clock = new StopClock();
        Tell(clock, ("STOP", 1000), ("RESUME", 1300), ("STOP", 2000), ("RESUME", 2050));

        Assert.True(clock.TryMeasure(900, 1290, NoPatience, out long first));
        Assert.True(clock.TryMeasure(1310, 2040, NoPatience, out long second));
        Assert.Equal((300, 50), (first, second));
    }

    [Fact]
    public void A_stop_whose_RESUME_has_not_come_has_no_length()
    {
        var clock = new StopClock();
        Tell(clock, ("STOP", 1000));

        Assert.False(clock.TryMeasure(900, 1290, NoPatience, out _));
    }

    /// <summary>QEMU stamps its events with the host's wall clock, which may be set back.</summary>
    [Fact]
    public void A_stop_during_which_the_clock_was_set_back_has_no_length()
    {
        var clock = new StopClock();
        Tell(clock, ("STOP", 20_000), ("RESUME", 4_500));

        Assert.False(clock.TryMeasure(3_000, 4_400, NoPatience, out long length));
        Assert.Equal(0, length);
    }

    [Fact]
    public void A_stop_that_is_not_kept_any_more_has_no_length()
    {
        var clock = new StopClock();
        for (int i = 1; i <= 200; i++)
            Tell(clock, ("STOP", i * 1000), ("RESUME", (i * 1000) + 100));

        // The first of them has been forgotten, and what is kept is not of it.
        Assert.False(clock.TryMeasure(500, 1090, NoPatience, out _));
        Assert.True(clock.TryMeasure(199_500, 200_090, NoPatience, out long last));
        Assert.Equal(100, last);
    }

    private static void Tell(StopClock clock, params ReadOnlySpan<(string Name, long Us)> events)
    {
        foreach ((string name, long us) in events)
            clock.OnEvent(new QmpEvent(name, us, default(JsonElement)));
    }
}
