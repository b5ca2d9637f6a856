using Panacea.Diagnosis.KnownIssues;

namespace Panacea.Sessions;

/// <summary>How one VM is to be guarded.</summary>
public sealed record GuardOptions
{
    /// <summary>How much Panacea may do.</summary>
    public GuardMode Mode { get; init; } = GuardMode.Full;

    /// <summary>How long after a repair the guest is watched before the repair counts as good.</summary>
    public TimeSpan HealthWindow { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long any one answer of QEMU is waited for while the guest stands still.</summary>
    public TimeSpan StopBudget { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Repairs within <see cref="RepairLimitWindow"/> after which the guest is left to what it would do alone; 0 for no limit. Endless repairs would hide that a machine is broken, and give
    /// an attacker endless tries.</summary>
    public int RepairLimit { get; init; } = 100;

    /// <summary>The time that <see cref="RepairLimit"/> is for.</summary>
    public static TimeSpan RepairLimitWindow { get; } = TimeSpan.FromMinutes(10);

    /// <summary>How long after its onset a hang of a CPU is to be seen; null where nobody looks for hangs.</summary>
    public TimeSpan? HangsAfter { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>After a repair the kernel's structures are checked while the guest runs. Off unless asked for: a check-up takes seconds of processor time, and a crash that comes meanwhile stands
    /// some milliseconds longer.</summary>
    public bool CheckUp { get; init; }

    /// <summary>Rules that crashes are held against after the guest goes on.</summary>
    public KnownIssueMatcher KnownIssues { get; init; } = KnownIssueMatcher.None;

    /// <summary>Directory for repair images, created where missing.</summary>
    public required string ImageCache { get; init; }
}

/// <summary>Where a session writes what it has to say. Called on the session's own thread, never while the guest stands still.</summary>
public interface ISessionSink
{
    /// <summary>Something happened.</summary>
    void OnEvent(SessionEvent sessionEvent);

    /// <summary>An incident closed: store it.</summary>
    /// <returns>The directory it was stored in, or null where that failed (and was said).</returns>
    string? Store(Incident incident);
}
