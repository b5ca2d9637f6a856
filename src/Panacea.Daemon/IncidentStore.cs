using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions;

namespace Panacea.Daemon;

/// <summary>Ceilings of an <see cref="IncidentStore"/>: a guest that crashes all day must not fill the host's disk.</summary>
public sealed record IncidentStoreLimits
{
    /// <summary>Records kept; the oldest go first.</summary>
    public int MaxIncidents { get; init; } = 1000;

    /// <summary>Bytes of one incident.json; an incident that is larger is stored without its console lines, then not at all.</summary>
    public int MaxRecordBytes { get; init; } = 8 << 20;

    /// <summary>Lines of console.txt: the last ones.</summary>
    public int MaxConsoleLines { get; init; } = 10_000;

    /// <summary>Bytes that must stay free on the file system; below it nothing is stored.</summary>
    public long MinFreeBytes { get; init; } = 64L << 20;
}

/// <summary>
/// Incident records on disk: a directory per incident with <c>incident.json</c>, <c>report.md</c> and <c>console.txt</c>, readable by their
/// owner only (they hold command lines and kernel addresses). A record is written beside and moved into place: it is there whole or not at all.
/// </summary>
/// <param name="directory">Directory of all records, created where missing.</param>
/// <param name="report">Told in one sentence what could not be done. Must not throw.</param>
/// <param name="limits">Ceilings; null for the usual ones.</param>
public sealed class IncidentStore(string directory, Action<string> report, IncidentStoreLimits? limits = null)
{
    private const UnixFileMode OwnerOnlyDirectory = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode OwnerOnlyFile = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const string TemporaryPrefix = ".incoming-";
    private readonly IncidentStoreLimits _limits = limits ?? new IncidentStoreLimits();
    private readonly Lock _gate = new();

    /// <summary>Directory of all records.</summary>
    public string Directory { get; } = directory;

    /// <summary>Stores one incident. Never throws: what goes wrong is reported, and protection goes on.</summary>
    /// <returns>The record's directory, or null where it could not be stored.</returns>
    public string? Store(Incident incident)
    {
        lock (_gate)
        {
            try
            {
                return StoreOrThrow(incident);
            }
            catch (Exception failure)
            {
                // Whatever it is, the guest matters more than its record.
                report($"the record of incident {Safe.Text(incident.Id, 64)} could not be stored in {Directory}: {Safe.Text(failure.Message, 512)}");
                return null;
            }
        }
    }

    private string StoreOrThrow(Incident incident)
    {
        CheckId(incident.Id);
        System.IO.Directory.CreateDirectory(Directory, OwnerOnlyDirectory);
        long free = new DriveInfo(Directory).AvailableFreeSpace;
        if (free < _limits.MinFreeBytes)
            throw new IOException(string.Create(CultureInfo.InvariantCulture, $"only {free >> 20} MiB are free there; make room"));
        Prune();

        string temporary = Path.Combine(Directory, TemporaryPrefix + incident.Id);
        System.IO.Directory.CreateDirectory(temporary, OwnerOnlyDirectory);
        try
        {
            WriteFile(Path.Combine(temporary, "incident.json"), Serialise(incident));
            WriteFile(Path.Combine(temporary, "report.md"), Encoding.UTF8.GetBytes(IncidentReport.Render(incident)));
            WriteFile(Path.Combine(temporary, "console.txt"), Encoding.UTF8.GetBytes(RenderConsole(incident.Console)));
            return MoveIntoPlace(temporary, incident.Id);
        }
        catch
        {
            System.IO.Directory.Delete(temporary, recursive: true);
            throw;
        }
    }

    private byte[] Serialise(Incident incident)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(incident, IncidentJson.Default.Incident);
        if (json.Length <= _limits.MaxRecordBytes)
            return json;
        int whole = json.Length;
        Incident smaller = incident with { Console = [], Errors = [.. incident.Errors, $"console lines left out: the record would have had {whole} bytes"] };
        json = JsonSerializer.SerializeToUtf8Bytes(smaller, IncidentJson.Default.Incident);
        return json.Length <= _limits.MaxRecordBytes
            ? json
            : throw new IOException(string.Create(CultureInfo.InvariantCulture, $"the record would have {json.Length} bytes, {_limits.MaxRecordBytes} are allowed"));
    }

    private string RenderConsole(IReadOnlyList<ConsoleLine> lines)
    {
        var text = new StringBuilder();
        int skipped = Math.Max(0, lines.Count - _limits.MaxConsoleLines);
        if (skipped > 0)
            text.Append(CultureInfo.InvariantCulture, $"({skipped} earlier lines left out)\n");
        foreach (ConsoleLine line in lines.Skip(skipped))
            text.Append(IncidentReport.Line(line)).Append('\n');
        return text.ToString();
    }

    private static void WriteFile(string path, byte[] bytes)
    {
        var options = new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            UnixCreateMode = OwnerOnlyFile,
            PreallocationSize = bytes.Length,
        };
        using var stream = new FileStream(path, options);
        stream.Write(bytes);

        // What crashed the guest may be about to crash the host.
        stream.Flush(flushToDisk: true);
    }

    private string MoveIntoPlace(string temporary, string id)
    {
        for (int attempt = 1; ; attempt++)
        {
            string final = Path.Combine(Directory, attempt == 1 ? id : string.Create(CultureInfo.InvariantCulture, $"{id}-{attempt}"));
            if (!System.IO.Directory.Exists(final))
            {
                System.IO.Directory.Move(temporary, final);
                return final;
            }

            if (attempt == 9)
                throw new IOException($"there already is a record {id}");
        }
    }

    /// <summary>Removes the oldest records beyond the ceiling, and what an interrupted process left behind.</summary>
    private void Prune()
    {
        var records = new List<string>();
        foreach (string path in System.IO.Directory.EnumerateDirectories(Directory))
        {
            string name = Path.GetFileName(path);
            if (name.StartsWith(TemporaryPrefix, StringComparison.Ordinal))
            {
                if (DateTime.UtcNow - System.IO.Directory.GetLastWriteTimeUtc(path) > TimeSpan.FromHours(1))
                    TryDelete(path);
            }
            else if (File.Exists(Path.Combine(path, "incident.json")))
            {
                records.Add(name);
            }
        }

        // Ids begin with the time, so that their order is the order of the incidents.
        records.Sort(StringComparer.Ordinal);
        for (int i = 0; i <= records.Count - _limits.MaxIncidents; i++)
            TryDelete(Path.Combine(Directory, records[i]));
    }

    private void TryDelete(string path)
    {
        try
        {
            System.IO.Directory.Delete(path, recursive: true);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            report($"the old record {path} could not be removed: {failure.Message}");
        }
    }

    private static void CheckId(string id)
    {
        // The session makes ids; a name that is a path would still be one mistake away from writing elsewhere.
        bool good = id.Length is > 0 and <= 64 && id[0] != '.' && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
        if (!good)
            throw new ArgumentException("the id is not a plain name");
    }
}
