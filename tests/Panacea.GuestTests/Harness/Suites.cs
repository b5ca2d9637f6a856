namespace Panacea.GuestTests.Harness;

/// <summary>What ./test was asked to run, for <c>[Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]</c>.</summary>
public static class Suites
{
    /// <summary>The reason that a long test gives when it is skipped.</summary>
    public const string NeedsMatrix = "a long test: ./test --matrix runs it";

    /// <summary>The reason that a test against debug packages gives when it is skipped.</summary>
    public const string NeedsDebugInfo = "needs the kernels' debug packages: ./test --with-debuginfo runs it";

    /// <summary>Long tests run too.</summary>
    public static bool Matrix => Environment.GetEnvironmentVariable("PANACEA_TEST_MATRIX") == "1";

    /// <summary>Tests against the kernels' debug packages run too.</summary>
    public static bool DebugInfo => Environment.GetEnvironmentVariable("PANACEA_TEST_DEBUGINFO") == "1";
}
