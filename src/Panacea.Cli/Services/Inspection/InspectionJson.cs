using System.Text.Json.Serialization;

namespace Panacea.Cli.Services.Inspection;

/// <summary>JSON shapes of what <c>inspect</c> prints: snake_case members, indented for a person, stable for a program.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, Converters = [typeof(HexAddressConverter)])]
[JsonSerializable(typeof(IReadOnlyList<TaskRow>))]
[JsonSerializable(typeof(TaskReport))]
[JsonSerializable(typeof(FilesReport))]
[JsonSerializable(typeof(IReadOnlyList<BacktraceRow>))]
[JsonSerializable(typeof(IReadOnlyList<ModuleRow>))]
[JsonSerializable(typeof(IReadOnlyList<LogRow>))]
[JsonSerializable(typeof(VmcoreInfoAnswer))]
[JsonSerializable(typeof(IReadOnlyList<SymbolRow>))]
[JsonSerializable(typeof(TypeText))]
[JsonSerializable(typeof(ReadAnswer))]
[JsonSerializable(typeof(DisassemblyAnswer))]
[JsonSerializable(typeof(IReadOnlyList<RunQueueRow>))]
[JsonSerializable(typeof(LocksAnswer))]
[JsonSerializable(typeof(WorkqueuesAnswer))]
[JsonSerializable(typeof(TimersAnswer))]
[JsonSerializable(typeof(MemoryAnswer))]
[JsonSerializable(typeof(IReadOnlyList<SlabRow>))]
[JsonSerializable(typeof(IReadOnlyList<MountRow>))]
[JsonSerializable(typeof(NetAnswer))]
[JsonSerializable(typeof(DevicesAnswer))]
[JsonSerializable(typeof(SystemAnswer))]
internal sealed partial class InspectionJson : JsonSerializerContext;
