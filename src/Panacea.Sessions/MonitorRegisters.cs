using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Target;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Sessions;

/// <summary>Registers of the vCPUs of a guest that stands still already, from the monitor's <c>info registers -a</c>: nothing is attached to it, so nothing has to be let go of, and it stands
/// afterwards as it stood before.</summary>
/// <remarks>QEMU target/i386/cpu-dump.c prints <c>RAX=…</c> to <c>R15=…</c>, <c>RIP=… RFL=…</c>, a line for each segment with selector and base, the control registers, <c>IDT=</c> and <c>EFER=</c>. It
/// does not tell the GS base that SWAPGS exchanges. The text is meant for people, so each value is looked for by its name; what is missing is an error, never a zero.</remarks>
public static partial class MonitorRegisters
{
    private const RegisterGroups Told = RegisterGroups.Integer | RegisterGroups.SegmentBases | RegisterGroups.Control | RegisterGroups.Efer;

    /// <summary>Reads them all. Of a running guest they are of no one moment.</summary>
    /// <exception cref="TargetException">QEMU's answer lacks one.</exception>
    public static IReadOnlyList<VcpuRegisters> Read(QmpClient qmp) => Parse(qmp.HumanMonitor("info registers -a"));

    /// <summary>Parses the monitor's answer. A vCPU that is not in 64-bit mode is left out: it runs no Linux of ours.</summary>
    /// <exception cref="TargetException">It lacks a register.</exception>
    public static IReadOnlyList<VcpuRegisters> Parse(string text)
    {
        var vcpus = new List<VcpuRegisters>();
        MatchCollection headings = VcpuHeading().Matches(text);
        for (int i = 0; i < headings.Count; i++)
        {
            string part = text[headings[i].Index..(i + 1 < headings.Count ? headings[i + 1].Index : text.Length)];
            if (part.Contains("EIP=", StringComparison.Ordinal) || !int.TryParse(headings[i].Groups[1].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int vcpu))
                continue;
            var gpr = default(GprFile);
            foreach (Gpr register in Enum.GetValues<Gpr>())
                gpr[register] = Value(part, register.ToString().ToUpperInvariant());
            (ulong selector, _) = Segment(part, "CS");
            vcpus.Add(new VcpuRegisters
            {
                Vcpu = vcpu, Gpr = gpr, Rip = Value(part, "RIP"), Rflags = Value(part, "RFL"), Cs = (ushort)selector, FsBase = Segment(part, "FS").Base, GsBase = Segment(part, "GS").Base,
                KernelGsBase = 0, Cr0 = Value(part, "CR0"), Cr2 = Value(part, "CR2"), Cr3 = Value(part, "CR3"), Cr4 = Value(part, "CR4"), Efer = Value(part, "EFER"), Known = Told,
            });
        }

        return vcpus.Count > 0 ? vcpus : throw new TargetException("QEMU's monitor tells the registers of no vCPU in 64-bit mode ('info registers -a')");
    }

    private static ulong Value(string text, string name)
    {
        // R8 and R9 are printed with a blank behind their names.
        Match match = Regex.Match(text, $@"\b{name}\s*=\s*([0-9a-fA-F]{{1,16}})\b", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        return match.Success ? Hex(match.Groups[1].Value) : throw Missing(name);
    }

    private static (ulong Selector, ulong Base) Segment(string text, string name)
    {
        Match match = Regex.Match(text, $@"^{name}\s*=\s*([0-9a-fA-F]{{1,4}})\s+([0-9a-fA-F]{{1,16}})\b", RegexOptions.CultureInvariant | RegexOptions.Multiline, TimeSpan.FromSeconds(1));
        return match.Success ? (Hex(match.Groups[1].Value), Hex(match.Groups[2].Value)) : throw Missing(name);
    }

    private static TargetException Missing(string name) => new($"QEMU's monitor does not tell {name} ('info registers -a'); this QEMU can't be used");

    private static ulong Hex(string digits) => ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^CPU#(\d{1,5})\s*$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex VcpuHeading();
}
