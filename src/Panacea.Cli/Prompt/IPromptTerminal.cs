namespace Panacea.Cli.Prompt;

/// <summary>Where lines are read from.</summary>
internal interface IPromptTerminal
{
    /// <summary>A person types: lines are edited key by key. Else they are read as they are.</summary>
    bool IsInteractive { get; }

    /// <summary>Columns; used where a person types.</summary>
    int Width { get; }

    /// <summary>A line begins or ends to be edited: in between, Ctrl-C is a key; else it is a signal, which ends a running command.</summary>
    void Edit(bool begins);

    /// <summary>Waits for a key, which is not shown. Null at the end of input.</summary>
    ConsoleKeyInfo? ReadKey();

    /// <summary>Waits for a line. Null at the end of input.</summary>
    string? ReadLine();

    /// <summary>Writes at once. What is written is safe already.</summary>
    void Write(string text);
}

/// <summary>The terminal of this process, or whatever its standard input is.</summary>
internal sealed class ProcessTerminal : IPromptTerminal
{
    private readonly TextReader _lines = Console.IsInputRedirected ? new StreamReader(Console.OpenStandardInput()) : TextReader.Null;

    /// <inheritdoc/>
    public bool IsInteractive { get; } = !Console.IsInputRedirected && !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");

    /// <inheritdoc/>
    public int Width => Console.WindowWidth is var width and >= 20 ? width : 80;

    /// <inheritdoc/>
    public void Edit(bool begins) => Console.TreatControlCAsInput = begins;

    /// <inheritdoc/>
    public ConsoleKeyInfo? ReadKey()
    {
        try
        {
            return Console.ReadKey(intercept: true);
        }
        catch (InvalidOperationException)
        {
            return null; // There is no terminal any more.
        }
    }

    /// <inheritdoc/>
    public string? ReadLine() => Console.IsInputRedirected ? _lines.ReadLine() : Console.ReadLine();

    /// <inheritdoc/>
    public void Write(string text)
    {
        Console.Out.Write(text);
        Console.Out.Flush();
    }
}
