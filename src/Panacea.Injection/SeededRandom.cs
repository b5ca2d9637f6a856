namespace Panacea.Injection;

/// <summary>Numbers that are the same for the same seed on every machine and runtime: SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).</summary>
/// <param name="seed">The seed.</param>
/// <param name="stream">What the numbers are for: those of one purpose do not depend on how many another has taken.</param>
public sealed class SeededRandom(ulong seed, string stream)
{
    private ulong _state = unchecked(seed ^ Fnv(stream));

    /// <summary>The next 64 bits.</summary>
    public ulong Next()
    {
        unchecked
        {
            ulong z = _state += 0x9e3779b97f4a7c15;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            return z ^ (z >> 31);
        }
    }

    /// <summary>A number from 0 to <paramref name="count"/> − 1, each as likely as the others.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is not positive.</exception>
    public int Below(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ulong limit = ulong.MaxValue - (ulong.MaxValue % (ulong)count);
        ulong value;
        do
            value = Next();
        while (value >= limit);
        return (int)(value % (ulong)count);
    }

    /// <summary>One of several.</summary>
    public T Of<T>(IReadOnlyList<T> all) => all[Below(all.Count)];

    private static ulong Fnv(string text)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (char c in text)
            hash = unchecked((hash ^ c) * 0x100000001b3);
        return hash;
    }
}
