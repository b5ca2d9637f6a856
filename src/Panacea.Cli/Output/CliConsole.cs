using System.Text;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Cli.Output;

/// <summary>Standard output and standard error, and what may be written to them: colours only where a person looks.</summary>
internal sealed class CliConsole(TextWriter output, TextWriter error, bool colourOut, bool colourError)
{
    /// <summary>Answers: what a pipe wants to read.</summary>
    public TextWriter Out { get; } = output;

    /// <summary>Everything that is no answer.</summary>
    public TextWriter Error { get; } = error;

    /// <summary>Colours on standard output.</summary>
    public Paint Paint { get; } = new(colourOut);

    /// <summary>A person watches standard error: progress may be shown there.</summary>
    public bool IsInteractive { get; } = colourError;

    private readonly Paint _paintError = new(colourError);
    private readonly Lock _gate = new();

    /// <summary>The console of this process.</summary>
    public static CliConsole Process()
    {
        var utf8 = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        var output = new StreamWriter(new DescriptorStream(1), utf8, 4096) { AutoFlush = !Console.IsOutputRedirected, NewLine = "\n" };
        var error = new StreamWriter(new DescriptorStream(2), utf8, 512) { AutoFlush = true, NewLine = "\n" };
        bool plain = Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 } || Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb";
        return new CliConsole(output, error, !plain && !Console.IsOutputRedirected, !plain && !Console.IsErrorRedirected);
    }

    /// <summary>One sentence about what went wrong, on standard error.</summary>
    public void ErrorLine(string message) => Line(_paintError.Red("panacea:"), message);

    /// <summary>One sentence worth knowing, on standard error.</summary>
    public void Note(string message) => Line("panacea:", message);

    /// <summary>Where an exception came from, on standard error.</summary>
    public void Trace(Exception failure)
    {
        lock (_gate)
        {
            foreach (string line in failure.ToString().Split('\n'))
                Error.WriteLine(Safe.Text(line.TrimEnd('\r')));
        }
    }

    /// <summary>Does <paramref name="work"/>, with a spinner on standard error where a person watches.</summary>
    /// <param name="what">What is being done; no guest strings.</param>
    /// <param name="work">The work; its result is returned.</param>
    public T Progress<T>(string what, Func<T> work)
    {
        if (!IsInteractive)
            return work();
        return ErrorScreen.Status().Spinner(Spinner.Known.Dots).Start(Safe.Markup(what), _ => work());
    }

    /// <summary>Does <paramref name="work"/>, with a spinner and a line that it may change on standard error where a person watches.</summary>
    /// <param name="what">What is being done at first; no guest strings.</param>
    /// <param name="work">The work; it is given what changes the line. Its result is returned.</param>
    public T Progress<T>(string what, Func<Action<string>, T> work)
    {
        if (!IsInteractive)
            return work(_ => { });
        return ErrorScreen.Status().Spinner(Spinner.Known.Dots).Start(Safe.Markup(what), screen => work(line => screen.Status(Safe.Markup(line))));
    }

    /// <summary>Standard output for pictures: tables, and what moves where a person watches.</summary>
    public IAnsiConsole OutScreen => Screen(Out, Paint.Enabled);

    /// <summary>Standard error for pictures, for what moves while standard output is for programs.</summary>
    public IAnsiConsole ErrorScreen => Screen(Error, IsInteractive);

    /// <summary>The library takes only its own writers for terminals, so it is told.</summary>
    private static IAnsiConsole Screen(TextWriter to, bool live) => AnsiConsole.Create(new AnsiConsoleSettings
    {
        Out = new AnsiConsoleOutput(to),
        Ansi = live ? AnsiSupport.Yes : AnsiSupport.No,
        ColorSystem = live ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
        Interactive = live ? InteractionSupport.Yes : InteractionSupport.No,
    });

    private void Line(string prefix, string message)
    {
        try
        {
            lock (_gate)
                Error.WriteLine($"{prefix} {Safe.Text(message)}");
        }
        catch (IOException)
        {
            // Nobody can be told, and nothing else may fail because of it.
        }
    }
}

/// <summary>Colours, or nothing. The text painted must be safe already.</summary>
internal readonly struct Paint(bool enabled)
{
    /// <summary>Colours are written.</summary>
    public bool Enabled { get; } = enabled;

    /// <summary>For trouble.</summary>
    public string Red(string text) => Wrap("31", text);

    /// <summary>For success.</summary>
    public string Green(string text) => Wrap("32", text);

    /// <summary>For what wants attention.</summary>
    public string Yellow(string text) => Wrap("33", text);

    /// <summary>For headings.</summary>
    public string Bold(string text) => Wrap("1", text);

    /// <summary>For what may be skipped.</summary>
    public string Dim(string text) => Wrap("2", text);

    private string Wrap(string code, string text) => Enabled && text.Length > 0 ? $"\e[{code}m{text}\e[0m" : text;
}
