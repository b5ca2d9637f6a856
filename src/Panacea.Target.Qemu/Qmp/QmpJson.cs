using System.Text.Json;
using System.Text.Unicode;

namespace Panacea.Target.Qemu.Qmp;

/// <summary>Reads members of QMP answers without trusting their types.</summary>
internal static class QmpJson
{
    /// <summary>Refuses a message in which a name or a string is no text (bytes that are no UTF-8, half a surrogate pair): the document decodes them when they are asked for, and would throw then.</summary>
    /// <exception cref="JsonException">It is malformed.</exception>
    public static void RequireText(ReadOnlySpan<byte> message)
    {
        if (!Utf8.IsValid(message))
            throw new JsonException("a string is no UTF-8");
        if (message.IndexOf("\\u"u8) < 0)
            return;
        var reader = new Utf8JsonReader(message);
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.PropertyName or JsonTokenType.String) || !reader.ValueIsEscaped)
                continue;
            try
            {
                _ = reader.GetString();
            }
            catch (InvalidOperationException e)
            {
                throw new JsonException("a string holds half a surrogate pair", e);
            }
        }
    }

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
