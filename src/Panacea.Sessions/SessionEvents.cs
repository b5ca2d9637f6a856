using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions.Control;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;

namespace Panacea.Sessions;

/// <summary>What came of an incident.</summary>
[JsonConverter(typeof(KebabEnumConverter<IncidentOutcome>))]
public enum IncidentOutcome
{
    /// <summary>A repair was applied and the guest was seen to live.</summary>
    Recovered,

    /// <summary>No repair was applied: the guest went on to do what it would have done alone.</summary>
    Declined,

    /// <summary>A repair was tried and the guest did not live, or Panacea itself failed; the guest was left to do what it would have done alone.</summary>
    Failed,
}

/// <summary>How much Panacea may do.</summary>
[JsonConverter(typeof(KebabEnumConverter<GuardMode>))]
public enum GuardMode
{
    /// <summary>Diagnose and record; the guest then does exactly what it would have done.</summary>
    Observe,

    /// <summary>The only repair is to take the offending process out.</summary>
    Quarantine,

    /// <summary>The whole ladder.</summary>
    Full,
}

/// <summary>Something that happened in the life of a guarded VM: one JSON object a line under <c>guard --json</c>, members in snake_case.</summary>
/// <param name="Vm">The VM, as the user named it.</param>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(AttachedEvent), "attached")]
[JsonDerivedType(typeof(ArmedEvent), "armed")]
[JsonDerivedType(typeof(DeathEvent), "death")]
[JsonDerivedType(typeof(ResumedEvent), "resumed")]
[JsonDerivedType(typeof(IncidentEvent), "incident")]
[JsonDerivedType(typeof(ResetEvent), "reset")]
[JsonDerivedType(typeof(WarningEvent), "warning")]
[JsonDerivedType(typeof(DumpProgressEvent), "dump-progress")]
[JsonDerivedType(typeof(DumpedEvent), "dumped")]
[JsonDerivedType(typeof(FallbackEvent), "fallback")]
[JsonDerivedType(typeof(FuseEvent), "fuse")]
[JsonDerivedType(typeof(ErrorEvent), "error")]
[JsonDerivedType(typeof(DetachedEvent), "detached")]
public abstract record SessionEvent(string Vm);

/// <summary>The VM's QEMU was reached.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Pid">QEMU's process id.</param>
/// <param name="Memory"><c>shared</c> or <c>private</c>: how guest memory is read.</param>
public sealed record AttachedEvent(string Vm, int Pid, string Memory) : SessionEvent(Vm);

/// <summary>Death points are armed.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Kernel">Kernel release.</param>
/// <param name="Image">Content id of the repair image.</param>
/// <param name="ImageUs">Microseconds that building or loading the repair image took.</param>
/// <param name="StoppedUs">Microseconds for which arming held the guest.</param>
/// <param name="Without">What this guest lacks and what that costs, in sentences; empty where nothing.</param>
public sealed record ArmedEvent(string Vm, string Kernel, string Image, long ImageUs, long StoppedUs, IReadOnlyList<string> Without)
    : SessionEvent(Vm);

/// <summary>The guest reached a death point and stands still.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id.</param>
/// <param name="Point">The death point's symbol.</param>
/// <param name="Found">True where the guest was found already stopped there, left behind by a guard that died.</param>
public sealed record DeathEvent(string Vm, string Id, string Point, bool Found) : SessionEvent(Vm);

/// <summary>The guest goes on; whether it lives is being watched.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id.</param>
/// <param name="Repair">The repair applied.</param>
/// <param name="StoppedUs">Microseconds the guest stood still.</param>
public sealed record ResumedEvent(string Vm, string Id, RepairKind Repair, long StoppedUs) : SessionEvent(Vm);

