using System.Text.Json;
using Panacea.Sessions;

namespace Panacea.Daemon;

/// <summary>A record that is not there or can't be used.</summary>
/// <param name="message">What was wrong and what to do, one sentence.</param>
/// <param name="isMissing">There is none; else it is damaged or of another version.</param>
public sealed class IncidentRecordException(string message, bool isMissing) : Exception(message)
{
    /// <summary>There is none; else it is damaged or of another version.</summary>
    public bool IsMissing { get; } = isMissing;
}

/// <summary>Reads what an <see cref="IncidentStore"/> has stored.</summary>
public static class IncidentRecords
{
    private const string FileName = "incident.json";

    /// <summary>The store writes 8 MiB at most.</summary>
    private const int MaxBytes = 16 << 20;

    /// <summary>The record's file.</summary>
    /// <param name="directory">Directory of all records.</param>
    /// <param name="incident">An incident's id, its directory or its <c>incident.json</c>.</param>
    /// <exception cref="IncidentRecordException">There is none.</exception>
    public static string Find(string directory, string incident)
    {
        bool isName = incident.Length > 0 && !incident.Contains('/', StringComparison.Ordinal) && incident is not ("." or "..");
        if (isName && Path.Combine(directory, incident, FileName) is var stored && File.Exists(stored))
            return stored;
        if (Directory.Exists(incident))
        {
            string within = Path.Combine(incident, FileName);
            return File.Exists(within) ? within : throw new IncidentRecordException($"the directory '{incident}' has no {FileName}; name the directory of one incident", isMissing: true);
        }

        if (File.Exists(incident))
            return incident;
        throw new IncidentRecordException(
            isName ? $"there is no incident '{incident}' in {directory}{Latest(directory)}" : $"there is no directory or file '{incident}'; name an incident's id, its directory or its {FileName}", isMissing: true);
    }

    /// <summary>Reads a record.</summary>
    /// <param name="file">Its <c>incident.json</c>.</param>
    /// <exception cref="IncidentRecordException">It is none, or of another version.</exception>
    public static Incident Read(string file)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            if (stream.Length > MaxBytes)
                throw new IncidentRecordException($"{file} is larger than any record", isMissing: false);
            Incident? incident = JsonSerializer.Deserialize(stream, IncidentJson.Default.Incident);
            if (incident is { Schema: not 1 })
                throw new IncidentRecordException($"{file} is of schema {incident.Schema}; this version of panacea reads schema 1", isMissing: false);

            // The deserialiser takes null for anything.
            bool isWhole = incident is { Id: not null, Vm: not null, OutcomeReason: not null, Ladder: { } ladder, Lost: { } lost, Errors: { } errors, DeathPoint: not null }
                && ladder.All(s => s is { Explanation: not null, Risks: { } risks } && risks.All(r => r is not null) && (s.Tried?.All(t => t is not null) ?? true)) && lost.All(l => l is not null) && errors.All(e => e is not null)
                && incident is { Policy: null or { Rungs: not null }, Report: null or { Title: not null } };
            return isWhole ? incident! : throw new IncidentRecordException($"{file} is damaged: members are missing", isMissing: false);
        }
        catch (JsonException e)
        {
            throw new IncidentRecordException($"{file} is no record of this version of panacea, or damaged ({e.Message})", isMissing: false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IncidentRecordException($"{file} can't be read: {e.Message.TrimEnd('.')}", isMissing: false);
        }
    }

    private static string Latest(string directory)
    {
        try
        {
            string? latest = Directory.EnumerateDirectories(directory).Where(d => File.Exists(Path.Combine(d, FileName))).Select(Path.GetFileName).Where(n => n![0] != '.').Max(StringComparer.Ordinal);
            return latest is null ? ", which has none" : $"; the latest is {latest}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "; give --records DIR where guard was given it";
        }
    }
}
