using Panacea.Target;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Dumps;

/// <summary>Memory to dump.</summary>
public static class DumpMemories
{
    /// <summary>Two runs of RAM with a hole between them: pages of zeros, of noise, of text and of runs, by a seed.</summary>
    public static SparsePhysicalMemory Make(int seed, ulong lowPages = 40, ulong highPages = 24)
    {
        var memory = new SparsePhysicalMemory(new PhysicalRange(new PhysicalAddress(0), lowPages * 4096), new PhysicalRange(new PhysicalAddress(0x10_0000), highPages * 4096));
        var random = new Random(seed);
        byte[] page = new byte[4096];
        foreach (PhysicalRange range in memory.Ranges)
        {
            for (ulong at = range.Start.Value; at < range.End.Value; at += 4096)
            {
                switch (random.Next(4))
                {
                    case 0:
                        continue;
                    case 1:
                        random.NextBytes(page);
                        break;
                    case 2:
                        for (int i = 0; i < page.Length; i++)
                            page[i] = (byte)"the quick brown fox "[(i + seed) % 20];
                        break;
                    default:
                        for (int i = 0; i < page.Length;)
                        {
                            int run = Math.Min(random.Next(1, 400), page.Length - i);
                            page.AsSpan(i, run).Fill((byte)random.Next(256));
                            i += run;
                        }

                        break;
                }

                memory.Write(at, page);
            }
        }

        return memory;
    }
}
