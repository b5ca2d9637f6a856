using Panacea.Diagnosis.KnownIssues;
using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Sessions;

/// <summary>How one VM is to be guarded.</summary>
public sealed record GuardOptions
{
    /// <summary>How much Panacea may do.</summary>
    public GuardMode Mode { get; init; } = GuardMode.Full;

    /// <summary>The repairs that may be used, of those that <see cref="Mode"/> allows; null for all of them.</summary>
    public IReadOnlyList<RepairKind>? Rungs { get; init; }

    /// <summary>How long after a repair the guest is watched before the repair counts as good.</summary>
    public TimeSpan HealthWindow { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long any one answer of QEMU is waited for while the guest stands still.</summary>
    public TimeSpan StopBudget { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Repairs within <see cref="RepairLimitWindow"/> after which the guest is left to what it would do alone; 0 for no limit. Endless repairs would hide that a machine is broken, and give
    /// an attacker endless tries.</summary>
    public int RepairLimit { get; init; } = 100;

    /// <summary>The time that <see cref="RepairLimit"/> is for.</summary>
    public TimeSpan RepairLimitWindow { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>After a repair the kernel's structures are checked while the guest runs. Off unless asked for: a check-up takes seconds of processor time, and a crash that comes meanwhile stands
    /// some milliseconds longer.</summary>
    public bool CheckUp { get; init; }

    /// <summary>What is done with a process that has to be taken out.</summary>
    public QuarantineKind Quarantine { get; init; }

    /// <summary>Whether and when a guest counts as hanging.</summary>
    public HangPolicy Hangs { get; init; } = new();

    /// <summary>Whether and how repairs are tried on copies of the crashed machine first.</summary>
    public RehearsalPolicy Rehearsal { get; init; } = new();

    /// <summary>When a function that crashes again and again is made to return at once.</summary>
    public FusePolicy Fuse { get; init; } = new();

    /// <summary>The policy file that said so and the line of the VM's entry in it, <c>/etc/panacea/policy.yaml:12</c>; without a line where the defaults hold; null without a file.</summary>
    public string? PolicySource { get; init; }

    /// <summary>Rules that crashes are held against after the guest goes on.</summary>
    public KnownIssueMatcher KnownIssues { get; init; } = KnownIssueMatcher.None;

    /// <summary>What is done with a guest that dies and that no repair is for.</summary>
    public FallbackPolicy Fallback { get; init; } = new();

    /// <summary>Directory for repair images, created where missing.</summary>
    public required string ImageCache { get; init; }
}

/// <summary>Where a session writes what it has to say. Called on the session's own thread, and never while the guest stands still, but for a dump of it and where it stands on purpose (see
/// <see cref="Fallback"/>): implementations return at once.</summary>
public interface ISessionSink
{
    /// <summary>Something happened.</summary>
    void OnEvent(SessionEvent sessionEvent);

    /// <summary>An incident closed: store it.</summary>
    /// <returns>The directory it was stored in, or null where that failed (and was said).</returns>
    string? Store(Incident incident);
}
