using System.Text.Json.Serialization;
using Panacea.Diagnosis;

namespace Panacea.Sessions.Policy;

/// <summary>What is done with a guest that dies and that no repair is for.</summary>
[JsonConverter(typeof(KebabEnumConverter<FallbackAction>))]
public enum FallbackAction
{
    /// <summary>It is left to what it would have done alone: its own panic, kdump, reboot.</summary>
    Leave,

    /// <summary>It is reset, as by its reset button.</summary>
    Reset,

    /// <summary>It stays stopped where it died, until its operator lets it go on.</summary>
    KeepStopped,
}

/// <summary>The policy for deaths that are not repaired.</summary>
public sealed record FallbackPolicy
{
    /// <summary>What is done with the guest; after the dump, where there is to be one.</summary>
    public FallbackAction Then { get; init; } = FallbackAction.Leave;

    /// <summary>Directory for a dump of the guest as it died; null for none.</summary>
    public string? DumpDirectory { get; init; }
}
