using System.ComponentModel;
using System.Diagnostics;
using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Tests.Code;

/// <summary>Holds <see cref="PrologueAnalysis"/> against the compiler's own unwind tables, at every instruction and every call site.</summary>
public class DwarfOracleTests
{
    /// <summary>How one run went.</summary>
    internal sealed class Tally
    {
        public int Points;
        public int Agreed;
        public Dictionary<DeclineReason, int> Declined { get; } = [];
        public List<string> Wrong { get; } = [];
        public List<string> Refused { get; } = [];

        public double DeclineRate => 1 - ((double)Agreed / Math.Max(Points, 1));

        public override string ToString() =>
            $"{Points} points, {Agreed} agreed, {Wrong.Count} wrong; declined: {string.Join(", ", Declined.OrderByDescending(d => d.Value).Select(d => $"{d.Key} {d.Value}"))}";
    }

    [Theory]
    [InlineData("-O2", 0.01)]
    [InlineData("-Os", 0.01)]
    [InlineData("-O3", 0.01)]
    [InlineData("-O2 -fno-omit-frame-pointer", 0.01)]
    [InlineData("-O2 -pg -mfentry -fcf-protection=branch -mindirect-branch=thunk-extern", 0.01)]
    [InlineData("-O2 -fstack-protector-strong", 0.01)]
    [InlineData("-O0", 0.01)]

