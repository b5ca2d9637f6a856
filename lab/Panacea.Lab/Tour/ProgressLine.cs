using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Tour;

/// <summary>One line that moves while something takes a while, and leaves nothing behind. Nothing at all where no person watches.</summary>
/// <param name="console">The terminal.</param>
public sealed class ProgressLine(IAnsiConsole console)
{
    /// <summary>Does something and shows that it goes on.</summary>
    public async Task<T> DuringAsync<T>(string what, Func<Action<string>, Task<T>> work)
    {
        if (!console.Profile.Capabilities.Interactive)
            return await work(_ => { });
        return await console.Status().Spinner(Spinner.Known.Dots).SpinnerStyle(Style.Parse("grey")).StartAsync(
            Line(what), context => work(text => context.Status(Line(text))));
    }

    /// <summary>Cut to the terminal's width: a status that wraps jumps.</summary>
    private string Line(string text)
    {
        int room = Math.Max(20, console.Profile.Width - 6);
        return $"[grey]{Safe.Markup(text.Length > room ? text[..room] : text)} …[/]";
    }
}
