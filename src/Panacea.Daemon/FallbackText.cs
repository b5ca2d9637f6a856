using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;

namespace Panacea.Daemon;

/// <summary>What was done with a guest that was not repaired, as Markdown.</summary>
internal static class FallbackText
{
    /// <summary>Appends it; nothing where nothing was done.</summary>
    public static void Append(StringBuilder to, FallbackResult? fallback)
    {
        if (fallback is null)
            return;
        to.Append("Instead of a repair: ").Append(fallback.Action switch
        {
            FallbackAction.Reset => "the guest was reset",
            FallbackAction.KeepStopped => "the guest was kept stopped where it died",
            _ => "the guest was left to what it would have done alone",
        });
        if (fallback.Dump is { } dump)
            to.Append(", after a dump to ").Append(Safe.Code(dump.File)).Append(Size(dump));
        to.Append(".\n\n");
        if (fallback.Next is { } next)
            to.Append(Safe.Markdown(next)).Append("\n\n");
        if (fallback.Dump?.WhyWhole is { } whole)
            to.Append("- nothing was left out of the dump: ").Append(Safe.Markdown(whole)).Append('\n');
        foreach (string error in fallback.Errors)
            to.Append("- ").Append(Safe.Markdown(error)).Append('\n');
        to.Append(fallback.Errors.Count > 0 || fallback.Dump?.WhyWhole is not null ? "\n" : "");
    }

    private static string Size(DumpRecord dump) => string.Create(
        CultureInfo.InvariantCulture, $" ({dump.FileBytes / 1e6:0.0} MB of {dump.MemoryBytes / 1e6:0.0} MB of memory, {dump.LeftOut.Total / 1e6:0.0} MB left out), for which it stood {IncidentReport.Duration(dump.TookUs)}");
}
