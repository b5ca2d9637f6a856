using Panacea.Kernel.Tests.Image;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

/// <summary>Smoke test of the fuzz targets: seeded changes of a healthy guest.</summary>
public sealed class FuzzTargetTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Images_of_damaged_guests_are_built_or_refused(KernelShape shape)
    {
        using var cache = new TemporaryDirectory();
        FuzzTargets.Build([], cache.Path, shape);
        Rounds(60, data => FuzzTargets.Build(data, cache.Path, shape));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Subsystems_of_damaged_guests_are_read_or_fail_typed(KernelShape shape)
    {
        SyntheticKernel healthy = FuzzTargets.Make(shape);
        using var cache = new TemporaryDirectory();
        using var image = KernelGuest.Build(healthy, cache.Path);
        FuzzTargets.Subsystems([], image, healthy);
        Rounds(150, data => FuzzTargets.Subsystems(data, image, FuzzTargets.Make(shape)));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Resources_of_damaged_guests_are_read_or_fail_typed(KernelShape shape)
    {
        SyntheticKernel healthy = FuzzTargets.Make(shape);
        using var cache = new TemporaryDirectory();
        using var image = KernelGuest.Build(healthy, cache.Path);
        FuzzTargets.Resources([], image, healthy);
        Rounds(150, data => FuzzTargets.Resources(data, image, FuzzTargets.Make(shape)));
    }

    private static void Rounds(int rounds, Action<byte[]> target)
    {
        // More than a smoke test: PANACEA_FUZZ_ROUNDS=100000.
        if (int.TryParse(Environment.GetEnvironmentVariable("PANACEA_FUZZ_ROUNDS"), out int more))
            rounds = more;
        for (int round = 0; round < rounds; round++)
        {
            var random = new Random(round);
            byte[] data = new byte[7 * random.Next(1, 12)];
            random.NextBytes(data);
            Exception? e = Record.Exception(() => target(data));
            Assert.True(e is null, $"round {round}: {e}");
        }
    }
}
