namespace Panacea.Cli.Prompt;

/// <summary>Where lines are read from.</summary>
internal interface IPromptTerminal
{
    /// <summary>A person types: lines are edited key by key. Else they are read as they are.</summary>
    bool IsInteractive { get; }

    /// <summary>Columns; used where a person types.</summary>
    int Width { get; }

    /// <summary>Waits for a key, which is not shown; Ctrl-C is one among them. Null at the end of input.</summary>
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
    public int Width => Math.Max(20, Console.WindowWidth);

    /// <inheritdoc/>
    public ConsoleKeyInfo? ReadKey()
    {
        // Only while a line is edited: while a command runs, Ctrl-C is a signal that ends the command.
        Console.TreatControlCAsInput = true;
        try
        {
            return Console.ReadKey(intercept: true);
        }
        catch (InvalidOperationException)
        {
            return null;
        }
        finally
        {
            Console.TreatControlCAsInput = false;
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
