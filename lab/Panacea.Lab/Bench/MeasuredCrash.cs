using System.Text.Json;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>A crash that a guard was there for.</summary>
/// <param name="Incident">Its last word on it.</param>
/// <param name="MachineReadUs">Microseconds from the crash until everything that the record says of the machine was read; null where the record does not say.</param>
internal sealed record MeasuredCrash(GuardEvent Incident, long? MachineReadUs)
{
    /// <summary>It was recovered from.</summary>
    public bool IsRecovered => Incident is { Outcome: "recovered", StoppedUs: not null };

    /// <summary>What to say where it was not.</summary>
    public string Failure => $"the guard says \"{Incident.Outcome}\" ({Incident.Title}, repair {Incident.Repair})";

    /// <summary>Runs a command that crashes a guarded guest, and waits until the guard is done with it and the command has answered.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="guard">Its guard.</param>
    /// <param name="command">The command.</param>
    /// <param name="limit">For each of the two.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TimeoutException">One of them took longer.</exception>
    /// <exception cref="LabException">The guard ended.</exception>
    public static async Task<MeasuredCrash> MakeAsync(Guest guest, GuardProcess guard, string command, TimeSpan limit, CancellationToken cancel)
    {
        guard.DropEvents();
        using var done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<GuestCommandResult> crash = guest.RunAsync(command, limit, done.Token);
        try
        {
            GuardEvent incident = await guard.NextAsync("incident", limit, cancel);
            if (incident.Outcome == "recovered")
                await crash;
            return new MeasuredCrash(incident, MachineReadOf(incident.Record));
        }
        finally
        {
            await done.CancelAsync();
            await Task.WhenAny(crash);
        }
    }

    /// <summary>The step of that name in a record's timeline; null where the machine could not be read.</summary>
    /// <param name="record">Directory of the record.</param>
    public static long? MachineReadOf(string? record)
    {
        string file = Path.Combine(record ?? "", "incident.json");
        if (record is null || !File.Exists(file))
            return null;
        using var incident = JsonDocument.Parse(File.ReadAllBytes(file));
        foreach (JsonElement step in incident.RootElement.GetProperty("timeline").EnumerateArray())
        {
            if (step.GetProperty("step").GetString() == "machine-read")
                return step.GetProperty("at_us").GetInt64();
        }

        return null;
    }
}
