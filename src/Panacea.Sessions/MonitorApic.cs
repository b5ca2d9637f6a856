using System.Globalization;
using System.Text.RegularExpressions;

namespace Panacea.Sessions;

/// <summary>The local APIC of a vCPU, from the monitor's <c>info lapic</c>.</summary>
/// <remarks>QEMU target/i386, x86_cpu_dump_local_apic_state: a heading with the CPU's number, then a line for each register; that of ISR lists vectors, each with <c>(level)</c> behind it where it
/// is level-triggered, or <c>(none)</c>. The text is meant for people: what does not look so tells nothing.</remarks>
public static partial class MonitorApic
{
    private const int Vectors = 256;

    /// <summary>The most urgent interrupt that is in service.</summary>
    /// <param name="text">The monitor's answer.</param>
    /// <param name="vcpu">The vCPU that was asked for: the monitor takes an APIC's number, which need not be that.</param>
    /// <returns>Its vector, -1 where there is none; null where the answer does not tell.</returns>
    public static int? InService(string text, int vcpu)
    {
        if (Heading().Match(text) is not { Success: true } heading || heading.Groups[1].Value != vcpu.ToString(CultureInfo.InvariantCulture) || Isr().Match(text) is not { Success: true } line)
            return null;
        if (line.Groups[1].Value.Trim() == "(none)")
            return -1;
        int? highest = null;
        foreach (string word in line.Groups[1].Value.Split((char[])[' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (int.TryParse(word.Split('(')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int vector) && vector < Vectors && !(highest > vector))
                highest = vector;
        }

        return highest;
    }

    [GeneratedRegex(@"local APIC state for CPU (\d{1,5})\s", RegexOptions.CultureInvariant)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^ISR[ \t]+(.{1,2048}?)$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex Isr();
}
