using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Injection;

namespace Panacea.Cli.Services;

/// <summary>A fault that was injected, as it is on record.</summary>
/// <param name="Time">When.</param>
/// <param name="Vm">Into which VM, as it was named.</param>
/// <param name="Fault">The fault.</param>
/// <param name="StoppedUs">Microseconds for which the guest was stopped for it.</param>
internal sealed record FaultRecord(DateTimeOffset Time, string Vm, Fault Fault, long StoppedUs);

/// <summary>Faults that a function could have.</summary>
/// <param name="Faults">The faults.</param>
internal sealed record FaultListAnswer(IReadOnlyList<Fault> Faults);

/// <summary>The kinds of faults.</summary>
/// <param name="Kinds">The kinds.</param>
internal sealed record FaultKindList(IReadOnlyList<FaultKind> Kinds);

/// <summary>A fault that was taken back.</summary>
/// <param name="Reverted">The fault.</param>
/// <param name="StoppedUs">Microseconds for which the guest was stopped for it.</param>
internal sealed record FaultReverted(Fault Reverted, long StoppedUs);

/// <summary>Records of injected faults on disk.</summary>
internal static class FaultRecords
{
    /// <summary>Bytes of a record; one is a few hundred.</summary>
    private const long MaxBytes = 1 << 20;

    /// <summary>Writes one, and never over another.</summary>
    /// <param name="record">The record.</param>
    /// <param name="file">The file; null for one of its own among the others.</param>
    /// <returns>The file.</returns>
    public static string Write(FaultRecord record, string? file)
    {
        if (file is null)
        {
            Directory.CreateDirectory(StatePaths.Faults);
            file = Path.Combine(StatePaths.Faults, string.Create(CultureInfo.InvariantCulture, $"{record.Time.UtcDateTime:yyyyMMdd'T'HHmmss'.'fff'Z'}-{FaultKinds.Of(record.Fault.Type).Name}-{record.Fault.Seed}.json"));
        }

        using FileStream stream = new(file, FileMode.CreateNew, FileAccess.Write);
        JsonSerializer.Serialize(stream, record, CliJson.Default.FaultRecord);
        return file;
    }

    /// <summary>Reads one.</summary>
    /// <exception cref="CliException">It is none.</exception>
    public static FaultRecord Read(string file)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            if (stream.Length <= MaxBytes && JsonSerializer.Deserialize(stream, CliJson.Default.FaultRecord) is { Fault: not null } record)
                return record;
        }
        catch (JsonException)
        {
            // Said below.
        }
        catch (FileNotFoundException)
        {
            throw new CliException(ExitCodes.Failure, $"there is no file {file}; 'panacea inject' says where it keeps the record of a fault");
        }

        throw new CliException(ExitCodes.Failure, $"{file} is no record of a fault, as 'panacea inject' writes one");
    }
}
