using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Sessions;

/// <summary>Control registers of the vCPUs of a running guest, without stopping it, from the monitor's <c>info registers -a</c>.</summary>
/// <remarks>QEMU target/i386/cpu-dump.c prints <c>CR0=… CR2=… CR3=… CR4=…</c>, <c>IDT= base limit</c> and <c>EFER=…</c> for each <c>CPU#n</c>; the text is meant for people, so
/// each value is looked for by its name, and what is missing is an error, never a zero.</remarks>
public static partial class ControlRegisters
{
    /// <summary>Reads them all.</summary>
    /// <exception cref="TargetException">QEMU's answer lacks one.</exception>
    public static IReadOnlyList<VcpuControlState> Read(QmpClient qmp) => Parse(qmp.HumanMonitor("info registers -a"));

    /// <summary>Parses the monitor's answer.</summary>
    /// <exception cref="TargetException">It lacks a register.</exception>
    public static IReadOnlyList<VcpuControlState> Parse(string text)
    {
        var states = new List<VcpuControlState>();

        // What stands before the first heading is of no vCPU.
        foreach (string part in VcpuHeading().Split(text).Skip(1))
        {
            states.Add(new VcpuControlState(
                Value(part, "CR0"), Value(part, "CR3"), Value(part, "CR4"), Value(part, "EFER"), TrapTable().Match(part) is { Success: true } m ? Hex(m.Groups[1].Value) : 0));
        }

        return states.Count > 0 ? states : throw new TargetException("QEMU's monitor does not tell the control registers ('info registers -a'); this QEMU can't be used");
    }

    private static ulong Value(string text, string name)
    {
        Match match = Regex.Match(text, $@"\b{name}\s*=\s*([0-9a-fA-F]{{1,16}})\b", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        return match.Success ? Hex(match.Groups[1].Value) : throw new TargetException($"QEMU's monitor does not tell {name} ('info registers -a'); this QEMU can't be used");
    }

    private static ulong Hex(string digits) => ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^CPU#\d+\s*$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex VcpuHeading();

    [GeneratedRegex(@"\bIDT\s*=\s*([0-9a-fA-F]{1,16})\s", RegexOptions.CultureInvariant)]
    private static partial Regex TrapTable();
}
