using System.Globalization;
using Panacea.Diagnosis.Machine;

namespace Panacea.Diagnosis.Rendering;

/// <summary>What a crash's values are and what surrounds its task, in words and tables.</summary>
internal static class CrashDetailsSections
{
    /// <summary>Words of stacks that a document for people shows; the rest is in the JSON.</summary>
    private const int ShownWords = 64;

    public static IEnumerable<ReportSection> Of(CrashReport crash)
    {
        if (crash.Values is { } values)
        {
            yield return new ReportSection("What the registers hold", [.. values.Without], ["register", "value", "is"], [.. values.Registers.Select(r => Row(r, r.Where.ToUpperInvariant()))]);
            if (values.Stack.Count > 0)
            {
                string more = values.Stack.Count > ShownWords ? $" The first {ShownWords} of them:" : "";
                yield return new ReportSection(
                    "What lies on the stack", [string.Create(CultureInfo.InvariantCulture, $"{values.Stack.Count} of {values.Words} words mean something.{more}")], ["at", "value", "is"],
                    [.. values.Stack.Take(ShownWords).Select(w => Row(w, w.Where))]);
            }
        }

        if (crash.Surroundings is { } around)
            yield return Surroundings(around);
    }

    private static ReportSection Surroundings(TaskSurroundings around)
    {
        var rows = new List<IReadOnlyList<string>>();
        if (around.Parents.Count > 0)
            rows.Add(["parents", string.Join(" ← ", around.Parents.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Comm} ({p.Pid})")))]);
        if (around.Uid is { } uid)
            rows.Add(["user", string.Create(CultureInfo.InvariantCulture, $"uid {uid}, gid {around.Gid}")]);
        rows.AddRange(around.Cgroups.Select(g => (IReadOnlyList<string>)["control group", g]));
        if (around.Hostname is { } host)
            rows.Add(["host name", host]);
        rows.AddRange(around.OtherNamespaces.Select(n => (IReadOnlyList<string>)["own namespace", string.Create(CultureInfo.InvariantCulture, $"{n.Key} {n.Value}")]));
        return new ReportSection("Around the task", [], ["", ""], rows);
    }

    private static IReadOnlyList<string> Row(ExplainedValue value, string name) =>
        [name, $"{value.Value:x16}", value.Text + (value.Confidence == Confidence.Low ? " (perhaps)" : "")];
}
