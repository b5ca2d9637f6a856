namespace Panacea.Diagnosis;

/// <summary>What was captured while the guest stood still, and what follows from it at once: enough to decide on a repair.</summary>
public sealed record CrashEvidence
{
    /// <summary>Kind of death.</summary>
    public required CrashKind Kind { get; init; }
}
