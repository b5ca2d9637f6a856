using Panacea.Diagnosis.ConsoleLog;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>Every sample says what its expectation says.</summary>
public sealed class SampleTests
{
    public static TheoryData<string> Names => [.. LogSamples.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_sample_is_diagnosed_as_expected(string name)
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose(name);
        if (Environment.GetEnvironmentVariable("PANACEA_WRITE_EXPECTATIONS") is not null)
            File.WriteAllText(Path.Combine(LogSamples.Root, name + ".expect"), LogSamples.Summary(diagnosis));
        Assert.Equal(LogSamples.Expected(name), LogSamples.Summary(diagnosis));
    }
}
