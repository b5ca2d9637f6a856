using System.Globalization;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>
/// What the boot of a crash kernel says of the kernel before it: that it died, whatever it still wrote. It is left at once (kernel/panic.c calls __crash_kexec before consoles are flushed, and
/// oops_end() before it writes the end mark), so that what was not on the console by then is lost there.
/// </summary>
internal static class CrashKernels
{
    /// <summary>The crash kernel that a boot died into; null where the log shows none.</summary>
    public static LogBoot? After(int boot, IReadOnlyList<LogBoot> boots) => boot + 1 < boots.Count && boots[boot + 1] is { IsCrashKernel: true } next ? next : null;

    /// <summary>The same reports: what is incomplete because its kernel was left says so.</summary>
    public static List<LogCrash> Explain(IReadOnlyList<LogCrash> crashes, IReadOnlyList<LogReport> reports, IReadOnlyList<LogBoot> boots)
    {
        var explained = new List<LogCrash>(crashes);
        for (int i = 0; i < explained.Count; i++)
        {
            bool isLast = i + 1 == explained.Count || explained[i + 1].Boot != explained[i].Boot;
            if (isLast && !reports[i].IsComplete && After(explained[i].Boot, boots) is not null)
                explained[i] = explained[i] with { Unavailable = [.. explained[i].Unavailable.Select(u => u == LogCrashes.EndMissing ? "the end of the report: the crash kernel was started before it was written" : u)] };
        }

        return explained;
    }

    /// <summary>Sentences about kernels that died without a word of it in the log.</summary>
    public static IEnumerable<string> Silent(IReadOnlyList<LogCrash> crashes, IReadOnlyList<LogBoot> boots)
    {
        foreach (LogBoot boot in boots.Where(b => b.IsCrashKernel))
        {
            string line = boot.Line.ToString(CultureInfo.InvariantCulture);
            if (boot.Number == 0)
                yield return $"the kernel that died: the log begins with its crash kernel's boot (line {line}); the memory that this one saves has the dead kernel's log";
            else if (!crashes.Any(c => c.Boot == boot.Number - 1 && (LogKinds.IsDeath(c.Kind) || c.PanicMessage is not null)))
                yield return $"the report of the kernel that died before line {line}: its crash kernel boots there, and no word of the death had reached the console; the memory that the crash kernel saves has the dead kernel's log";
        }
    }
}
