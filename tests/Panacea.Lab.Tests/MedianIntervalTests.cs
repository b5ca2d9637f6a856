using Panacea.Lab.Bench;

namespace Panacea.Lab.Tests;

public sealed class MedianIntervalTests
{
    // The order statistics that tables of the sign test have (two-sided, 5 %), as for 20 values the 6th and the 15th.
    [Theory]
    [InlineData(6, 1, 6)]
    [InlineData(8, 1, 8)]
    [InlineData(9, 2, 8)]
    [InlineData(10, 2, 9)]
    [InlineData(15, 4, 12)]
    [InlineData(20, 6, 15)]
    [InlineData(25, 8, 18)]
    [InlineData(50, 18, 33)]
    [InlineData(100, 40, 61)]
    public void The_interval_is_that_of_the_sign_test(int count, double low, double high)
    {
        var interval = MedianInterval.Of(Enumerable.Range(1, count).Reverse().Select(v => (double)v));
        Assert.Equal(new MedianInterval(count, (count + 1) / 2.0, low, high), interval);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public void A_few_values_have_none(int count) => Assert.Equal(new MedianInterval(count, (count + 1) / 2.0, null, null), MedianInterval.Of(Enumerable.Range(1, count).Select(v => (double)v)));

    [Fact]
    public void No_value_has_not_even_a_median() => Assert.Throws<ArgumentException>(() => MedianInterval.Of([]));

    [Fact]
    public void Outliers_move_neither() => Assert.Equal(
        MedianInterval.Of(Enumerable.Range(1, 20).Select(v => (double)v)), MedianInterval.Of(Enumerable.Range(1, 20).Select(v => v <= 3 ? -1e6 : v > 17 ? 1e6 : v)));

    [Fact]
    public void It_holds_the_median_as_often_as_it_says()
    {
        // A skewed distribution with a known median, seeded: the promise is for every distribution.
        var random = new Random(7);
        int inside = 0;
        const int tries = 4000;
        for (int i = 0; i < tries; i++)
        {
            var interval = MedianInterval.Of(Enumerable.Range(0, 20).Select(_ => -Math.Log(1 - random.NextDouble())));
            inside += interval.Low <= Math.Log(2) && Math.Log(2) <= interval.High ? 1 : 0;
        }

        // 95.86 % is exact for 20 values; 0.32 % is one standard deviation of so many tries.
        Assert.InRange(inside / (double)tries, 0.948, 0.969);
    }
}
