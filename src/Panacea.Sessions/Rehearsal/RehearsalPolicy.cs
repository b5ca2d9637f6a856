using System.Text.Json.Serialization;
using Panacea.Diagnosis;

namespace Panacea.Sessions.Rehearsal;

/// <summary>Whether repairs are tried on copies of the crashed machine first.</summary>
[JsonConverter(typeof(KebabEnumConverter<RehearsalMode>))]
public enum RehearsalMode
{
    /// <summary>The first plan goes to the guest.</summary>
    Never,

    /// <summary>Where the first plan is not sure enough, or the guest was repaired at the same place before.</summary>
    Auto,

    /// <summary>Every plan.</summary>
    Always,
}

/// <summary>When and how repairs are rehearsed.</summary>
public sealed record RehearsalPolicy
{
    /// <summary>Whether.</summary>
    public RehearsalMode Mode { get; init; }

    /// <summary>With <see cref="RehearsalMode.Auto"/>: plans that are less sure than this are rehearsed.</summary>
    public Confidence Below { get; init; } = Confidence.High;

    /// <summary>Plans that are tried at most, each on a copy of its own.</summary>
    public int Plans { get; init; } = 3;

    /// <summary>For how long the guest may stand for rehearsals: what is not known by then is not waited for.</summary>
    public TimeSpan Budget { get; init; } = TimeSpan.FromSeconds(2);
}
