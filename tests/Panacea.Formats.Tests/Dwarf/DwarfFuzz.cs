using Panacea.Formats.Dwarf;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.TestKit;

namespace Panacea.Formats.Tests.Dwarf;

/// <summary>The fuzz target of objects with debug information.</summary>
public static class DwarfFuzz
{
    private static readonly FormatLimits Small = FormatLimits.Default with { MaxUnpackedSectionBytes = 1 << 20, MaxElfTableBytes = 1 << 20, MaxDwarfWork = 1 << 20, MaxDwarfLines = 10_000, MaxDwarfRanges = 10_000 };

    /// <summary>An ELF object: whatever its bytes are, an address has a place or a reason why not.</summary>
    public static void Object(ReadOnlySpan<byte> data)
    {
        var bytes = new MemoryDumpBytes(data.ToArray());
        _ = DebugFile.BuildIdOf(bytes, Small);
        if (!DebugFile.TryOpen(bytes, Small, out DebugFile debug, out string whyNot))
        {
            if (whyNot.Length == 0)
                throw new InvalidOperationException("there is no reason");
            return;
        }

        using (debug)
        {
            _ = debug.TextAt("linux_banner");
            _ = debug.ModuleRelease();
            foreach (string name in (string[])["outer", "early", "trouble"])
            {
                foreach (ElfSymbol symbol in debug.Symbols.Find(name))
                {
                    foreach (ulong offset in (ulong[])[0, 9, 30])
                    {
                        if (debug.TryLocate(unchecked(symbol.Address + offset), out SourcePlace place, out whyNot) ? place.Inlined.Count > Small.MaxInlineDepth : whyNot.Length == 0)
                            throw new InvalidOperationException("an answer contradicts itself");
                    }
                }
            }
        }
    }

    /// <summary>Small objects of several shapes; none where gcc does not work.</summary>
    public static byte[][] Seeds()
    {
        using var directory = new TemporaryDirectory();
        string[] linked = ["-nostdlib", "-static", "-no-pie", "-Wl,-e,ct_int"];
        var seeds = new List<byte[]>();
        foreach (string[] options in (string[][])[["-gdwarf-5", "-c"], ["-gdwarf-5", .. linked], ["-gdwarf-4", "-ffunction-sections", .. linked], ["-gdwarf-5", "-gz=zlib", "-c"]])
        {
            if (Compiled.TryMake(directory, "seed.o", Compiled.Source, options).Path is { } path)
                seeds.Add(File.ReadAllBytes(path));
        }

        return [.. seeds];
    }
}
