using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Prompt;

/// <summary>Names that the prompt completes: read when first needed, kept for the session.</summary>
internal sealed class InspectNames(IInspectionSession session)
{
    private IReadOnlyList<string>? _symbols, _types;

    /// <summary>Symbols, sorted by ordinal.</summary>
    public IReadOnlyList<string> Symbols => _symbols ??= session.Look(CancellationToken.None).Symbols.Names();

    /// <summary>Types, sorted by ordinal.</summary>
    public IReadOnlyList<string> Types => _types ??= session.Look(CancellationToken.None).Symbols.TypeNames();

    /// <summary>The names of a sorted list that begin with a word; none for an empty one, which every name begins with.</summary>
    public static IEnumerable<string> StartingWith(IReadOnlyList<string> sorted, string word)
    {
        if (word.Length == 0)
            yield break;
        int low = 0, high = sorted.Count;
        while (low < high)
        {
            int middle = low + ((high - low) / 2);
            if (string.CompareOrdinal(sorted[middle], word) < 0)
                low = middle + 1;
            else
                high = middle;
        }

        for (; low < sorted.Count && sorted[low].StartsWith(word, StringComparison.Ordinal); low++)
            yield return sorted[low];
    }
}
