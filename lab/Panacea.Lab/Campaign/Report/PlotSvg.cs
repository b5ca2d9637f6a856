using System.Globalization;
using System.Text;
using System.Text.Json;
using OxyPlot;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Lab.Campaign.Report;

/// <summary>What a colour of a plot stands for. The page says which one it is, in the light and in the dark: <c>--stock-panic</c>.</summary>
internal enum PlotInk
{
    /// <summary>Text and what is drawn over bars.</summary>
    Ink,

    /// <summary>Axes and goals.</summary>
    Soft,

    /// <summary>Lines of the grid.</summary>
    Line,

    /// <summary>The page behind it.</summary>
    Paper,

    /// <summary>No effect.</summary>
    NoEffect,

    /// <summary>A crash or hang that is recovered.</summary>
    Recovered,

    /// <summary>A crash that is not.</summary>
    Crash,

    /// <summary>A hang that is not.</summary>
    Hang,

    /// <summary>A failure.</summary>
    Failure,

    /// <summary>A silent corruption.</summary>
    SilentCorruption,

    /// <summary>Of the arm.</summary>
    StockPanic,

    /// <summary>Of the arm.</summary>
    StockOops,

    /// <summary>Of the arm.</summary>
    Quarantine,

    /// <summary>Of the arm.</summary>
    Ladder,

    /// <summary>Of the arm.</summary>
    Rehearsal,
}

/// <summary>A plot as an SVG element of a page.</summary>
internal static class PlotSvg
{
    /// <summary>The colour that a plot is made with. It is none that is ever seen: the library writes colours as they are, and a page has one for the light and one for the dark.</summary>
    public static OxyColor Color(PlotInk ink) => OxyColor.FromRgb(1, 0, (byte)ink);

    /// <summary>Draws it.</summary>
    /// <param name="model">The plot.</param>
    /// <param name="id">Its id on the page; ids within it begin with it.</param>
    /// <param name="title">What it shows, for who does not see it.</param>
    /// <param name="description">What is to be seen in it. Text as it came.</param>
    /// <param name="width">Width, in units of text that is 12 high.</param>
    /// <param name="height">Height.</param>
    public static string Of(PlotModel model, string id, string title, string description, int width, int height)
    {
        string svg = SvgExporter.ExportToString(model, width, height, isDocument: false, new PixelMeasure(width, height));
        if (model.GetLastPlotException() is { } error)
            throw new InvalidOperationException($"{id} can't be drawn: {error.Message}", error);

        // The library's own root has a fixed size and says nothing; ids of all plots are in one page.
        int root = svg.IndexOf('>', svg.IndexOf("<svg", StringComparison.Ordinal));
        var text = new StringBuilder(svg, root + 1, svg.Length - root - 1, svg.Length);
        text.Replace("id=\"clipPath", $"id=\"{id}-clip").Replace("url(#clipPath", $"url(#{id}-clip");
        foreach (PlotInk ink in Enum.GetValues<PlotInk>())
            text.Replace(string.Create(CultureInfo.InvariantCulture, $"rgb(1,0,{(int)ink})"), $"var(--{JsonNamingPolicy.KebabCaseLower.ConvertName(ink.ToString())})");
        string begin = string.Create(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">");
        return $"{begin}\n  <title id=\"{id}-title\">{Safe.Html(title)}</title>\n  <desc id=\"{id}-desc\">{Safe.Html(description)}</desc>{text}";
    }

    /// <summary>Measures text in the units in which the SVG is written: the library's own measure, of a PDF, is in points.</summary>
    private sealed class PixelMeasure(double width, double height) : PdfRenderContext(width, height, OxyColors.Undefined)
    {
        public override OxySize MeasureText(string text, string fontFamily, double fontSize, double fontWeight) => base.MeasureText(text, fontFamily, fontSize * 96 / 72, fontWeight);
    }
}