    // Jump tables are unknown territory: what only they reach is declined, and nothing is wrong.
    [InlineData("-O2 -fjump-tables", 0.45)]
    public void AgreesWithTheCompiler(string flags, double mostDeclined)
    {
        string directory = Directory.CreateTempSubdirectory("panacea-dwarf-").FullName;
        try
        {
            string source = Path.Combine(directory, "f.c"), library = Path.Combine(directory, "f.so");
            File.WriteAllText(source, GeneratedC.Source(20, 40));
            if (!TryRun("gcc", ["-w", "-mno-red-zone", "-fno-jump-tables", "-fPIC", "-shared", "-nostdlib", "-fasynchronous-unwind-tables",
                .. flags.Split(' '), "-o", library, source], out string said))
            {
                Assert.Skip($"gcc does not compile here: {said}");
            }

            if (!TryRun("readelf", ["--version"], out said))
                Assert.Skip($"no readelf: {said}");
            var text = new ElfText(library, _ => false);
            DwarfFrames dwarf = DwarfFrames.Of(library);
            var tally = new Tally();
            foreach (FunctionParts function in text.Whole().Where(f => f.Main.Name.StartsWith("fn", StringComparison.Ordinal)))
                Compare(text, function, dwarf, dwarf, tally);
            TestContext.Current.TestOutputHelper?.WriteLine($"{flags}: {tally}\n{string.Join("\n", tally.Refused.Take(5))}");
            Assert.True(tally.Wrong.Count == 0, string.Join("\n", tally.Wrong.Take(20)));
            Assert.True(tally.Points > 2_000, tally.ToString());
            Assert.True(tally.DeclineRate <= mostDeclined, tally.ToString());
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>A real kernel with its real ORC rows against its .debug_frame: set PANACEA_TEST_VMLINUX to the vmlinux of a linux-image-…-dbg package.</summary>
    [Fact]
    public void AgreesWithARealKernelsDebugFrames()
    {
        string? path = Environment.GetEnvironmentVariable("PANACEA_TEST_VMLINUX");
        if (string.IsNullOrEmpty(path))
            Assert.Skip("PANACEA_TEST_VMLINUX is not set (a vmlinux with .debug_frame, from a linux-image-…-dbg package)");
        int every = int.TryParse(Environment.GetEnvironmentVariable("PANACEA_TEST_VMLINUX_EVERY"), out int given) ? given : 20;
        var text = new ElfText(path, name => name is ".orc_unwind" or ".orc_unwind_ip" or ".rodata" or "__ex_table" or "__bug_table");
        var noReturn = text.Functions.Values.Where(f => ControlFlowTable.NoReturnNames.Contains(f.Name)).Select(f => f.Start);
        byte[] flow = ControlFlowTable.Build(text.Table("__jump_table"), text.Table("__ex_table"), text.Table("__bug_table"), BugEntryLayout.Verbose, text.Sections[".text"].Address);
        Assert.True(ControlFlowTable.TryOpen(flow, text.Sections[".text"].Address, out ControlFlowTable hints, noReturn.ToHashSet()));
        Assert.True(OrcFormat.TryDetect(text.Sections[".orc_unwind"].Bytes, out OrcVersion version, out string whyNot), whyNot);
        Assert.True(OrcTable.TryOpen(
            text.Sections[".orc_unwind_ip"].Bytes, text.Sections[".orc_unwind"].Bytes, text.Sections[".orc_unwind_ip"].Address, version,
            out OrcTable orc, out whyNot), whyNot);
        DwarfFrames dwarf = DwarfFrames.Of(path);
        var calls = new Tally();
        var all = new Tally();
        int index = 0, analysed = 0;
        var clock = new Stopwatch();
        foreach (FunctionParts function in text.Whole())
        {
            if (index++ % every != 0)
                continue;
            clock.Start();
            PrologueAnalysis.TryAnalyse(text, function, orc, hints, out _, out _);
            clock.Stop();
            analysed++;
            Compare(text, function, orc, dwarf, all, calls, hints);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{analysed} functions, {clock.Elapsed.TotalMicroseconds / Math.Max(analysed, 1):F1} us each\ninstructions: {all}\ncall sites: {calls}\n{string.Join("\n", all.Wrong.Take(40))}\n{string.Join("\n", calls.Refused)}");
        Assert.True(all.Wrong.Count == 0, string.Join("\n", all.Wrong.Take(40)));
        Assert.True(calls.DeclineRate < 0.1, calls.ToString());
    }

    private static void Compare(ICodeSource code, FunctionParts function, IOrcLookup orc, DwarfFrames dwarf, Tally tally, Tally? calls = null,
        IControlFlowHints? hints = null)
    {
        PrologueAnalysis.TryAnalyse(code, function, orc, hints, out FunctionFrames frames, out Decline why);
        FunctionRange[] parts = [function.Main, .. function.Fragments ?? []];
        foreach (FunctionRange part in parts)
        {
            byte[] bytes = new byte[part.Length];
            if (!code.TryReadCode(part.Start, bytes))
                continue;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes));
            decoder.IP = part.Start;
            while (decoder.IP < part.End)
            {
                decoder.Decode(out Instruction instruction);
                if (instruction.IsInvalid)
                    break;
                if (instruction.Mnemonic is not (Mnemonic.Nop or Mnemonic.Int3))
                    Check(frames, why, CodePoint.Trap(instruction.IP), dwarf, tally);
                if (instruction.Mnemonic == Mnemonic.Call)
                {
                    Check(frames, why, CodePoint.Return(instruction.NextIP), dwarf, tally);
                    if (calls is not null)
                        Check(frames, why, CodePoint.Return(instruction.NextIP), dwarf, calls);
                }
            }
        }
    }

    private static void Check(FunctionFrames? frames, Decline why, CodePoint point, DwarfFrames dwarf, Tally tally)
    {
        if (!dwarf.TryFindRow(point.LookupAddress, out DwarfRow row))
            return;
        tally.Points++;
        DeclineReason declined = DeclineReason.None;
        RegisterLocations found = null!;
        if (frames is null || !frames.TryLocate(point, out found, out why))
        {
            declined = why.Reason;
        }
        else
        {
            foreach (Gpr register in KnownRegisters.CalleeSaved)
            {
                // gcc leaves the register that holds the CFA out of its tables.
                if (register == Gpr.R13 && dwarf.IsArgumentPointer(point.LookupAddress))
                    continue;
                RegisterLocation location = found[register];
                bool isSaved = row.Saved.TryGetValue(register, out int? offset);
                if (location.Place == RegisterPlace.Lost)
                    declined = DeclineReason.RegisterLost;
                else if (isSaved ? !IsAt(location, row, offset) : !IsUnchanged(location, register))
                    tally.Wrong.Add($"{frames.Function.Main.Name} {point.Address:x} {(point.IsReturnAddress ? "call" : "trap")}: {register} {location}, DWARF {row.CfaRegister}+{row.CfaOffset} {(isSaved ? $"c{offset}" : "unchanged")}");
            }
        }

        if (declined == DeclineReason.None)
        {
            tally.Agreed++;
            return;
        }

        if (tally.Refused.Count < 200)
            tally.Refused.Add($"{frames?.Function.Main.Name} 0x{point.Address:x}{(point.IsReturnAddress ? " call" : "")} {declined}: {why}");
        tally.Declined[declined] = tally.Declined.GetValueOrDefault(declined) + 1;
    }

    private static bool IsUnchanged(RegisterLocation location, Gpr register) =>
        location.AlsoUnchanged || (location.Place == RegisterPlace.InRegister && location.Holder == register);

    /// <summary>A place given by an expression can't be compared here; for one that can, equality is what is asked for.</summary>
    private static bool IsAt(RegisterLocation location, DwarfRow row, int? offset) =>
        offset is null || row.CfaRegister == "exp" || location is { Place: RegisterPlace.OnStack, Base: FrameBase.Cfa } && location.Offset == offset;

    private static bool TryRun(string program, string[] arguments, out string said)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            said = process.StandardError.ReadToEnd();
            output.Wait();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (Win32Exception e)
        {
            said = e.Message;
            return false;
        }
    }
}
