using System.Globalization;

namespace Panacea.Formats.Vmcore;

/// <summary>Sizes as a person reads them.</summary>
internal static class Sizes
{
    /// <summary>In the largest unit that leaves at least one; one decimal where that says more.</summary>
    public static string Of(ulong bytes)
    {
        (ulong unit, string name) = bytes switch
        {
            >= 1UL << 40 => (1UL << 40, "TiB"),
            >= 1UL << 30 => (1UL << 30, "GiB"),
            >= 1UL << 20 => (1UL << 20, "MiB"),
            >= 1UL << 10 => (1UL << 10, "KiB"),
            _ => (1UL, "bytes"),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{(double)bytes / unit:0.#} {name}");
    }
}
