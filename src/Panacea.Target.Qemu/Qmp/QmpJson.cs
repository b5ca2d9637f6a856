using System.Text.Json;

namespace Panacea.Target.Qemu.Qmp;

/// <summary>Reads members of QMP answers without trusting their types.</summary>
internal static class QmpJson
{
    /// <summary>A string member, or null where it is missing or no string.</summary>
    public static string? Text(JsonElement from, string name) =>
        from.ValueKind == JsonValueKind.Object && from.TryGetProperty(name, out JsonElement e) && e.ValueKind == JsonValueKind.String ? e.GetString() : null;

    /// <summary>A boolean member, or null where it is missing or no boolean.</summary>
    public static bool? Flag(JsonElement from, string name) =>
        from.ValueKind == JsonValueKind.Object && from.TryGetProperty(name, out JsonElement e) && e.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? e.GetBoolean()
            : null;

    /// <summary>An integer member, or null where it is missing or no integer.</summary>
    public static long? Integer(JsonElement from, string name) =>
        from.ValueKind == JsonValueKind.Object && from.TryGetProperty(name, out JsonElement e) && e.ValueKind == JsonValueKind.Number
            && e.TryGetInt64(out long n) ? n : null;

    /// <summary>The elements of an array, none where it is no array.</summary>
    public static IEnumerable<JsonElement> Elements(JsonElement from) => from.ValueKind == JsonValueKind.Array ? from.EnumerateArray() : [];
}
