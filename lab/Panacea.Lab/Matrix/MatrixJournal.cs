using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Lab.Matrix;

/// <summary>What one line of a journal says: a cell that was run, on a guarded guest or on one that nobody guarded.</summary>
/// <param name="Kernel">The release.</param>
/// <param name="Panacea">SHA-256 of the executable; null where nobody guarded the guest.</param>
/// <param name="Guarded">The result, where it was guarded.</param>
/// <param name="Unguarded">The result, where it was not.</param>
/// <param name="Boots">Guests that were booted for it.</param>
public sealed record MatrixEntry(string Kernel, string? Panacea, MatrixResult? Guarded, BaselineResult? Unguarded, int Boots);

/// <summary>Results of a run of the matrix as they come, a line of JSON each: a run that was interrupted goes on where it was, with the same kernels and the same executable; what became of unguarded guests does not depend on one.</summary>
public sealed class MatrixJournal
{
    private readonly string? _path;
    private readonly string _panacea;
    private readonly List<MatrixEntry> _entries = [];

    private MatrixJournal(string? path, string panacea) => (_path, _panacea) = (path, panacea);

    /// <summary>Opens or begins one.</summary>
    /// <param name="path">The file; null for a run that leaves none.</param>
    /// <param name="panacea">The executable.</param>
    /// <exception cref="LabException">The file is of another executable, or is no journal.</exception>
    public static MatrixJournal Open(string? path, string panacea)
    {
        using FileStream program = File.OpenRead(panacea);
        var journal = new MatrixJournal(path, Convert.ToHexStringLower(SHA256.HashData(program)));
        if (path is null || !File.Exists(path))
            return journal;
        foreach (string line in File.ReadLines(path))
        {
            MatrixEntry? entry;
            try
            {
                entry = JsonSerializer.Deserialize(line, MatrixJournalJson.Default.MatrixEntry);
            }
            catch (JsonException e)
            {
                throw new LabException($"{path} is no journal of the matrix: {e.Message}", e);
            }

            if (entry is null || (entry.Guarded is not null && entry.Panacea != journal._panacea))
                throw new LabException($"{path} was begun with another executable than {panacea}: results of both do not belong into one run; begin another journal");
            journal._entries.Add(entry);
        }

        return journal;
    }

    /// <summary>Guests that the guarded cells of a kernel took.</summary>
    public int Boots(string kernel) => _entries.Where(e => e.Kernel == kernel && e.Guarded is not null).Sum(e => e.Boots);

    /// <summary>The result of a guarded cell, or null.</summary>
    public MatrixResult? Guarded(string kernel, MatrixCell cell) => _entries.LastOrDefault(e => e.Kernel == kernel && e.Guarded?.Cell == cell)?.Guarded;

    /// <summary>The result of a cell that nobody guarded, or null.</summary>
    public BaselineResult? Unguarded(string kernel, MatrixCell cell, bool panicOnOops) =>
        _entries.LastOrDefault(e => e.Kernel == kernel && e.Unguarded is { } result && result.Cell == cell && result.PanicOnOops == panicOnOops)?.Unguarded;

    /// <summary>Adds a guarded cell.</summary>
    public void Add(string kernel, MatrixResult result, int boots) => Add(new MatrixEntry(kernel, _panacea, result, null, boots));

    /// <summary>Adds a cell that nobody guarded.</summary>
    public void Add(string kernel, BaselineResult result, int boots) => Add(new MatrixEntry(kernel, null, null, result, boots));

    private void Add(MatrixEntry entry)
    {
        _entries.Add(entry);
        if (_path is not null)
            File.AppendAllText(_path, JsonSerializer.Serialize(entry, MatrixJournalJson.Default.MatrixEntry) + "\n");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, IgnoreReadOnlyProperties = true)]
[JsonSerializable(typeof(MatrixEntry))]
internal sealed partial class MatrixJournalJson : JsonSerializerContext;
