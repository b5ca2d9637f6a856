using Iced.Intel;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Lab.Setup;
using Panacea.TestKit;
using Panacea.TestKit.Formats;

namespace Panacea.GuestTests.Oracles;

/// <summary>What is proved of a caller's registers (CFA, return address, RBX, RBP, R12 to R15) from the machine code, against the kernel's .debug_frame as binutils read it: at every call of its text, and
/// at every instruction of some of its functions, where a trap may happen.</summary>
public abstract class CallFrameTests(string line)
{
    /// <summary>Every how many functions all instructions are compared.</summary>
    private const int Every = 20;

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Registers_at_every_call_site_of_vmlinux_are_where_its_debug_frame_says()
    {
        DebugInstallation files = await DebugPackages.GetAsync(await KernelPackages.GetAsync(line));
        using var directory = new TemporaryDirectory();
        using var kernel = new VmlinuxImage(files.Vmlinux, directory.Path);
        RepairImage image = kernel.Image;
        var map = new CodeMap(image);
        DwarfFrames dwarf = DwarfFrames.Of(files.Vmlinux);
        var check = new CallFrameCheck(image, map, kernel.Flow(map));
        int index = 0;
        foreach (DwarfFunction function in dwarf.Functions.Where(f => image.IsText(f.Start)))
            check.Compare(function, dwarf.IsArgumentPointer(function.Start), index++ % Every == 0);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{files.Kernel.Release}: {index} functions and parts of functions; {CallsOutside(image, dwarf)} calls in assembly, without call frame information\n"
            + $"{check.IndirectCalls} of the call sites call through a pointer\ncall sites: {check.Calls.Report()}\ninstructions: {check.Traps.Report()}");
        Assert.True(check.Calls.Points > 200_000 && check.Traps.Points > 50_000, $"{check.Calls.Points} call sites, {check.Traps.Points} instructions");
        Assert.True(check.Calls.Wrong.Count == 0, check.Calls.Report());
        Assert.True(check.Traps.Wrong.Count == 0, check.Traps.Report());
        Assert.True(check.Calls.ExactShare >= 0.97, check.Calls.Report());
    }

    /// <summary>Calls of text that no function of .debug_frame covers: the kernel's assembly has no such information.</summary>
    private static int CallsOutside(RepairImage image, DwarfFrames dwarf)
    {
        ulong[] compiled = [.. dwarf.Functions.Select(f => f.Start)];
        int calls = 0;
        ulong done = 0;
        foreach (ulong symbol in image.EnumerateSymbols().Where(s => s.Type is 't' or 'T' or 'w' or 'W').Select(s => s.Address).Distinct().Order())
        {
            if (symbol < done || dwarf.TryFindFunction(symbol, out _) || !image.TryFindFunction(symbol, out FunctionRange range))
                continue;
            int next = ~Array.BinarySearch(compiled, symbol);
            done = next < compiled.Length && compiled[next] < range.End ? compiled[next] : range.End;
            calls += CallFrameCheck.Decode(image, symbol, done).Count(i => i.Mnemonic == Mnemonic.Call);
        }

        return calls;
    }
}

/// <inheritdoc/>
public sealed class CallFrameTests61() : CallFrameTests("6.1");

/// <inheritdoc/>
public sealed class CallFrameTests612() : CallFrameTests("6.12");
