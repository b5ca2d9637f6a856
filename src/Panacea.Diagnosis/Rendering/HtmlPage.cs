using System.Globalization;
using System.Text;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Formats.Dwarf;

namespace Panacea.Diagnosis.Rendering;

/// <summary>One frame of a stack on a page.</summary>
/// <param name="Location">As the kernel prints it.</param>
/// <param name="Reliable">It is proved.</param>
/// <param name="IsTrap">Execution was interrupted here.</param>
/// <param name="Stack">The stack that it lies on; null where unknown.</param>
/// <param name="Address">Guest-virtual address; null where unknown.</param>
/// <param name="StackPointer">Stack pointer there; null where unknown.</param>
internal sealed record HtmlFrame(string Location, bool Reliable, bool IsTrap, string? Stack, ulong? Address, ulong? StackPointer)
{
    /// <summary>Line of source; null without debug information.</summary>
    public SourceLine? Source { get; init; }

    /// <summary>What is inlined there, innermost first.</summary>
    public IReadOnlyList<InlinedCall> Inlined { get; init; } = [];
}

/// <summary>What the pages of all reports are made of. No script, nothing fetched; every string of a guest goes through <see cref="Safe.Html"/>, and a content security policy forbids what a
/// mistake might still let in.</summary>
internal static partial class HtmlPage
{
    public static void Begin(StringBuilder to, string title) => to
        .Append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n")
        .Append("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
        .Append("<title>").Append(Safe.Html(title)).Append("</title>\n<style>\n").Append(Style).Append("\n</style>\n</head>\n<body>\n<main>\n");

    public static string End(StringBuilder to) => to.Append("</main>\n</body>\n</html>\n").ToString();

    public static void Heading(StringBuilder to, string title) => to.Append("<h2>").Append(Safe.Html(title)).Append("</h2>\n");

    /// <summary>A row of a definition list; nothing where there is no value.</summary>
    public static void Item(StringBuilder to, string name, string? value)
    {
        if (!string.IsNullOrEmpty(value))
            to.Append("<dt>").Append(name).Append("</dt><dd>").Append(Safe.Html(value)).Append("</dd>");
    }

    public static void Tags(StringBuilder to, params ReadOnlySpan<string?> tags)
    {
        to.Append("<ul class=\"tags\">");
        foreach (string? tag in tags)
        {
            if (tag is not null)
                to.Append("<li>").Append(Safe.Html(tag)).Append("</li>");
        }

        to.Append("</ul>\n");
    }

    /// <summary>A stack whose frames open to show where they are and what proves them.</summary>
    public static void Stack(StringBuilder to, string title, IEnumerable<HtmlFrame> stack)
    {
        Heading(to, title);
        string? current = null;
        foreach (HtmlFrame frame in stack)
        {
            if (frame.Stack is not null && frame.Stack != current)
                to.Append("<p class=\"stackname\">").Append(Safe.Html(frame.Stack)).Append(" stack</p>\n");
            current = frame.Stack;
            to.Append("<details class=\"frame").Append(frame.Reliable ? "" : " loose").Append("\"><summary><code>").Append(frame.Reliable ? "" : "? ").Append(Safe.Html(frame.Location)).Append("</code>")
                .Append(Safe.Html(Sources.At(frame.Source))).Append(frame.IsTrap ? " · trap" : "").Append("</summary><div><dl>");
            foreach (InlinedCall call in frame.Inlined)
                Item(to, "Inlined", $"{call.Function}{Sources.At(call.Source)}");
            Item(to, "Address", frame.Address is { } a ? $"0x{a:x16}" : "not told");
            Item(to, "Stack pointer", frame.StackPointer is { } sp ? $"0x{sp:x16}" : null);
            Item(to, "Proof", frame.Reliable ? "by registers or unwind data" : "none: it may be left over from an earlier call");
            to.Append("</dl></div></details>\n");
        }
    }

    /// <summary>Lines of code, the one at fault marked.</summary>
    public static void Disassembly(StringBuilder to, IReadOnlyList<string> lines)
    {
        if (lines.Count == 0)
            return;
        Heading(to, "Disassembly");
        to.Append("<pre>");
        foreach (string line in lines)
        {
            bool here = line.StartsWith("=>", StringComparison.Ordinal);
            to.Append(here ? "<span class=\"at\">" : "").Append(Safe.Html(line)).Append(here ? "</span>" : "\n");
        }

        to.Append("</pre>\n");
    }

    public static void Registers(StringBuilder to, IEnumerable<KeyValuePair<string, ulong>> registers)
    {
        Heading(to, "Registers");
        to.Append("<div class=\"regs\">");
        foreach ((string name, ulong value) in registers)
            to.Append("<code>").Append(Safe.Html(string.Create(CultureInfo.InvariantCulture, $"{name.ToUpperInvariant(),7} {value:x16}"))).Append("</code>");
        to.Append("</div>\n");
    }

    public static void DebugFiles(StringBuilder to, IReadOnlyList<UsedDebugFile> files)
    {
        if (files.Count == 0)
            return;
        Heading(to, "Debug information");
        to.Append("<ul>");
        foreach (UsedDebugFile file in files)
            to.Append("<li><code>").Append(Safe.Html(Sources.Used(file))).Append("</code></li>");
        to.Append("</ul>\n");
    }

    public static void Missing(StringBuilder to, IReadOnlyList<string> missing)
    {
        if (missing.Count == 0)
            return;
        Heading(to, "What could not be read");
        to.Append("<ul>");
        foreach (string each in missing)
            to.Append("<li>").Append(Safe.Html(each)).Append("</li>");
        to.Append("</ul>\n");
    }
}