/// <summary>An incident is closed: health was verified, or the repair was declined or failed.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id.</param>
/// <param name="Title">One line.</param>
/// <param name="Bucket">Stable id of the bug.</param>
/// <param name="Context">What the vCPU was running for.</param>
/// <param name="Repair">The repair applied.</param>
/// <param name="Outcome">What came of it.</param>
/// <param name="StoppedUs">Microseconds the guest stood still, by QEMU's own STOP and RESUME timestamps where it gives them.</param>
/// <param name="Lost">What the guest lost.</param>
/// <param name="Record">Directory of the incident's record, or null where it could not be written.</param>
public sealed record IncidentEvent(
    string Vm, string Id, string Title, string Bucket, CrashContext Context, RepairKind Repair, IncidentOutcome Outcome,
    long StoppedUs, IReadOnlyList<string> Lost, string? Record) : SessionEvent(Vm);

/// <summary>The guest was reset; Panacea arms again when its new kernel is up.</summary>
/// <param name="Vm">The VM.</param>
public sealed record ResetEvent(string Vm) : SessionEvent(Vm);

/// <summary>Something a careful operator wants to know; protection goes on.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Message">One sentence.</param>
public sealed record WarningEvent(string Vm, string Message) : SessionEvent(Vm);

/// <summary>Protection of this VM ended because of an error.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Message">What was wrong and what to do, one sentence.</param>
public sealed record ErrorEvent(string Vm, string Message) : SessionEvent(Vm);

/// <summary>Panacea let go of the VM; its breakpoints are gone and the guest runs.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Reason">Why: <c>interrupted</c>, <c>gone</c>, <c>lost</c> (QEMU stopped answering; attaching is tried again), <c>error</c>; <c>kept-stopped</c>: interrupted, and the guest stands,
/// as its fallback asks for.</param>
public sealed record DetachedEvent(string Vm, string Reason) : SessionEvent(Vm);

/// <summary>A dump is being written; the guest stands still.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id; null where no guard writes it.</param>
/// <param name="File">The file that it becomes.</param>
/// <param name="DoneBytes">Bytes of it that are done.</param>
/// <param name="TotalBytes">Bytes of the whole file.</param>
/// <param name="ElapsedUs">Microseconds since its beginning.</param>
public sealed record DumpProgressEvent(string Vm, string? Id, string File, long DoneBytes, long TotalBytes, long ElapsedUs) : SessionEvent(Vm);

/// <summary>A dump is whole.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id; null where no guard wrote it.</param>
/// <param name="Dump">The dump.</param>
/// <param name="StoppedUs">Microseconds for which the guest was stopped for it; 0 where it stood for another reason.</param>
public sealed record DumpedEvent(string Vm, string? Id, DumpRecord Dump, long StoppedUs) : SessionEvent(Vm);

/// <summary>A death was not repaired, and what the policy asks for in that case was done.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id.</param>
/// <param name="Action">What was done with the guest.</param>
/// <param name="Dump">File of the dump; null where there is none.</param>
/// <param name="Next">How to go on, in a sentence; null where nothing has to be done.</param>
/// <param name="Errors">What of the policy could not be done, in sentences.</param>
public sealed record FallbackEvent(string Vm, string Id, FallbackAction Action, string? Dump, string? Next, IReadOnlyList<string> Errors) : SessionEvent(Vm);

/// <summary>What was done with a fuse.</summary>
[JsonConverter(typeof(KebabEnumConverter<FuseChange>))]
public enum FuseChange
{
    /// <summary>The function returns at once from now on.</summary>
    Set,

    /// <summary>The function runs again.</summary>
    Cleared,
}

/// <summary>A fuse was set or cleared, by the guard or on request.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="Id">The incident's id; null where it was asked for.</param>
/// <param name="Change">What was done.</param>
/// <param name="Fuse">The fuse.</param>
public sealed record FuseEvent(string Vm, string? Id, FuseChange Change, FuseLine Fuse) : SessionEvent(Vm);

/// <summary>JSON shape of events and incidents: snake_case members, kebab-case values, no indentation.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DictionaryKeyPolicy = JsonKnownNamingPolicy.Unspecified)]
[JsonSerializable(typeof(SessionEvent))]
public sealed partial class SessionEventJson : JsonSerializerContext;
