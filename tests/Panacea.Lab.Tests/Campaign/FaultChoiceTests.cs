using Panacea.Injection;
using Panacea.Lab.Campaign;

namespace Panacea.Lab.Tests.Campaign;

public sealed class FaultChoiceTests
{
    [Fact]
    public void Kinds_take_turns_and_the_rest_follows_from_the_seed()
    {
        FaultChoice[] one = [.. Enumerable.Range(0, 300).Select(t => FaultChoice.Of(t, 1, FaultChoice.Usual, null, "6.1 idle"))];
        Assert.Equal(one, Enumerable.Range(0, 300).Select(t => FaultChoice.Of(t, 1, FaultChoice.Usual, null, "6.1 idle")));
        Assert.NotEqual(one, Enumerable.Range(0, 300).Select(t => FaultChoice.Of(t, 2, FaultChoice.Usual, null, "6.1 idle")));
        Assert.NotEqual(one, Enumerable.Range(0, 300).Select(t => FaultChoice.Of(t, 1, FaultChoice.Usual, null, "6.1 redis")));
        Assert.All(FaultChoice.Usual, type => Assert.InRange(one.Count(c => c.Type == type), 300 / FaultChoice.Usual.Count, (300 / FaultChoice.Usual.Count) + 1));
        Assert.Equal(300, one.Select(c => c.Seed).Distinct().Count());
    }

    [Fact]
    public void Faults_of_code_are_in_what_is_used_and_in_modules_and_data_has_no_place()
    {
        FaultChoice[] all = [.. Enumerable.Range(0, 600).Select(t => FaultChoice.Of(t, 1, FaultChoice.Usual, null, "6.1 idle"))];
        Assert.All(all, c => Assert.Equal(FaultKinds.Of(c.Type).Class == FaultClass.Text, c.At is not null));
        Assert.Equal(["ext4_*", "hot", "virtio_blk", "virtio_net"], all.Select(c => c.At).OfType<string>().Distinct().Order());
        FaultChoice[] code = [.. all.Where(c => c.At is not null)];
        Assert.InRange(code.Count(c => c.At == "hot") / (double)code.Length, 0.4, 0.6);
        Assert.All(Enumerable.Range(0, 30).Select(t => FaultChoice.Of(t, 1, FaultChoice.Usual, "ext4", "6.1 idle")).Where(c => c.At is not null), c => Assert.Equal("ext4", c.At));
    }

    [Theory]
    [InlineData("virtqueue_add", null, true)]
    [InlineData("anything", "virtio_net", true)]
    [InlineData("ext4_map_blocks", null, false)]
    [InlineData("anything", "dm_mod", false)]
    public void Drivers_are_known_by_module_or_by_name(string function, string? module, bool isDriver) => Assert.Equal(isDriver, FaultChoice.IsDriver(new FaultPlace(function, module, 4)));

    [Fact]
    public void Crashes_on_purpose_are_no_mistakes_that_anybody_makes() => Assert.DoesNotContain(FaultType.Panic, FaultChoice.Usual);
}
