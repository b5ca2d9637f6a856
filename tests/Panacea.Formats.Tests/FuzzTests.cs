using System.Text;
using Panacea.Formats.Btf;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Formats.Tests.Btf;
using Panacea.Formats.Tests.Dwarf;
using Panacea.TestKit.Formats;
using Panacea.TestKit.Fuzzing;

namespace Panacea.Formats.Tests;

/// <summary>Every parser over damaged inputs.</summary>
public sealed class FuzzTests
{
    private delegate void Target(ReadOnlySpan<byte> data);

    public static TheoryData<string> Targets => [.. All.Keys];

    private static readonly Dictionary<string, (Target Target, Func<byte[][]> Seeds)> All = new()
    {
        [nameof(FuzzTargets.Kallsyms)] = (FuzzTargets.Kallsyms, KallsymsSeeds),
        [nameof(FuzzTargets.SymbolSections)] = (FuzzTargets.SymbolSections, SymbolSeeds),
        [nameof(FuzzTargets.Btf)] = (FuzzTargets.Btf, () => [BtfDataTests.Kernel().Build()]),
        [nameof(FuzzTargets.SplitBtf)] = (FuzzTargets.SplitBtf, () => [Split()]),
        [nameof(FuzzTargets.BtfSections)] = (FuzzTargets.BtfSections, BtfSectionSeeds),
        [nameof(FuzzTargets.RelocatedBtf)] = (FuzzTargets.RelocatedBtf, RelocatedSeeds),
        [nameof(FuzzTargets.Orc)] = (FuzzTargets.Orc, OrcSeeds),
        [nameof(FuzzTargets.Vmcoreinfo)] = (FuzzTargets.Vmcoreinfo, () => [Encoding.UTF8.GetBytes("OSRELEASE=6.1\nSYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=-1\nSIZE(page)=64\nOFFSET(a.b)=1\nBUILD-ID=abcd\nKERNELOFFSET=0\n")]),
        [nameof(FuzzTargets.ConsoleLog)] = (FuzzTargets.ConsoleLog, LogSeeds),
        [nameof(DwarfFuzz)] = (DwarfFuzz.Object, DwarfFuzz.Seeds),
        [nameof(FuzzTargets.Notes)] = (FuzzTargets.Notes, () => [[4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, 1, 2, 3, 4, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, (byte)'X', 0, 0, 0]]),
    };

    [Theory]
    [MemberData(nameof(Targets))]
    public void Mutated_inputs_end_in_a_result_or_a_typed_failure(string name)
    {
        (Target target, Func<byte[][]> seeds) = All[name];
        byte[][] corpus = seeds();
        var mutator = new ByteMutator();

        // Of BTF, the text of hundreds of types is written, one after the other.
        var ceilings = new FuzzCeilings { MaxBytes = name.Contains("Btf", StringComparison.Ordinal) ? 512 << 20 : 64 << 20 };
        Fuzzer.RunInputs(name, data => target(data), corpus, random => mutator.Mutate(corpus, random), ceilings);
    }

    private static byte[][] LogSeeds() => [.. ((string[])["kasan-use-after-free", "lockdep-circular", "cgroup-oom", "interleaved-caller-ids", "machine-check"]).Select(n =>
        File.ReadAllBytes(Path.Combine(RepositoryRoot(), "tests/Panacea.Formats.Tests/ConsoleLog/Samples/made", n + ".log")))];

    private static string RepositoryRoot()
    {
        string? at = AppContext.BaseDirectory;
        while (at is not null && !File.Exists(Path.Combine(at, "Panacea.slnx")))
            at = Path.GetDirectoryName(at);
        return at ?? throw new DirectoryNotFoundException("Panacea.slnx is not above the tests: run them from the source tree");
    }

    private static byte[][] KallsymsSeeds() =>
        [.. Enum.GetValues<SyntheticKallsymsOrder>().Select(o => new SyntheticKallsyms { Order = o, AbsolutePerCpu = o == 0 }.AddMany(530).Build())];

    private static byte[][] SymbolSeeds()
    {
        var builder = new SymbolTableBuilder();
        for (int i = 0; i < 40; i++)
            builder.Add(i < 5 ? (ulong)i : FuzzTargets.ImageBase + (ulong)i * 16, 'T', $"symbol_{i % 30}", absolute: i < 5);
        Assert.True(builder.TryBuild(0, out SymbolTable table, out _, out _));
        SymbolTableSections s = table.Sections;
        return [FuzzTargets.Join(s.Header, s.Values, s.Types, s.NameOffsets, s.Names, s.NameIndex)];
    }

    private static byte[] Split()
    {
        BtfData kernel = BtfDataTests.Build(BtfDataTests.Kernel());
        var b = new SyntheticBtf(kernel.EndId, kernel.StringEnd);
        uint own = b.Struct("my_device", 24, new("list", 12, 0), new("count", 1, 128));
        b.Func("my_probe", b.FuncProto(2, ("dev", b.Ptr(own))));
        b.Enum("mode", false, ("A", 1));
        return b.Build();
    }

    private static byte[][] BtfSectionSeeds()
    {
        BtfData data = BtfDataTests.Build(BtfDataTests.Kernel());
        return [FuzzTargets.Join(data.Blob, data.TypeOffsets, data.NameIndexBlob)];
    }

    private static byte[][] RelocatedSeeds()
    {
        var distilled = new SyntheticBtf();
        distilled.Int("int", 4, encoding: 1);
        distilled.Record(4, "list_head", 16, 0, false);
        var b = new SyntheticBtf(distilled.NextId, distilled.StringEnd);
        b.Struct("my_device", 24, new("list", 2, 0), new("n", 1, 128));
        b.Func("my_probe", b.FuncProto(1, ("dev", b.Ptr(3))));
        return [FuzzTargets.Join(b.Build(), distilled.Build())];
    }

    private static byte[][] OrcSeeds() => [.. Enum.GetValues<OrcVersion>().Select(v =>
    {
        var orc = new SyntheticOrc(FuzzTargets.ImageBase, v);
        for (ulong i = 0; i < 60; i++)
            orc.Add(FuzzTargets.ImageBase - 0x1_0000 + 16 * i, i % 9 == 8 ? SyntheticOrc.Gap : SyntheticOrc.Call((short)(8 + i)));
        return FuzzTargets.Join(orc.BuildIps(), orc.BuildRows());
    })];
}
