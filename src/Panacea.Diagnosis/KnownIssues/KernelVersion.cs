using System.Globalization;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>A version of Linux: 6.1 is 6.1.0.</summary>
/// <param name="Major">6 of 6.1.170.</param>
/// <param name="Minor">1 of 6.1.170.</param>
/// <param name="Patch">170 of 6.1.170.</param>
public readonly record struct KernelVersion(int Major, int Minor, int Patch) : IComparable<KernelVersion>
{
    /// <summary>Reads <c>6.1</c> or <c>6.1.170</c>; what a distribution appends is not taken.</summary>
    public static bool TryParse(string text, out KernelVersion version)
    {
        version = default;
        string[] parts = text.Split('.');
        if (parts.Length is < 2 or > 3 || !Number(parts[0], out int major) || !Number(parts[1], out int minor))
            return false;
        int patch = 0;
        if (parts.Length == 3 && !Number(parts[2], out patch))
            return false;
        version = new KernelVersion(major, minor, patch);
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(KernelVersion other) => (Major, Minor, Patch).CompareTo((other.Major, other.Minor, other.Patch));

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Major}.{Minor}.{Patch}");

    internal static bool Number(string text, out int number) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number < 100_000;
}

/// <summary>What is known of the version of Linux that a kernel was built from. Distributions keep the number of stable updates out of their release names: Debian's 6.1.0-56-cloud-amd64 is
/// some 6.1.N.</summary>
/// <param name="Least">The lowest that it may be.</param>
/// <param name="Most">The highest that it may be.</param>
public readonly record struct KnownVersion(KernelVersion Least, KernelVersion Most)
{
    private const int AnyPatch = 99_999;

    /// <summary>One version and no other.</summary>
    public bool IsExact => Least == Most;

    /// <summary>From a release, and from the build where that tells more; null where there is no version in it.</summary>
    /// <param name="release">uname -r.</param>
    /// <param name="build">uname -v, or the banner; null where unknown. Debian writes its package's version there: <c>#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)</c>.</param>
    public static KnownVersion? Of(string? release, string? build)
    {
        if (release is null)
            return null;
        int end = release.AsSpan().IndexOfAnyExcept("0123456789.");
        string number = (end < 0 ? release : release[..end]).TrimEnd('.');
        if (!KernelVersion.TryParse(number, out KernelVersion version))
            return null;
        if (build?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is { } words && Array.IndexOf(words, "Debian") is >= 0 and var at && at + 1 < words.Length
            && KernelVersion.TryParse(words[at + 1].Split('-')[0], out KernelVersion debian) && (debian.Major, debian.Minor) == (version.Major, version.Minor))
            return new KnownVersion(debian, debian);
        bool isWhole = version.Patch > 0 || end < 0;
        return new KnownVersion(version, isWhole ? version : version with { Patch = AnyPatch });
    }

    /// <inheritdoc/>
    public override string ToString() => IsExact ? Least.ToString() : string.Create(CultureInfo.InvariantCulture, $"{Least.Major}.{Least.Minor} with an unknown number of updates");
}

/// <summary>Kernel releases of a rule: a line (<c>6.1</c>), comparisons (<c>&gt;=6.1 &lt;6.1.170</c>), or a pattern of uname -r (<c>6.1.0-*-cloud-amd64</c>).</summary>
public sealed class KernelRange
{
    private readonly List<(string Operator, KernelVersion Version)> _comparisons = [];
    private TextPattern? _release;

    private KernelRange(string text) => Text = text;

    /// <summary>As the rule has it.</summary>
    public string Text { get; }

    /// <summary>Reads one.</summary>
    public static bool TryParse(string text, out KernelRange range, out string whyNot)
    {
        range = new KernelRange(text);
        whyNot = "";
        string[] words = text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length is > 0 and <= 8 && words.All(w => w[0] is '<' or '>' or '='))
        {
            foreach (string word in words)
            {
                string op = word.Length > 1 && word[1] == '=' ? word[..2] : word[..1];
                if (!KernelVersion.TryParse(word[op.Length..], out KernelVersion version))
                {
                    whyNot = $"'{word}' compares with no version; write it as >=6.1 or <6.1.170, without a space after the sign";
                    return false;
                }

                range._comparisons.Add((op, version));
            }

            return true;
        }

        if (words is [var line] && KernelVersion.TryParse(line, out KernelVersion only))
        {
            range._comparisons.Add((">=", only));
            range._comparisons.Add(line.Count(c => c == '.') == 1 ? ("<", only with { Minor = only.Minor + 1 }) : ("<=", only));
            return true;
        }

        if (words.Length == 1 && TextPattern.TryParse(text, within: false, out TextPattern pattern, out whyNot))
        {
            range._release = pattern;
            return true;
        }

        if (whyNot.Length == 0)
            whyNot = "is no range of kernels; write it as 6.1, >=6.1 <6.1.170 or 6.1.0-*-cloud-amd64";
        return false;
    }

    /// <summary>The kernel is in it; null where that can't be told.</summary>
    public bool? Contains(string? release, KnownVersion? version)
    {
        if (_release is not null)
            return release is null ? null : _release.IsMatch(release);
        if (version is not { } known)
            return null;
        bool all = true;
        foreach ((string op, KernelVersion than) in _comparisons)
        {
            bool least = Holds(op, known.Least, than), most = Holds(op, known.Most, than);
            if (!least && !most && op is not ("=" or "=="))
                return false;
            if (op is "=" or "==" && (known.Most.CompareTo(than) < 0 || known.Least.CompareTo(than) > 0))
                return false;
            all &= least && most;
        }

        return all ? true : null;
    }

    private static bool Holds(string op, KernelVersion version, KernelVersion than)
    {
        int order = version.CompareTo(than);
        return op switch
        {
            "<" => order < 0,
            "<=" => order <= 0,
            ">" => order > 0,
            ">=" => order >= 0,
            _ => order == 0,
        };
    }
}
