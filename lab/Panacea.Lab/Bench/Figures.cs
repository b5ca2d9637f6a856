namespace Panacea.Lab.Bench;

/// <summary>What is said of a series of measurements. All values have the unit of the series.</summary>
/// <param name="Count">How many there were.</param>
/// <param name="Median">Half were at most this; the mean of the two in the middle where the count is even.</param>
/// <param name="P99">The smallest of which 99 in 100 were at most this large (nearest rank): the largest, below 100 measurements.</param>
/// <param name="Min">The smallest.</param>
/// <param name="Max">The largest.</param>
public sealed record Figures(int Count, double Median, double P99, double Min, double Max)
{
    /// <summary>The figures of a series.</summary>
    /// <exception cref="ArgumentException">The series is empty.</exception>
    public static Figures Of(IEnumerable<double> series)
    {
        double[] sorted = [.. series.Order()];
        if (sorted.Length == 0)
            throw new ArgumentException("nothing was measured", nameof(series));
        int middle = sorted.Length / 2;
        double median = sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        return new Figures(sorted.Length, median, sorted[Rank(0.99, sorted.Length)], sorted[0], sorted[^1]);
    }

    /// <summary>The figures of a series of whole numbers.</summary>
    public static Figures Of(IEnumerable<long> series) => Of(series.Select(v => (double)v));

    private static int Rank(double part, int count) => (int)Math.Ceiling(part * count) - 1;
}
