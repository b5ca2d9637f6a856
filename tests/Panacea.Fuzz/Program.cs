using Panacea.Formats.Tests.Vmcore;
using SharpFuzz;

namespace Panacea.Fuzz;

/// <summary>The fuzz targets that take bytes, for AFL++: <c>./fuzz TARGET</c> instruments the assemblies and starts it.</summary>
internal static class Program
{
    private delegate void OneInput(ReadOnlySpan<byte> data);

    private static readonly Dictionary<string, OneInput> Targets = new(StringComparer.Ordinal)
    {
        ["Kallsyms"] = Formats.Tests.FuzzTargets.Kallsyms,
        ["SymbolSections"] = Formats.Tests.FuzzTargets.SymbolSections,
        ["Btf"] = Formats.Tests.FuzzTargets.Btf,
        ["SplitBtf"] = Formats.Tests.FuzzTargets.SplitBtf,
        ["BtfSections"] = Formats.Tests.FuzzTargets.BtfSections,
        ["RelocatedBtf"] = Formats.Tests.FuzzTargets.RelocatedBtf,
        ["Orc"] = Formats.Tests.FuzzTargets.Orc,
        ["Vmcoreinfo"] = Formats.Tests.FuzzTargets.Vmcoreinfo,
        ["Notes"] = Formats.Tests.FuzzTargets.Notes,
        ["Elf"] = DumpFuzzTargets.Elf,
        ["Kdump"] = DumpFuzzTargets.Kdump,
        ["Flattened"] = DumpFuzzTargets.Flattened,
        ["Lzo"] = DumpFuzzTargets.Lzo,
        ["DumpKind"] = DumpFuzzTargets.Kind,
        ["MachineCode"] = Kernel.Tests.FuzzTargets.MachineCode,
        ["ControlFlow"] = Kernel.Tests.FuzzTargets.ControlFlow,
        ["ImageFile"] = Kernel.Tests.FuzzTargets.ImageFile,
        ["ConsoleLog"] = Diagnosis.Tests.FuzzTargets.ConsoleLog,
        ["Policy"] = Sessions.Tests.FuzzTargets.Policy,
        ["QmpFraming"] = Panacea.Target.Qemu.Tests.FuzzTargets.QmpFraming,
        ["QmpStream"] = Panacea.Target.Qemu.Tests.FuzzTargets.QmpStream,
        ["GdbPackets"] = Panacea.Target.Qemu.Tests.FuzzTargets.GdbPackets,
        ["GdbStream"] = Panacea.Target.Qemu.Tests.FuzzTargets.GdbStream,
        ["RegisterDescription"] = Panacea.Target.Qemu.Tests.FuzzTargets.RegisterDescription,
        ["Mtree"] = Panacea.Target.Qemu.Tests.FuzzTargets.Mtree,
        ["Maps"] = Panacea.Target.Qemu.Tests.FuzzTargets.Maps,
        ["Arguments"] = Panacea.Target.Qemu.Tests.FuzzTargets.Arguments,
    };

    public static int Main(string[] arguments)
    {
        if (arguments is not [{ } name] || !Targets.TryGetValue(name, out OneInput? target))
        {
            Console.Error.WriteLine($"usage: Panacea.Fuzz TARGET, one of: {string.Join(' ', Targets.Keys)}");
            return 2;
        }

        Fuzzer.OutOfProcess.Run(stream =>
        {
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            target(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
        });
        return 0;
    }
}
