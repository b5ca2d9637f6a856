using Panacea.Formats.Dwarf;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.TestKit;

namespace Panacea.Formats.Tests.Dwarf;

/// <summary>Lines and inlined functions of objects that gcc makes, against what addr2line says of the same addresses.</summary>
public sealed class DebugFileTests : IDisposable
{
    private static readonly string[] Linked = ["-nostdlib", "-static", "-no-pie", "-Wl,-e,ct_int", "-Wl,--build-id=0x0102030405060708090a0b0c0d0e0f1011121314"];
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Options of gcc, whether it is linked, and sections that are taken out afterwards.</summary>
    public static TheoryData<string, bool, string> Shapes => new()
    {
        { "-gdwarf-5", true, "" },
        { "-gdwarf-4", true, "" },
        { "-gdwarf-5 -gdwarf64", true, "" },
        { "-gdwarf-3 -gno-strict-dwarf", true, "" },
        { "-gdwarf-5 -ffunction-sections", true, "" },
        { "-gdwarf-5 -gz=zlib", true, "" },

        // Without its index, the units themselves are asked.
        { "-gdwarf-5", true, ".debug_aranges" },
        { "-gdwarf-4 -ffunction-sections", true, ".debug_aranges" },

        // A module: what points from one section to another is left to relocations.
        { "-gdwarf-5 -c", false, "" },
        { "-gdwarf-4 -c", false, "" },
        { "-gdwarf-5 -c -gz=zlib", false, "" },
        { "-gdwarf-5 -c -ffunction-sections", false, "" },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Lines_and_inlined_functions_are_those_of_addr2line(string options, bool linked, string without)
    {
        string path = Make([.. options.Split(' '), .. linked ? Linked : []]);
        if (without.Length > 0)
            Assert.Equal(0, Compiled.Run("objcopy", ["--remove-section", without, path], _directory.Path, "").Code);

        // binutils 2.40 tells no lines of 64-bit DWARF: it is asked about the same code with the other.
        string asked = options.Contains("dwarf64", StringComparison.Ordinal) ? Make([.. options.Split(' ').Where(o => o != "-gdwarf64"), .. Linked], name: "asked.o") : path;
        using var opened = new Opened(path);
        int compared = 0, deepest = 0;
        foreach (ElfSection code in opened.Elf.Sections.Where(s => s.IsCode && s.Size > 0))
        {
            ulong[] offsets = [.. Enumerable.Range(0, (int)code.Size).Select(i => (ulong)i)];
            var says = Compiled.AddressesToLines(asked, [.. offsets.Select(o => linked ? code.Address + o : o)], linked ? null : code.Name);
            Assert.SkipWhen(says is null, "no addr2line");
            for (int i = 0; i < offsets.Length; i++)
            {
                // Between functions addr2line guesses by the symbol before; there is nothing to say.
                if (!opened.Debug.TryLocate(code.Address + offsets[i], out SourcePlace place, out _) || place.Function is null)
                    continue;
                List<(string, string)> ours = [.. place.Inlined.Select(c => (c.Function!, Short(c.Source?.ToString()))), (place.Function, Short(place.Source?.ToString()))];
                Assert.Equal([.. says![i].Select(s => (s.Function, Short(s.Place)))], ours);
                compared++;
                deepest = Math.Max(deepest, place.Inlined.Count);
            }
        }

        Assert.True(compared > 150, $"only {compared} addresses were compared");
        Assert.Equal(2, deepest);
    }

    /// <summary>ELFCOMPRESS_ZSTD, which binutils has had since 2.40: objcopy packs, and what is read must be what was there before.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_zstd_has_compressed_says_the_same(bool linked)
    {
        (string path, string packed) = Packed(linked);
        using var plain = new Opened(path);
        using var opened = new Opened(packed);
        Assert.Contains(opened.Elf.Sections, s => s is { Name: ".debug_info", IsCompressed: true });
        int compared = 0;
        foreach (ElfSection code in plain.Elf.Sections.Where(s => s.IsCode && s.Size > 0))
        {
            for (ulong address = code.Address; address < code.Address + code.Size; address++)
            {
                bool found = plain.Debug.TryLocate(address, out SourcePlace place, out string whyNot);
                Assert.Equal((found, found ? "" : whyNot), (opened.Debug.TryLocate(address, out SourcePlace again, out string whyNotAgain), found ? "" : whyNotAgain));
                if (found)
                    Assert.Equal((place.Function, place.Source, string.Join(' ', place.Inlined)), (again.Function, again.Source, string.Join(' ', again.Inlined)));
                compared += found ? 1 : 0;
            }
        }

        Assert.True(compared > 150, $"only {compared} addresses were compared");
    }

    [Fact]
    public void What_zstd_cannot_unpack_is_said()
    {
        (_, string packed) = Packed(linked: true);
        byte[] bytes = File.ReadAllBytes(packed);
        ElfSection info;
        using (var opened = new Opened(packed))
            info = opened.Elf.Sections.Single(s => s.Name == ".debug_info");

        // The mark of the frame, bytes within it, more promised than there is, and another way of compressing.
        foreach (int at in (int[])[24, 24 + 12, 24 + 20, 8, 10, 0])
        {
            byte[] damaged = [.. bytes];
            damaged[(int)info.Offset + at] ^= 0x7f;
            Assert.True(DebugFile.TryOpen(new MemoryDumpBytes(damaged), FormatLimits.Default, out DebugFile debug, out _));
            using (debug)
            {
                bool found = debug.TryLocate(debug.Symbols.Find("outer")[0].Address, out _, out string whyNot);
                Assert.True(found || whyNot.Length > 0);
                Assert.True(at is not (24 or 0) || (!found && whyNot.Contains(".debug_info", StringComparison.Ordinal)), $"{at}: {whyNot}");
            }
        }
    }

    /// <summary>An object, and the same with its debug sections compressed by zstd.</summary>
    private (string Plain, string Packed) Packed(bool linked)
    {
        string path = Make(["-gdwarf-5", .. linked ? Linked : ["-c"]]), packed = _directory.File("packed.o");
        Assert.SkipWhen(Compiled.Run("objcopy", ["--compress-debug-sections=zstd", path, packed], _directory.Path, "").Code != 0, "this objcopy has no zstd");
        return (path, packed);
    }

    [Fact]
    public void A_build_id_a_symbol_and_a_text_are_found()
    {
        string path = Make(["-gdwarf-5", .. Linked], Compiled.Source + "\nconst char linux_banner[] = \"Linux version 6.1 (me)\\n\";\n");
        using var opened = new Opened(path);
        Assert.Equal("0102030405060708090a0b0c0d0e0f1011121314", opened.Debug.BuildId);
        Assert.Equal(opened.Debug.BuildId, DebugFile.BuildIdOf(new MemoryDumpBytes(File.ReadAllBytes(path)), FormatLimits.Default));
        Assert.Equal("Linux version 6.1 (me)\n", opened.Debug.TextAt("linux_banner"));
        Assert.Null(opened.Debug.TextAt("no_such_symbol"));
        ElfSymbol outer = Assert.Single(opened.Debug.Symbols.Find("outer"));
        Assert.True(outer.Size > 0 && outer.Room >= outer.Size);
        Assert.True(opened.Debug.TryLocate(outer.Address, out SourcePlace place, out _));
        Assert.Equal(("outer", "fixture.c"), (place.Function, place.Source?.File));
    }

    [Fact]
    public void A_file_of_debug_information_alone_serves_as_well()
    {
        string path = Make(["-gdwarf-5", .. Linked]), alone = _directory.File("alone.debug");
        Assert.Equal(0, Compiled.Run("objcopy", ["--only-keep-debug", path, alone], _directory.Path, "").Code);
        using var whole = new Opened(path);
        using var opened = new Opened(alone);
        Assert.Equal(whole.Debug.BuildId, opened.Debug.BuildId);
        ulong address = whole.Debug.Symbols.Find("outer")[0].Address + 4;
        Assert.True(opened.Debug.TryLocate(address, out SourcePlace place, out string whyNot), whyNot);
        Assert.Equal("outer", place.Function);
        Assert.Null(opened.Debug.TextAt("linux_banner"));
    }

    [Fact]
    public void What_is_no_object_and_what_has_no_debug_information_is_said()
    {
        Assert.False(DebugFile.TryOpen(new MemoryDumpBytes("hello"u8.ToArray()), FormatLimits.Default, out _, out string whyNot));
        Assert.Equal("it is no ELF file", whyNot);
        using var opened = new Opened(Make(["-g0", .. Linked]));
        Assert.False(opened.Debug.HasDebugInformation);
        Assert.False(opened.Debug.TryLocate(opened.Debug.Symbols.Find("outer")[0].Address, out _, out whyNot));
        Assert.Equal("no unit of its debug information covers the address", whyNot);
    }

    /// <summary>Lists that all entries share must not be read again and again without end.</summary>
    [Fact]
    public void One_question_has_a_ceiling()
    {
        using var opened = new Opened(Make(["-gdwarf-5", .. Linked]), FormatLimits.Default with { MaxDwarfWork = 100 });
        Assert.False(opened.Debug.TryLocate(opened.Debug.Symbols.Find("outer")[0].Address, out _, out string whyNot));
        Assert.Equal("its debug information leads to too much work", whyNot);
    }

    [Theory]
    [InlineData("fs/./a.c", null, "fs/a.c")]
    [InlineData("kernel/bpf/../../tools/lib/x.c", "/build", "tools/lib/x.c")]
    [InlineData("/build/linux/fs/a.c", "/build/linux", "fs/a.c")]
    [InlineData("/build/linuxes/fs/a.c", "/build/linux", "/build/linuxes/fs/a.c")]
    [InlineData("../../fs/a.c", "/x", "../../fs/a.c")]
    [InlineData("/../a//b.c", "", "/a/b.c")]
    public void Paths_are_tidied(string path, string? directory, string tidy) => Assert.Equal(tidy, SourcePaths.Tidy(path, directory));

    private string Make(string[] options, string source = Compiled.Source, string name = "fixture.o")
    {
        (string? path, string said) = Compiled.TryMake(_directory, name, source, options);
        Assert.SkipWhen(path is null, $"gcc does not make it here: {said}");
        return path!;
    }

    /// <summary>Directories are written in several ways; the name and the line tell.</summary>
    private static string Short(string? place) => place is null ? "??:0" : place[(place.LastIndexOf('/') + 1)..];

    private sealed class Opened : IDisposable
    {
        private readonly FileDumpBytes _bytes;

        public Opened(string path, FormatLimits? limits = null)
        {
            _bytes = new FileDumpBytes(path);
            Assert.True(DebugFile.TryOpen(_bytes, limits ?? FormatLimits.Default, out DebugFile debug, out string whyNot), whyNot);
            Assert.True(ElfObject.TryRead(_bytes, FormatLimits.Default, out ElfObject elf, out _));
            (Debug, Elf) = (debug, elf);
        }

        public DebugFile Debug { get; }

        public ElfObject Elf { get; }

        public void Dispose()
        {
            Debug.Dispose();
            _bytes.Dispose();
        }
    }
}
