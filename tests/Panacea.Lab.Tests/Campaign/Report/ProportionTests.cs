using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;

namespace Panacea.Lab.Tests.Campaign.Report;

/// <summary>Shares and tests against values that are known from elsewhere.</summary>
public sealed class ProportionTests
{
    [Theory]
    [InlineData(0, 10, 0, 0.2775)]
    [InlineData(81, 263, 0.2553, 0.3662)]
    [InlineData(15, 148, 0.0624, 0.1605)]
    [InlineData(10, 10, 0.7225, 1)]
    [InlineData(1, 1, 0.2065, 1)]
    public void The_interval_is_Wilsons(int part, int whole, double lower, double upper)
    {
        var share = new Proportion(part, whole);
        Assert.Equal(lower, share.Lower, 4);
        Assert.Equal(upper, share.Upper, 4);
    }

    [Theory]
    [InlineData(9696, 10000, "96.9 %")]
    [InlineData(9699, 10000, "96.9 %")]
    [InlineData(9999, 10000, "99.9 %")]
    [InlineData(1, 3, "33.3 %")]
    [InlineData(2, 3, "66.6 %")]
    [InlineData(97, 100, "97.0 %")]
    [InlineData(0, 7, "0.0 %")]
    [InlineData(7, 7, "100.0 %")]
    public void A_share_is_rounded_down(int part, int whole, string percent) => Assert.Equal(percent, new Proportion(part, whole).Percent);

    [Fact]
    public void An_interval_is_rounded_outwards()
    {
        Assert.Equal("25.5–36.7 %", new Proportion(81, 263).Interval);
        Assert.Equal("0.0–27.8 %", new Proportion(0, 10).Interval);
        Assert.Equal("72.2–100.0 %", new Proportion(10, 10).Interval);
    }

    [Fact]
    public void A_goal_is_reached_by_the_counts_and_not_by_their_rounding()
    {
        Assert.False(new Proportion(2424, 2500).IsAtLeast(97));
        Assert.False(new Proportion(96_999_999, 100_000_000).IsAtLeast(97));
        Assert.True(new Proportion(97_000_000, 100_000_000).IsAtLeast(97));
        Assert.True(new Proportion(33, 34).IsAtLeast(97));
    }

    [Fact]
    public void Of_nothing_there_is_no_share()
    {
        Proportion none = default;
        Assert.Equal(("–", "–", "–"), (none.Percent, none.Interval, none.Counted));
        Assert.False(none.IsAtLeast(0));
        Assert.True(double.IsNaN(none.Rate) && double.IsNaN(none.Lower) && double.IsNaN(none.Upper));
    }

    [Theory]
    [InlineData(1, 9, 0.021484375)]
    [InlineData(9, 1, 0.021484375)]
    [InlineData(0, 5, 0.0625)]
    [InlineData(0, 1, 1)]
    [InlineData(3, 3, 1)]
    [InlineData(0, 0, 1)]
    [InlineData(4, 5, 1)]
    [InlineData(5, 15, 0.04138946533203125)]
    public void The_test_of_McNemar_is_exact(int one, int other, double p) => Assert.Equal(p, PairedComparison.Exact(one, other), 12);

    [Fact]
    public void The_test_of_McNemar_takes_long_campaigns()
    {
        // Half to the power of 3000 is no double any more. Of the normal distribution, continuity corrected: z = (1600 - 1400 - 1) / sqrt(3000) = 3.633.
        Assert.InRange(PairedComparison.Exact(1400, 1600), 2.6e-4, 3.0e-4);
        Assert.InRange(PairedComparison.Exact(0, 3000), 0, 1e-300);
        Assert.Equal(10, new PairedComparison(CampaignArm.Ladder, CampaignArm.Quarantine, 1, 2, 3, 4).Faults);
    }
}
