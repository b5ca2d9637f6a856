using Panacea.Lab.Bench;

namespace Panacea.Lab.Tests;

public sealed class FiguresTests
{
    [Fact]
    public void One_value_is_all_of_its_figures() => Assert.Equal(new Figures(1, 7, 7, 7, 7), Figures.Of([7.0]));

    [Fact]
    public void The_median_of_an_odd_count_is_the_middle() => Assert.Equal(3, Figures.Of([9L, 1, 3]).Median);

    [Fact]
    public void The_median_of_an_even_count_lies_between_the_two_in_the_middle() => Assert.Equal(2.5, Figures.Of([4L, 1, 3, 2]).Median);

    [Fact]
    public void One_outlier_does_not_move_the_median() => Assert.Equal(3, Figures.Of([3L, 3, 3, 3, 1_000_000]).Median);

    [Theory]
    [InlineData(30, 30)]
    [InlineData(100, 99)]
    [InlineData(101, 100)]
    [InlineData(200, 198)]
    public void P99_is_the_nearest_rank(int count, double expected)
    {
        Figures figures = Figures.Of(Enumerable.Range(1, count).Reverse().Select(v => (double)v));
        Assert.Equal(expected, figures.P99);
        Assert.Equal(1, figures.Min);
        Assert.Equal(count, figures.Max);
        Assert.Equal(count, figures.Count);
    }

    [Fact]
    public void Nothing_measured_has_no_figures() => Assert.Throws<ArgumentException>(() => Figures.Of(Array.Empty<double>()));
}
