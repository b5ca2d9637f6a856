namespace Panacea.Lab.Campaign.Report;

/// <summary>How many of the faults that brought the guest down where nobody protected it leave it alive in another arm.</summary>
/// <param name="Arm">The other arm.</param>
/// <param name="Lives">Guests that live at the end, of those faults that were run in both.</param>
public sealed record PairedSurvival(CampaignArm Arm, Proportion Lives);

/// <summary>Two arms over the same faults, all that were run in both: where does the guest live at the end?</summary>
/// <param name="Arm">The one.</param>
/// <param name="Versus">The other.</param>
/// <param name="Both">It lives in both.</param>
/// <param name="OnlyArm">In <paramref name="Arm"/> alone.</param>
/// <param name="OnlyVersus">In <paramref name="Versus"/> alone.</param>
/// <param name="Neither">In none.</param>
public sealed record PairedComparison(CampaignArm Arm, CampaignArm Versus, int Both, int OnlyArm, int OnlyVersus, int Neither)
{
    /// <summary>Faults that were run in both arms.</summary>
    public int Faults => Both + OnlyArm + OnlyVersus + Neither;

    /// <summary>How probable at least so large a difference would be, were there none: the exact test of McNemar, two-sided.</summary>
    public double P => Exact(OnlyArm, OnlyVersus);

    /// <summary>The exact test of McNemar: the two-sided binomial test of one half on the pairs that differ.</summary>
    /// <param name="one">Pairs that differ one way.</param>
    /// <param name="other">Pairs that differ the other way.</param>
    /// <returns>0 to 1; 1 where no pair differs.</returns>
    public static double Exact(int one, int other)
    {
        int all = one + other, fewer = Math.Min(one, other);
        if (one == other)
            return 1;

        // By logarithms: half to the power of the pairs of a long campaign is less than a double can be.
        double largest = -all * Math.Log(2), sum = 1, ratio = 1;
        for (int i = 1; i <= fewer; i++)
            largest += Math.Log((double)(all - i + 1) / i);
        for (int i = fewer; i >= 1; i--)
        {
            ratio *= (double)i / (all - i + 1);
            sum += ratio;
        }

        return Math.Min(1, 2 * Math.Exp(largest) * sum);
    }
}
