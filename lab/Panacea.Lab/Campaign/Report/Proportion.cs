using System.Globalization;

namespace Panacea.Lab.Campaign.Report;

/// <summary>A share of a count, and what it tells of the share behind it.</summary>
/// <param name="Part">How many of them.</param>
/// <param name="Whole">How many there were.</param>
public readonly record struct Proportion(int Part, int Whole)
{
    /// <summary>The two-sided 95 % point of the normal distribution.</summary>
    private const double Z = 1.959963984540054;

    /// <summary>There was something to count.</summary>
    public bool IsKnown => Whole > 0;

    /// <summary>The share, 0 to 1; NaN where nothing was counted.</summary>
    public double Rate => IsKnown ? (double)Part / Whole : double.NaN;

    /// <summary>Lower end of the 95 % interval (Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927), 0 to 1; NaN where nothing was counted.</summary>
    public double Lower => Part == 0 && IsKnown ? 0 : End(-1);

    /// <summary>Its upper end.</summary>
    public double Upper => Part == Whole && IsKnown ? 1 : End(1);

    /// <summary>The share as it is shown, rounded down, so that no goal is reached by rounding: <c>96.9 %</c>. A dash where nothing was counted.</summary>
    public string Percent => IsKnown ? Tenths(1000L * Part / Whole) + " %" : "–";

    /// <summary>The interval, rounded outwards: <c>96.0–98.3 %</c>. A dash where nothing was counted.</summary>
    public string Interval => IsKnown ? $"{Tenths((long)Math.Floor(Lower * 1000))}–{Tenths((long)Math.Ceiling(Upper * 1000))} %" : "–";

    /// <summary>The counts and the share: <c>812 of 834 (97.3 %)</c>. A dash where nothing was counted.</summary>
    public string Counted => IsKnown ? string.Create(CultureInfo.InvariantCulture, $"{Part} of {Whole} ({Percent})") : "–";

    /// <summary>The share is at least so many percent, exactly; false where nothing was counted.</summary>
    public bool IsAtLeast(int percent) => IsKnown && 100L * Part >= (long)percent * Whole;

    /// <inheritdoc/>
    public override string ToString() => Counted;

    private static string Tenths(long tenths) => string.Create(CultureInfo.InvariantCulture, $"{tenths / 10}.{tenths % 10}");

    private double End(int side)
    {
        double n = Whole, p = Rate, z2 = Z * Z;
        return (p + z2 / (2 * n) + side * Z * Math.Sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n);
    }
}
