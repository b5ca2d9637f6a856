using System.Text.Json;
using System.Text.RegularExpressions;

namespace Panacea.TestKit;

/// <summary>As much of JSON Schema as the schemas in docs/ use; a keyword that it does not know is an error, not a pass.</summary>
/// <param name="root">The schema.</param>
/// <param name="directory">Where the schemas lie that it refers to.</param>
public sealed class JsonSchema(JsonElement root, string directory)
{
    private static readonly string[] Silent = ["$schema", "$defs", "title", "description", "format"];

    /// <summary>docs/ of the source tree that the tests were built from.</summary>
    public static string Docs { get; } = FindDocs();

    /// <summary>Reads a schema of docs/ by its file name.</summary>
    public static JsonSchema Load(string name) => new(JsonDocument.Parse(File.ReadAllText(Path.Combine(Docs, name))).RootElement, Docs);

    /// <summary>One of its definitions.</summary>
    public JsonElement Definition(string name) => root.GetProperty("$defs").GetProperty(name);

    /// <summary>What is wrong with a value; empty where nothing.</summary>
    public IReadOnlyList<string> Validate(JsonElement value) => Validate(value, root, "$");

    private List<string> Validate(JsonElement value, JsonElement schema, string at)
    {
        var errors = new List<string>();
        void Check(bool good, string what)
        {
            if (!good)
                errors.Add($"{at}: {what}");
        }

        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            JsonElement k = keyword.Value;
            switch (keyword.Name)
            {
                case "$ref":
                    string[] reference = k.GetString()!.Split("#/$defs/");
                    JsonSchema other = reference[0].Length == 0 ? this : new(JsonDocument.Parse(File.ReadAllText(Path.Combine(directory, reference[0]))).RootElement, directory);
                    errors.AddRange(other.Validate(value, other.Definition(reference[1]), at));
                    break;
                case "oneOf":
                    Check(k.EnumerateArray().Count(each => Validate(value, each, at).Count == 0) == 1, "matches not exactly one of the alternatives");
                    break;
                case "type":
                    string[] types = k.ValueKind == JsonValueKind.Array ? [.. k.EnumerateArray().Select(t => t.GetString()!)] : [k.GetString()!];
                    Check(types.Any(type => IsOfType(value, type)), $"is {value.ValueKind}, not {string.Join(" or ", types)}");
                    break;
                case "const":
                    Check(JsonElement.DeepEquals(value, k), $"is not {k}");
                    break;
                case "enum":
                    Check(k.EnumerateArray().Any(each => JsonElement.DeepEquals(each, value)), $"{value} is not in the list");
                    break;
                case "pattern":
                    Check(value.ValueKind != JsonValueKind.String || Regex.IsMatch(value.GetString()!, k.GetString()!), $"{value} does not match {k}");
                    break;
                case "minimum":
                    Check(value.ValueKind != JsonValueKind.Number || value.GetDecimal() >= k.GetDecimal(), $"{value} is below {k}");
                    break;
                case "required":
                    foreach (JsonElement name in k.EnumerateArray())
                        Check(value.ValueKind != JsonValueKind.Object || value.TryGetProperty(name.GetString()!, out _), $"lacks {name}");
                    break;
                case "properties":
                    foreach (JsonProperty property in k.EnumerateObject())
                    {
                        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty(property.Name, out JsonElement member))
                            errors.AddRange(Validate(member, property.Value, $"{at}.{property.Name}"));
                    }

                    break;
                case "additionalProperties":
                    foreach (JsonProperty member in value.ValueKind == JsonValueKind.Object ? value.EnumerateObject() : default)
                    {
                        if (schema.TryGetProperty("properties", out JsonElement known) && known.TryGetProperty(member.Name, out _))
                            continue;
                        Check(k.ValueKind != JsonValueKind.False, $"{member.Name} is not documented");
                        if (k.ValueKind == JsonValueKind.Object)
                            errors.AddRange(Validate(member.Value, k, $"{at}.{member.Name}"));
                    }

                    break;
                case "items":
                    foreach (JsonElement item in value.ValueKind == JsonValueKind.Array ? value.EnumerateArray() : default)
                        errors.AddRange(Validate(item, k, $"{at}[]"));
                    break;
                default:
                    Check(Silent.Contains(keyword.Name), $"the schema uses {keyword.Name}, which this check does not know");
                    break;
            }
        }

        return errors;
    }

    private static bool IsOfType(JsonElement value, string type) => type switch
    {
        "null" => value.ValueKind == JsonValueKind.Null,
        "string" => value.ValueKind == JsonValueKind.String,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "integer" => value.ValueKind == JsonValueKind.Number && !value.GetRawText().AsSpan().ContainsAny(".eE"),
        "number" => value.ValueKind == JsonValueKind.Number,
        "array" => value.ValueKind == JsonValueKind.Array,
        "object" => value.ValueKind == JsonValueKind.Object,
        _ => throw new InvalidDataException($"the schema has the type {type}"),
    };

    private static string FindDocs()
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
        {
            if (File.Exists(Path.Combine(at, "Panacea.slnx")))
                return Path.Combine(at, "docs");
        }

        throw new DirectoryNotFoundException("Panacea.slnx is not above the tests: run them from the source tree");
    }
}
