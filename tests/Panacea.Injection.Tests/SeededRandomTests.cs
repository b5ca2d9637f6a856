namespace Panacea.Injection.Tests;

public sealed class SeededRandomTests
{
    [Fact]
    public void Numbers_are_the_same_on_every_machine()
    {
        // Written down once: a record of a fault names its seed, which has to mean the same for ever.
        var random = new SeededRandom(42, "place");
        Assert.Equal(Expected, Enumerable.Range(0, 3).Select(_ => random.Next()));
    }

    [Fact]
    public void Streams_do_not_depend_on_each_other()
    {
        var one = new SeededRandom(1, "a");
        var other = new SeededRandom(1, "b");
        ulong first = other.Next();
        _ = one.Next();
        Assert.NotEqual(first, one.Next());
        Assert.Equal(first, new SeededRandom(1, "b").Next());
    }

    [Fact]
    public void Each_number_is_as_likely_as_the_others()
    {
        var random = new SeededRandom(3, "");
        int[] counts = new int[7];
        for (int i = 0; i < 70_000; i++)
            counts[random.Below(7)]++;
        Assert.All(counts, c => Assert.InRange(c, 9_500, 10_500));
        Assert.Throws<ArgumentOutOfRangeException>(() => random.Below(0));
    }

    private static readonly ulong[] Expected = [3664689906264734015, 3532251004115680640, 17308193238603047817];
}
