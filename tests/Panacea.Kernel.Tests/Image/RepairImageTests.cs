using System.Text;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Image;

public sealed class RepairImageTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    /// <summary>The header of the symbols says where they end: wherever that is, a question about an address has an answer, or the image is refused.</summary>
    [Fact]
    public void Symbols_that_end_anywhere_are_looked_up_or_refused()
    {
        using var g = new KernelGuest();
        ImageContainer.Section[] sections = [.. g.Image.Sections];
        int at = Array.FindIndex(sections, s => s.Kind == ImageSection.Symbols0 && s.Owner == 0);
        byte[] header = sections[at].Bytes.ToArray();
        for (int word = 0; word + 8 <= header.Length; word += 4)
        {
            byte[] bad = [.. header];
            BitConverter.TryWriteBytes(bad.AsSpan(word), ulong.MaxValue);
            sections[at] = sections[at] with { Bytes = bad };
            Exception? e = Record.Exception(() =>
            {
                using RepairImage image = RepairImage.FromSections(sections);
                _ = image.Symbolize(g.Guest.TextBase + 0x1003);
                _ = image.TryFindFunction(ulong.MaxValue, out _);
            });
            Assert.True(e is null or RepairImageException or InvalidDataException, e?.ToString());
        }
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void An_image_says_what_the_kernel_is(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(Options(shape, levels));
        ImageMeta meta = g.Image.Meta;
        Assert.Equal(g.Guest.Release, meta.Release);
        Assert.StartsWith($"Linux version {g.Guest.Release} (builder@host)", meta.Banner);
        Assert.Equal(Convert.ToHexStringLower(g.Guest.BuildId), meta.BuildId);
        Assert.Equal((g.Guest.TextBase, g.Guest["_etext"]), (meta.TextStart, meta.TextEnd));
        Assert.Equal((g.Guest.Tables.Root.Value, levels), (meta.RootPhysical, meta.PagingLevels));
        Assert.Equal([g.Guest.PerCpuBase(0), g.Guest.PerCpuBase(1)], meta.PerCpuBases);
        Assert.Equal(shape == KernelShape.Linux61 ? OrcVersion.V1 : OrcVersion.V3, meta.OrcVersion);
        Assert.Equal([("oops_end", g.Guest["oops_end"], 5), ("panic", g.Guest["panic"], 5)], meta.DeathPoints.Select(p => (p.Symbol, p.Address, p.EntryNopLength)));
        Assert.Contains($"KERNELOFFSET={g.Guest.Options.Kaslr:x}", meta.VmcoreInfo);
        Assert.Empty(meta.Without);
        Assert.Equal(4096, g.Image.TrapTable.Length);
        Assert.Equal(0x8e00_0000_0010_0000UL, BitConverter.ToUInt64(g.Image.TrapTable.Span));
        Assert.True(g.Image.SymbolCount > 520);
        Assert.True(g.Image.OrcCount > 60);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Symbols_functions_and_per_cpu_variables_are_found(KernelShape shape)
    {
        using var g = new KernelGuest(Options(shape));
        Assert.True(g.Image.TryFindSymbol("vfs_write", out ulong address));
        Assert.Equal(g.Guest["vfs_write"], address);
        Assert.False(g.Image.TryFindSymbol("runqueues", out _), "a per-CPU variable has no address of its own");
        Assert.False(g.Image.TryFindSymbol("vfs_writ", out _));
        Assert.True(g.Image.TryFindPerCpuSymbol("runqueues", out ulong offset));
        Assert.Equal(g.Guest.PerCpu("runqueues", 1), offset + g.Guest.PerCpuBase(1));
        Assert.Equal("this kernel has no per-CPU variable no_such", Assert.Throws<KernelShapeException>(() => g.Image.PerCpuSymbol("no_such")).Message);

        Assert.Equal($"vfs_write+0x7/0x{SyntheticText.SlotBytes:x}", g.Image.Symbolize(address + 7)?.ToString());
        Assert.Null(g.Image.Symbolize(g.Guest.TextBase - 1));
        Assert.Null(g.Image.Symbolize(0));
        Assert.Null(g.Image.Symbolize(ulong.MaxValue));
        Assert.True(g.Image.TryFindFunction(address + 9, out FunctionRange function));
        Assert.Equal(new FunctionRange(address, address + SyntheticText.SlotBytes, "vfs_write"), function);
        Assert.False(g.Image.TryFindFunction(g.Guest["modules"], out _), "data is no function");
        Assert.True(g.Image.IsText(g.Guest.TextBase));
        Assert.False(g.Image.IsText(g.Guest["_etext"]));
    }

    [Fact]
    public void Pristine_text_is_what_it_was_and_nothing_beyond_it()
    {
        using var g = new KernelGuest();
        byte[] before = new byte[16], now = new byte[16];
        g.Guest.Space.Read(new VirtualAddress(g.Guest["ct_int"]), before, "text");
        g.Guest.Write(g.Guest["ct_int"], 0xcc, 0xcc);
        Assert.True(g.Image.TryReadCode(g.Guest["ct_int"], now));
        Assert.Equal(before, now);
        Assert.True(g.Image.TryReadCode(g.Guest["_etext"] - 16, now));
        Assert.False(g.Image.TryReadCode(g.Guest["_etext"] - 15, now));
        Assert.False(g.Image.TryReadCode(g.Guest.TextBase - 1, now));
        Assert.False(g.Image.TryReadCode(ulong.MaxValue - 3, now));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void A_module_has_its_own_symbols_text_and_unwind_rows(KernelShape shape)
    {
        SyntheticModule? one = null, two = null;
        using var g = new KernelGuest(Options(shape), k => (one, two) = (k.AddModule("first"), k.AddModule("second", t => t.Add("other", KernelBody).Add("ctm_write", KernelBody))));
        Assert.Equal(["first", "second"], g.Image.Meta.Modules.Select(m => m.Name).Order());
        ulong at = one!.Text["ctm_write:fault"];
        Assert.StartsWith($"ctm_write+0x{at - one.TextStart:x}/", g.Image.Symbolize(at)?.ToString());
        Assert.Equal("first", g.Image.Symbolize(at)?.Module);
        Assert.Equal("second", g.Image.ModuleOf(two!.Text["other"])?.Name);
        Assert.True(g.Image.IsText(at));
        Assert.True(g.Image.TryFind(at, out OrcEntry row));
        Assert.Equal((OrcRegister.Sp, 16), (row.SpRegister, row.SpOffset));
        byte[] code = new byte[4], live = new byte[4];
        Assert.True(g.Image.TryReadCode(at, code));
        g.Guest.Space.Read(new VirtualAddress(at), live, "text");
        Assert.Equal(live, code);
        Assert.Equal([("first", one.TextStart), ("second", two.Text["ctm_write"])], g.Image.FindAll("ctm_write").Select(f => (f.Module, f.Address)).OrderBy(f => f.Module));
        Assert.False(g.Image.TryTypesFor("first", out _), "this module has no BTF");
        Assert.True(g.Image.TryTypesFor(null, out _));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Saved_and_opened_it_answers_the_same(KernelShape shape)
    {
        using var g = new KernelGuest(Options(shape), k => k.AddModule("crashtest"));
        string file = _directory.File("a.rimg");
        Assert.Equal(g.Image.Save(file), new FileInfo(file).Length);
        using RepairImage again = RepairImage.Open(file, _directory.File("cache"));
        Assert.Equal(g.Image.Id, again.Id);
        Assert.Equal(g.Image.Sections.Select(s => (s.Kind, s.Owner, Convert.ToHexString(s.Bytes.Span))), again.Sections.Select(s => (s.Kind, s.Owner, Convert.ToHexString(s.Bytes.Span))));
        Assert.Equal(g.Guest.Tasks.Count, Kernel.Subsystems.Tasks.Enumerate(again.KernelOver(g.Guest.Memory), TargetLimits.Default).Count);
        Assert.True(again.Types.TryMember("task_struct.comm", out _));
    }

    /// <summary>Documents that a hand may have written: right checksums, wrong content.</summary>
    [Theory]
    [InlineData("no document at all", "\"release\"", "}{")]
    [InlineData("null document", null, "null")]
    [InlineData("no modules", "\"modules\":[]", "\"modules\":null")]
    [InlineData("no death points", "\"death_points\":[", "\"death_points\":null,\"x\":[")]
    [InlineData("null among the death points", "\"death_points\":[", "\"death_points\":[null,")]
    [InlineData("no CPUs", "\"per_cpu_bases\":[", "\"per_cpu_bases\":null,\"x\":[")]
    [InlineData("three levels", "\"paging_levels\":4", "\"paging_levels\":3")]
    [InlineData("a module that is the kernel", "\"modules\":[]", "\"modules\":[{\"owner\":0,\"name\":\"x\",\"address\":1,\"taints\":0,\"memory\":[],\"orc_ips_address\":0}]")]
    [InlineData("a module without memory", "\"modules\":[]", "\"modules\":[{\"owner\":1,\"name\":\"x\",\"address\":1,\"taints\":0,\"memory\":null,\"orc_ips_address\":0}]")]
    [InlineData("a module without a name", "\"modules\":[]", "\"modules\":[{\"owner\":1,\"name\":null,\"address\":1,\"taints\":0,\"memory\":[],\"orc_ips_address\":0}]")]
    [InlineData("null among the modules", "\"modules\":[]", "\"modules\":[null]")]
    [InlineData("text that ends before it begins", "\"text_end\":", "\"text_end\":1,\"x\":")]
    public void An_identity_that_makes_no_sense_is_refused(string what, string? from, string to)
    {
        using var g = new KernelGuest();
        List<ImageContainer.Section> sections = [.. g.Image.Sections];
        string json = Encoding.UTF8.GetString(sections[0].Bytes.Span);
        Assert.True(from is null || json.Contains(from), json);
        sections[0] = sections[0] with { Bytes = Encoding.UTF8.GetBytes(from is null ? to : json.Replace(from, to)) };
        foreach (int? level in (int?[])[null, 3])
        {
            ImageContainer.Write(_directory.File("bad.rimg"), sections, level);
            RepairImageException e = Assert.Throws<RepairImageException>(() => RepairImage.Open(_directory.File("bad.rimg"), _directory.Path));
            Assert.True(e.Message.Contains("build it again"), $"{what}: {e.Message}");
        }
    }

    [Theory]
    [InlineData(ImageSection.Meta)]
    [InlineData(ImageSection.Symbols1)]
    [InlineData(ImageSection.Symbols3)]
    [InlineData(ImageSection.OrcRows)]
    [InlineData(ImageSection.BtfTypeIndex)]
    public void A_table_that_is_missing_or_cut_is_refused(ImageSection kind)
    {
        using var g = new KernelGuest();
        List<ImageContainer.Section> without = [.. g.Image.Sections.Where(s => s.Kind != kind)];
        List<ImageContainer.Section> cut = [.. g.Image.Sections.Select(s => s.Kind == kind ? s with { Bytes = s.Bytes[..^1] } : s)];
        foreach (List<ImageContainer.Section> sections in (List<ImageContainer.Section>[])[without, cut])
        {
            ImageContainer.Write(_directory.File("bad.rimg"), sections, null);
            Assert.Throws<RepairImageException>(() => RepairImage.Open(_directory.File("bad.rimg"), _directory.Path));
        }
    }

    [Fact]
    public void The_cache_keeps_nothing_and_is_nobody_elses_business()
    {
        string cache = _directory.File("cache");
        using (RepairImage image = KernelGuest.Build(new SyntheticKernel(), cache))
        {
            Assert.Empty(Directory.GetFiles(cache));
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, System.IO.File.GetUnixFileMode(cache));
            Assert.True(image.TryFindSymbol("panic", out _));
        }
    }

    public void Dispose() => _directory.Dispose();

    internal static SyntheticKernelOptions Options(KernelShape shape, int levels = 4) =>
        new() { Shape = shape, Mode = (Panacea.Target.Paging.PagingMode)levels };

    private static void KernelBody(FunctionWriter w) => w.Frame(() => w.A.nop());
}
