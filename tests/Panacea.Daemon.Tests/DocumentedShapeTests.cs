using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Policy;
using Panacea.TestKit;

namespace Panacea.Daemon.Tests;

/// <summary>docs/incident.md and docs/incident.schema.json against the code: what is written there is what is written out.</summary>
public class DocumentedShapeTests
{
    private static readonly string Docs = JsonSchema.Docs;
    private static readonly JsonSchema Schema = JsonSchema.Load("incident.schema.json");

    private static JsonElement Json(Incident incident) => JsonSerializer.SerializeToElement(incident, IncidentJson.Default.Incident);

    [Fact]
    public void A_full_incident_has_precisely_the_documented_members() => Assert.Empty(Schema.Validate(Json(Samples.Incident())));

    [Fact]
    public void A_bare_incident_has_them_too() => Assert.Empty(Schema.Validate(Json(Samples.Incident() with
    {
        Policy = null,
        Report = null,
        Health = null,
        CheckUp = null,
        Ladder = [],
        Journal = [],
        Timeline = [],
        Console = [],
        Errors = [],
        Lost = [],
        Repair = RepairKind.None,
        Outcome = IncidentOutcome.Declined,
    })));

    [Fact]
    public void A_report_without_what_could_not_be_read_has_them_too() => Assert.Empty(Schema.Validate(Json(Samples.Incident() with
    {
        Report = Samples.Report() with { Fault = null, Task = null, Taint = null, BuildId = null, PanicMessage = null, Stack = [] },
    })));

    [Theory]
    [InlineData("stopped_us")]
    [InlineData("report")]
    [InlineData("lost")]
    public void A_member_that_is_missing_is_noticed(string member)
    {
        JsonObject json = JsonNode.Parse(Json(Samples.Incident()).GetRawText())!.AsObject();
        json.Remove(member);
        Assert.NotEmpty(Schema.Validate(JsonSerializer.SerializeToElement(json)));
    }

    [Fact]
    public void A_member_that_is_not_documented_is_noticed()
    {
        JsonObject json = JsonNode.Parse(Json(Samples.Incident()).GetRawText())!.AsObject();
        json["report"]!["fault"]!["extra"] = 1;
        Assert.NotEmpty(Schema.Validate(JsonSerializer.SerializeToElement(json)));
    }

    [Fact]
    public void The_closed_lists_are_complete()
    {
        static string[] Of(JsonElement list) => [.. list.GetProperty("enum").EnumerateArray().Select(e => e.GetString()!).Order(StringComparer.Ordinal)];
        static string[] Kebab<T>()
            where T : struct, Enum => [.. Enum.GetNames<T>().Select(JsonNamingPolicy.KebabCaseLower.ConvertName).Order(StringComparer.Ordinal)];
        JsonElement incident = Schema.Definition("incident").GetProperty("properties"), report = Schema.Definition("report").GetProperty("properties");
        Assert.Equal(Kebab<GuardMode>(), Of(incident.GetProperty("mode")));
        Assert.Equal(Kebab<IncidentOutcome>(), Of(incident.GetProperty("outcome")));
        Assert.Equal(Kebab<RepairKind>(), Of(Schema.Definition("repair_kind")));
        JsonElement policy = Schema.Definition("policy").GetProperty("properties");
        Assert.Equal(Kebab<QuarantineKind>(), Of(policy.GetProperty("quarantine")));
        Assert.Equal(Kebab<FallbackAction>(), Of(policy.GetProperty("fallback")));
        string[] verdicts = [.. Schema.Definition("ladder_step").GetProperty("properties").GetProperty("verdict").GetProperty("enum").EnumerateArray().Where(e => e.ValueKind == JsonValueKind.String).Select(e => e.GetString()!).Order(StringComparer.Ordinal)];
        Assert.Equal(Kebab<RungVerdict>(), verdicts);
        Assert.Equal(Kebab<CrashKind>(), Of(report.GetProperty("kind")));
        Assert.Equal(Kebab<CrashContext>(), Of(Schema.Definition("context")));
        Assert.Equal(Kebab<Confidence>(), Of(Schema.Definition("finding").GetProperty("properties").GetProperty("confidence")));
    }

    [Fact]
    public void The_prose_names_every_member_and_value_of_the_schema()
    {
        string prose = File.ReadAllText(Path.Combine(Docs, "incident.md"));
        foreach (string type in (string[])["incident", "policy", "report"])
        {
            foreach (JsonProperty member in Schema.Definition(type).GetProperty("properties").EnumerateObject())
                Assert.Contains($"`{member.Name}`", prose, StringComparison.Ordinal);
        }

        foreach (string kind in Enum.GetNames<CrashKind>())
            Assert.Contains($"`{JsonNamingPolicy.KebabCaseLower.ConvertName(kind)}`", prose, StringComparison.Ordinal);
        foreach (string kind in Enum.GetNames<RepairKind>())
            Assert.Contains($"`{JsonNamingPolicy.KebabCaseLower.ConvertName(kind)}`", prose, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_example_line_is_what_the_code_would_write()
    {
        string[] examples = [.. File.ReadLines(Path.Combine(Docs, "incident.md")).Where(line => line.StartsWith("{\"event\"", StringComparison.Ordinal))];
        Assert.All(examples, line =>
        {
            SessionEvent read = JsonSerializer.Deserialize(line, SessionEventJson.Default.SessionEvent)!;
            Assert.Equal(line, JsonSerializer.Serialize(read, SessionEventJson.Default.SessionEvent));
        });
        string[] kinds = [.. examples.Select(line => JsonDocument.Parse(line).RootElement.GetProperty("event").GetString()!).Distinct().Order(StringComparer.Ordinal)];
        string[] known = [.. typeof(SessionEvent).GetCustomAttributes(typeof(System.Text.Json.Serialization.JsonDerivedTypeAttribute), false)
            .Cast<System.Text.Json.Serialization.JsonDerivedTypeAttribute>().Select(a => (string)a.TypeDiscriminator!).Order(StringComparer.Ordinal)];
        Assert.Equal(known, kinds);
    }
}
