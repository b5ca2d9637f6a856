namespace Panacea.Target.Dump.Tests;

public sealed class PageCacheTests
{
    private sealed class Source : IPageSource
    {
        public List<ulong> Asked { get; } = [];

        public HashSet<ulong> Lost { get; } = [];

        public MemoryFaultKind? Read(ulong page, Span<byte> destination)
        {
            Asked.Add(page);
            destination.Fill(unchecked((byte)page));
            return Lost.Contains(page) ? MemoryFaultKind.NotCaptured : null;
        }
    }

    [Fact]
    public void A_page_is_asked_for_once()
    {
        var source = new Source();
        var cache = new PageCache(source, 1 << 20);
        byte[] bytes = new byte[3];
        for (int i = 0; i < 10; i++)
            Assert.Null(cache.Read(5, i, bytes));
        Assert.Equal([5UL], source.Asked);
        Assert.Equal([5, 5, 5], bytes);
    }

    [Fact]
    public void It_stays_within_its_size_and_is_right_all_the_time()
    {
        var source = new Source();
        var cache = new PageCache(source, 64 * 4096);
        var random = new Random(1);
        byte[] bytes = new byte[8];
        for (int i = 0; i < 20_000; i++)
        {
            ulong page = (ulong)random.Next(200);
            if (random.Next(100) == 0)
                source.Lost.Add(1000 + page);
            if (random.Next(20) == 0)
            {
                Assert.Equal(source.Lost.Contains(1000 + page) ? MemoryFaultKind.NotCaptured : null, cache.Read(1000 + page, 0, bytes));
                continue;
            }

            Assert.Null(cache.Read(page, random.Next(4088), bytes));
            Assert.All(bytes, b => Assert.Equal((byte)page, b));
            Assert.InRange(cache.Pages, 0, 64);
        }
    }

    [Fact]
    public void A_page_in_use_outlives_pages_that_pass_through()
    {
        var source = new Source();
        var cache = new PageCache(source, 64 * 4096);
        byte[] bytes = new byte[1];
        for (ulong page = 0; page < 1000; page++)
        {
            Assert.Null(cache.Read(5000, 0, bytes));
            Assert.Null(cache.Read(page, 0, bytes));
        }

        Assert.Equal(1, source.Asked.Count(p => p == 5000));
    }

    [Fact]
    public void A_page_that_can_t_be_read_is_not_kept()
    {
        var source = new Source { Lost = { 7 } };
        var cache = new PageCache(source, 64 * 4096);
        byte[] bytes = new byte[1];
        Assert.Equal(MemoryFaultKind.NotCaptured, cache.Read(7, 0, bytes));
        Assert.Equal(0, cache.Pages);
        source.Lost.Clear();
        Assert.Null(cache.Read(7, 0, bytes));
    }
}
