namespace Panacea.Lab.Bench;

/// <summary>A median and where that of the whole population lies with 95 % confidence, whatever the distribution: the interval of the sign test, from the order of the values alone. All values have the unit of the series.</summary>
/// <param name="Count">How many values there were.</param>
/// <param name="Median">Half were at most this; the mean of the two in the middle where the count is even.</param>
/// <param name="Low">The interval's lower end; null where there are too few values for any (fewer than six).</param>
/// <param name="High">Its upper end; null likewise.</param>
public sealed record MedianInterval(int Count, double Median, double? Low, double? High)
{
    private const double Outside = 0.025;

    /// <summary>The interval of a series.</summary>
    /// <exception cref="ArgumentException">The series is empty.</exception>
    public static MedianInterval Of(IEnumerable<double> series)
    {
        double[] sorted = [.. series.Order()];
        double median = Figures.Of(sorted).Median;
        int cut = Cut(sorted.Length);
        return cut < 0 ? new MedianInterval(sorted.Length, median, null, null) : new MedianInterval(sorted.Length, median, sorted[cut], sorted[^(cut + 1)]);
    }

    /// <summary>How many of the smallest and of the largest values lie outside: the most for which P(Binomial(n, ½) ≤ cut) is at most 2.5 %; negative where not even none.</summary>
    private static int Cut(int count)
    {
        double term = Math.Pow(0.5, count), below = 0;
        int cut = -1;
        for (int k = 0; k < count; k++)
        {
            below += term;
            if (below > Outside)
                break;
            cut = k;
            term *= (double)(count - k) / (k + 1);
        }

        return cut;
    }
}
