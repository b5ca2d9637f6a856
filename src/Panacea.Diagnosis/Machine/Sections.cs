using Panacea.Kernel;

namespace Panacea.Diagnosis.Machine;

/// <summary>Reads a report section by section: what fails costs that section alone, and a sentence says so.</summary>
/// <param name="missing">Receives the sentences.</param>
/// <param name="moves">The guest runs meanwhile: what does not hold together is looked at again before it is given up.</param>
internal sealed class Sections(ICollection<string> missing, bool moves)
{
    private const int Attempts = 5;

    /// <summary>What a section reads, or null.</summary>
    public T? Read<T>(string what, Func<T> read)
        where T : class
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return read();
            }
            catch (Exception e) when (ReportInputs.IsReadFailure(e))
            {
                if (moves && attempt < Attempts)
                    continue;
                missing.Add($"{what}: {e.Message}");
                return null;
            }
        }
    }

    /// <summary>What is read, or the fallback where memory can't be read or makes no sense: a fact fewer within a section.</summary>
    public static T Try<T>(Func<T> read, T fallback)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            return fallback;
        }
    }
}
