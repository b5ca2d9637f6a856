using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Validators;

namespace Panacea.Diagnosis.Rendering;

/// <summary>What of the kernel's structures was checked, in a sentence or two. What is broken are findings, and stands there.</summary>
public static class StructureSummary
{
    /// <summary>As Markdown, with its heading; nothing where nothing was checked.</summary>
    public static void Markdown(StringBuilder to, IReadOnlyList<StructureCheck> checks)
    {
        if (checks.Count > 0)
            to.Append("## Structures of the kernel\n\n").Append(Safe.Markdown(Sentence(checks))).Append("\n\n");
    }

    /// <summary>As HTML.</summary>
    public static void Html(StringBuilder to, IReadOnlyList<StructureCheck> checks)
    {
        if (checks.Count == 0)
            return;
        HtmlPage.Heading(to, "Structures of the kernel");
        to.Append("<p>").Append(Safe.Html(Sentence(checks))).Append("</p>\n");
    }

    /// <summary>The sentences.</summary>
    public static string Sentence(IReadOnlyList<StructureCheck> checks)
    {
        List<StructureCheck> whole = [.. checks.Where(c => c.Outcome == CheckOutcome.Ok)], broken = [.. checks.Where(c => c.Outcome == CheckOutcome.Broken)];
        string objects = checks.Sum(c => c.Objects).ToString("N0", CultureInfo.InvariantCulture);
        string said = $"{objects} objects were checked. ";
        said += broken.Count == 0 ? "Nothing is broken" : $"Broken: {string.Join(", ", broken.Select(b => string.Create(CultureInfo.InvariantCulture, $"{b.Name} ({b.Broken})")))}";
        return $"{said}. Whole, as far as was looked: {(whole.Count == 0 ? "none" : string.Join(", ", whole.Select(w => w.Name)))}.";
    }
}
