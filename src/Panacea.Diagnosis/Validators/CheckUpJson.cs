using System.Text.Json.Serialization;

namespace Panacea.Diagnosis.Validators;

/// <summary>JSON shape of a check-up: snake_case members, kebab-case values.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(CheckUpReport))]
public sealed partial class CheckUpJson : JsonSerializerContext;
