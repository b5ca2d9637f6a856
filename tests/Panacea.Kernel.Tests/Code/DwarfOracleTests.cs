using System.ComponentModel;
using System.Diagnostics;
using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;
using Panacea.TestKit.Formats;

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
            var text = new ElfText(library);
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

    private static void Compare(ICodeSource code, FunctionParts function, IOrcLookup orc, DwarfFrames dwarf, Tally tally)
    {
        PrologueAnalysis.TryAnalyse(code, function, orc, null, out FunctionFrames frames, out Decline why);
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
                    Check(frames, why, CodePoint.Return(instruction.NextIP), dwarf, tally);
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
                bool isSaved = row.Saved.TryGetValue(register, out DwarfSlot slot);
                if (location.Place == RegisterPlace.Lost)
                    declined = DeclineReason.RegisterLost;
                else if (isSaved ? !IsAt(location, row, slot) : !IsUnchanged(location, register))
                    tally.Wrong.Add($"{frames.Function.Main.Name} {point.Address:x} {(point.IsReturnAddress ? "call" : "trap")}: {register} {location}, DWARF {row.Cfa} {(isSaved ? $"{slot}" : "unchanged")}");
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

    /// <summary>A place counted from a register can't be compared here; for one that can, equality is what is asked for.</summary>
    private static bool IsAt(RegisterLocation location, DwarfRow row, DwarfSlot slot) =>
        !slot.IsKnown || slot.Base is not null || row.Cfa.Indirect || location is { Place: RegisterPlace.OnStack, Base: FrameBase.Cfa } && location.Offset == slot.Offset;

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
