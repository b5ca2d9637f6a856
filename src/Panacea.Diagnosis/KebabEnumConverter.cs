using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Diagnosis;

/// <summary>Writes enum members as <c>kebab-case</c>: the stable spelling of every record and event.</summary>
public sealed class KebabEnumConverter<T>() : JsonStringEnumConverter<T>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false)
    where T : struct, Enum;
