using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Tests.ConsoleLog;
using Panacea.Diagnosis.Tests.Validators;
using Panacea.Diagnosis.Validators;
using Panacea.TestKit;

namespace Panacea.Diagnosis.Tests;

/// <summary>What is written out is what docs/check.schema.json and docs/log-diagnosis.schema.json say.</summary>
public sealed class SchemaTests
{
    private static readonly JsonSchema CheckUps = JsonSchema.Load("check.schema.json"), Logs = JsonSchema.Load("log-diagnosis.schema.json");

    [Fact]
    public void A_check_up_has_precisely_the_documented_members()
    {
        var g = new CheckedGuest();
        Assert.Empty(CheckUps.Validate(Json(CheckUp.Run(g.Context()))));
        g.Guest.WriteU64(g.Guest.Kthread.Stack, 0);
        CheckUpReport broken = CheckUp.Run(g.Context());
        Assert.True(broken.IsBroken);
        Assert.Empty(CheckUps.Validate(Json(broken)));
    }

    [Theory]
    [MemberData(nameof(SampleTests.Names), MemberType = typeof(SampleTests))]
    public void A_log_s_diagnosis_has_precisely_the_documented_members(string name) => Assert.Empty(Logs.Validate(Json(LogSamples.Diagnose(name))));

    [Fact]
    public void What_is_not_documented_is_noticed()
    {
        JsonNode check = JsonSerializer.SerializeToNode(CheckUp.Run(new CheckedGuest().Context(), ["tasks"]), CheckUpJson.Default.CheckUpReport)!;
        check["validators"]![0]!["surprise"] = 1;
        Assert.NotEmpty(CheckUps.Validate(JsonSerializer.SerializeToElement(check)));
        JsonNode log = JsonSerializer.SerializeToNode(LogSamples.Diagnose(LogSamples.Names.First()), LogDiagnosisJson.Default.LogDiagnosis)!;
        log["reports"]![0]!.AsObject().Remove("title");
        Assert.NotEmpty(Logs.Validate(JsonSerializer.SerializeToElement(log)));
    }

    [Fact]
    public void The_closed_lists_are_complete()
    {
        JsonElement report = Logs.Definition("log_report").GetProperty("properties"), validator = CheckUps.Definition("validator").GetProperty("properties");
        Assert.Equal(Kebab<CrashKind>(), Of(report.GetProperty("kind")));
        Assert.Equal(Kebab<LogRank>(), Of(report.GetProperty("rank")));
        Assert.Equal(Kebab<Confidence>(), Of(report.GetProperty("confidence")));
        Assert.Equal(Kebab<CheckOutcome>(), Of(validator.GetProperty("outcome")));

        static string[] Of(JsonElement list) => [.. list.GetProperty("enum").EnumerateArray().Select(e => e.GetString()!).Order(StringComparer.Ordinal)];
        static string[] Kebab<T>()
            where T : struct, Enum => [.. Enum.GetNames<T>().Select(JsonNamingPolicy.KebabCaseLower.ConvertName).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void The_prose_names_every_validator()
    {
        string prose = File.ReadAllText(Path.Combine(JsonSchema.Docs, "check.md"));
        Assert.All(Diagnosis.Validators.Validators.All, v => Assert.Contains($"| `{v.Name}` |", prose, StringComparison.Ordinal));
    }

    private static JsonElement Json(CheckUpReport report) => JsonSerializer.SerializeToElement(report, CheckUpJson.Default.CheckUpReport);

    private static JsonElement Json(LogDiagnosis diagnosis) => JsonSerializer.SerializeToElement(diagnosis, LogDiagnosisJson.Default.LogDiagnosis);
}
