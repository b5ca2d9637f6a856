using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using Panacea.Formats.Btf;
using Panacea.Formats.Elf;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Formats.Tests.Btf;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests;

/// <summary>The parsers over the bytes of every distribution kernel in the cache, against oracles that are not ours. Skipped, with the reason,
/// where there is no kernel.</summary>
public sealed partial class RealKernelTests
{
    private static readonly ConcurrentDictionary<string, Lazy<KernelImageFile>> Opened = new();

    public static TheoryData<string> Kernels => [.. KernelImageFile.Find().DefaultIfEmpty("")];

    private static KernelImageFile Open(string path)
    {
        Assert.SkipWhen(path.Length == 0, "no vmlinuz-* in the cache (nor under PANACEA_TEST_KERNELS)");
        return Opened.GetOrAdd(path, p => new Lazy<KernelImageFile>(() => KernelImageFile.Open(p))).Value;
    }

    private static SymbolTable Symbols(KernelImageFile kernel, out ulong text)
    {
        VmlinuxSection rodata = kernel.Sections[".rodata"];
        Assert.True(KallsymsLocator.TryLocate(rodata.Bytes.Span, rodata.Address, out KallsymsLayout layout, out string whyNot), whyNot);
        Assert.True(KallsymsReader.TryRead(rodata.Bytes.Span, rodata.Address, layout, FormatLimits.Default, out SymbolTable symbols, out text, out whyNot), whyNot);
        return symbols;
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Kallsyms_agree_with_the_kernels_sections_and_its_exported_symbols(string path)
    {
        KernelImageFile kernel = Open(path);
        SymbolTable symbols = Symbols(kernel, out ulong text);
        Assert.Equal(kernel.Sections[".text"].Address, text);
        foreach ((string name, string section) in ((string, string)[])[
            ("_text", ".text"), ("__start_rodata", ".rodata"), ("__start_BTF", ".BTF"), ("__start_notes", ".notes"),
            ("__start_orc_unwind_ip", ".orc_unwind_ip"), ("__start_orc_unwind", ".orc_unwind"), ("__start___ksymtab", "__ksymtab")])
        {
            Assert.True(symbols.TryFindAddress(name, text, out ulong address), name);
            Assert.Equal(kernel.Sections[section].Address, address);
        }

        // struct kernel_symbol: s32 value, s32 name, s32 namespace, each relative to itself (include/linux/export-internal.h).
        VmlinuxSection strings = kernel.Sections["__ksymtab_strings"];
        int exported = 0;
        foreach (string section in (string[])["__ksymtab", "__ksymtab_gpl"])
        {
            VmlinuxSection table = kernel.Sections[section];
            for (int at = 0; at < table.Bytes.Length; at += 12, exported++)
            {
                ReadOnlySpan<byte> entry = table.Bytes.Span[at..];
                ulong slot = table.Address + (ulong)at;
                ulong value = unchecked(slot + (ulong)BinaryPrimitives.ReadInt32LittleEndian(entry));
                ulong name = unchecked(slot + 4 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(entry[4..]));
                ReadOnlySpan<byte> text8 = strings.Bytes.Span[(int)(name - strings.Address)..];
                text8 = text8[..text8.IndexOf((byte)0)];
                bool found = false;
                foreach (Symbol symbol in symbols.FindAllByName(text8))
                    found |= symbol.AddressAt(text) == value || symbol.IsAbsolute && symbol.Value == value;
                Assert.True(found, $"{Encoding.UTF8.GetString(text8)} at 0x{value:x}");
            }
        }

        Assert.True(exported > 5000);
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_whole_image_is_searched_as_well_as_its_read_only_data(string path)
    {
        KernelImageFile kernel = Open(path);
        VmlinuxSection rodata = kernel.Sections[".rodata"];
        VmlinuxSection text = kernel.Sections[".text"];
        byte[] image = new byte[rodata.Address - text.Address + (ulong)rodata.Bytes.Length];
        text.Bytes.Span.CopyTo(image);
        rodata.Bytes.Span.CopyTo(image.AsSpan((int)(rodata.Address - text.Address)));
        Assert.True(KallsymsLocator.TryLocate(image, text.Address, out KallsymsLayout whole, out string whyNot), whyNot);
        Assert.True(KallsymsLocator.TryLocate(rodata.Bytes.Span, rodata.Address, out KallsymsLayout part, out whyNot), whyNot);
        Assert.Equal(part, whole);
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Orc_rows_say_that_functions_begin_with_the_return_address_on_the_stack(string path)
    {
        KernelImageFile kernel = Open(path);
        SymbolTable symbols = Symbols(kernel, out ulong text);
        VmlinuxSection ips = kernel.Sections[".orc_unwind_ip"];
        Assert.True(OrcFormat.TryDetect(kernel.Sections[".orc_unwind"].Bytes.Span, out OrcVersion version, out string whyNot), whyNot);
        Assert.True(OrcTable.TryCreate(ips.Bytes, kernel.Sections[".orc_unwind"].Bytes, ips.Address, version, FormatLimits.Default, out OrcTable orc, out whyNot), whyNot);
        Assert.True(kernel.Sections.ContainsKey(".orc_header") == version >= OrcVersion.V3);
        Assert.True(symbols.TryFindAddress("_etext", text, out ulong end));
        Assert.True(BtfData.TryBuild(kernel.Sections[".BTF"].Bytes, null, FormatLimits.Default, out BtfData btf, out whyNot), whyNot);

        int functions = 0, asExpected = 0;
        foreach (Symbol symbol in symbols.Enumerate())
        {
            ulong address = symbol.AddressAt(text);
            if (symbol.IsAbsolute || symbol.Type is not ('T' or 't') || address >= end || !btf.TryFind(symbols.NameBytes(symbol.Index), BtfKind.Func, out _))
                continue;
            functions++;
            if (orc.TryFind(address, out OrcEntry entry) && entry is { Type: OrcType.Call, SpRegister: OrcRegister.Sp, SpOffset: 8, Signal: false })
                asExpected++;
        }

        Assert.True(functions > 20_000, $"{functions} functions");
        Assert.True(asExpected > functions * 0.998, $"{asExpected} of {functions}");
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Btf_is_what_bpftool_says_type_by_type(string path)
    {
        KernelImageFile kernel = Open(path);
        Assert.True(BtfData.TryBuild(kernel.Sections[".BTF"].Bytes, null, FormatLimits.Default, out BtfData btf, out string whyNot), whyNot);
        using TextReader expected = new StringReader(Bpftool(kernel, "raw"));
        for (uint id = 1; id < btf.EndId; id++)
        {
            foreach (string line in BtfRawDump.Lines(btf.GetType(id)))
            {
                string wanted = expected.ReadLine() ?? "(end)";
                if (wanted != line && !(line.EndsWith("linkage=", StringComparison.Ordinal) && wanted.StartsWith(line, StringComparison.Ordinal)))
                    Assert.Equal(wanted, line);
            }
        }

        Assert.Null(expected.ReadLine());
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Structs_read_as_bpftool_writes_them(string path)
    {
        KernelImageFile kernel = Open(path);
        Assert.True(BtfData.TryBuild(kernel.Sections[".BTF"].Bytes, null, FormatLimits.Default, out BtfData btf, out string whyNot), whyNot);
        int compared = 0;
        var different = new List<string>();
        foreach (Match block in Definition().Matches(Bpftool(kernel, "c")))
        {
            // Names with three underscores are bpftool's own, for several types of one name.
            if (block.Value.Contains("___", StringComparison.Ordinal)
                || !btf.TryFind(block.Groups[2].Value, block.Groups[1].Value == "struct" ? BtfKind.Struct : BtfKind.Union, out BtfType type))
                continue;
            string wanted = Padding().Replace(Attributes().Replace(block.Value, ""), "").Replace("{\n}", "{}", StringComparison.Ordinal);
            string ours = BtfFormatter.Format(type) + "\n";
            if (wanted != ours)
                different.Add(wanted + ours);
            compared++;
        }

        Assert.True(different.Count == 0, $"{different.Count} of {compared} differ:\n{string.Join('\n', different.Take(4))}");
        Assert.True(compared > 5000, $"{compared} compared");
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void The_notes_hold_a_build_id(string path)
    {
        Assert.True(ElfNotes.TryRead(Open(path).Sections[".notes"].Bytes, out _, out string whyNot), whyNot);
        Assert.True(ElfNotes.TryFindBuildId(Open(path).Sections[".notes"].Bytes, out ReadOnlyMemory<byte> id));
        Assert.Equal(20, id.Length);
    }

    private static string Bpftool(KernelImageFile kernel, string format)
    {
        string? bpftool = ((string[])["/usr/sbin/bpftool", "/usr/bin/bpftool", "/sbin/bpftool"]).FirstOrDefault(File.Exists);
        Assert.SkipWhen(bpftool is null, "bpftool is not installed");
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(file, kernel.Sections[".BTF"].Bytes.ToArray());
            using Process process = Process.Start(new ProcessStartInfo(bpftool!, ["btf", "dump", "file", file, "format", format]) { RedirectStandardOutput = true })!;
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
            return output;
        }
        finally
        {
            File.Delete(file);
        }
    }

    [GeneratedRegex(@"^(struct|union) (\w+) \{\n(?:\t.*\n)*\}.*;\n", RegexOptions.Multiline)]
    private static partial Regex Definition();

    [GeneratedRegex(@" ?__attribute__\(\(.*?\)\)")]
    private static partial Regex Attributes();

    [GeneratedRegex(@"^\t+(?:long|int|short|char|long long)?(?: unsigned| int)?: \d+;\n", RegexOptions.Multiline)]
    private static partial Regex Padding();
}
