using System.Text.Json.Serialization;

namespace Panacea.Diagnosis.Machine;

/// <summary>JSON shape of a machine report, docs/diagnosis.schema.json: snake_case members, kebab-case values.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(MachineReport))]
public sealed partial class MachineReportJson : JsonSerializerContext;
