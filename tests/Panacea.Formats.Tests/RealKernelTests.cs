using System.Diagnostics;
using System.Text;
using Panacea.Formats.Btf;
using Panacea.Formats.Elf;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests;

/// <summary>The parsers over the bytes of every distribution kernel in the cache. Skipped, with the reason, where there is none.</summary>
public sealed class RealKernelTests
{
    public static TheoryData<string> Kernels => [.. KernelImageFile.Find().DefaultIfEmpty("")];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Kallsyms_orc_btf_and_notes_of_a_real_kernel_agree(string path)
    {
        Assert.SkipWhen(path.Length == 0, "no vmlinuz-* in the cache (nor under PANACEA_TEST_KERNELS)");
        KernelImageFile kernel = KernelImageFile.Open(path);
        Stopwatch w = Stopwatch.StartNew();
        void Mark(string what) { TestContext.Current.TestOutputHelper!.WriteLine($"{what}: {w.Elapsed.TotalMilliseconds:f1} ms"); w.Restart(); }

        VmlinuxSection rodata = kernel.Sections[".rodata"];
        Assert.True(KallsymsLocator.TryLocate(rodata.Bytes.Span, rodata.Address, out KallsymsLayout layout, out string whyNot), whyNot);
        Mark("locate " + layout);
        Assert.True(KallsymsReader.TryRead(rodata.Bytes.Span, rodata.Address, layout, FormatLimits.Default, out SymbolTable symbols, out ulong text, out whyNot), whyNot);
        Mark($"expand {symbols.Count} {symbols.AbsoluteCount} abs, base {text:x}");
        Assert.True(symbols.TryFindAddress("_text", text, out ulong found));
        Assert.Equal(kernel.Sections[".text"].Address, found);
        Assert.Equal(found, text);

        VmlinuxSection ips = kernel.Sections[".orc_unwind_ip"];
        VmlinuxSection rows = kernel.Sections[".orc_unwind"];
        Assert.True(symbols.TryFindAddress("__start_orc_unwind_ip", text, out found));
        Assert.Equal(ips.Address, found);
        w.Restart();
        Assert.True(OrcFormat.TryDetect(rows.Bytes.Span, out OrcVersion version, out whyNot), whyNot);
        Mark("detect " + version);
        Assert.True(OrcTable.TryCreate(ips.Bytes, rows.Bytes, ips.Address, version, FormatLimits.Default, out OrcTable orc, out whyNot), whyNot);
        Mark($"orc {orc.Count} rows");

        VmlinuxSection types = kernel.Sections[".BTF"];
        w.Restart();
        Assert.True(BtfData.TryBuild(types.Bytes, null, FormatLimits.Default, out BtfData btf, out whyNot), whyNot);
        Mark($"btf {btf.EndId} types");
        Assert.True(btf.TryFindMember("task_struct", "thread.sp", out BtfMemberLocation sp));
        Mark("member " + sp);
        Assert.True(btf.TryFind("list_head", BtfKind.Struct, out BtfType listHead));
        TestContext.Current.TestOutputHelper!.WriteLine(BtfFormatter.Format(listHead, true));
        Assert.True(btf.TryFindFunction("oops_end", out BtfFunction f));
        TestContext.Current.TestOutputHelper!.WriteLine(BtfFormatter.Format(f.Function));
        Assert.True(ElfNotes.TryFindBuildId(kernel.Sections[".notes"].Bytes, out ReadOnlyMemory<byte> id));
        Assert.Equal(20, id.Length);
    }
}
