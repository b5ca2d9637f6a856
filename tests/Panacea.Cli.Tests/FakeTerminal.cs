using System.Text;
using Panacea.Cli.Prompt;

namespace Panacea.Cli.Tests;

/// <summary>A terminal whose user has typed already: keys, or lines where nobody sits at it.</summary>
internal sealed class FakeTerminal : IPromptTerminal
{
    private readonly Queue<ConsoleKeyInfo> _keys = [];
    private readonly Queue<string> _lines = [];
    private readonly StringBuilder _written = new();

    public bool IsInteractive { get; init; }

    public int Width { get; init; } = 80;

    /// <summary>All that was written to it.</summary>
    public string Written => _written.ToString();

    public static FakeTerminal OfLines(params string[] lines)
    {
        var terminal = new FakeTerminal();
        foreach (string line in lines)
            terminal._lines.Enqueue(line);
        return terminal;
    }

    /// <summary>Keys: characters as they are; <c>\n</c> Enter, <c>\t</c> Tab, <c>\b</c> Backspace, <c>^X</c> Ctrl-X; <c>↑↓←→</c> cursor keys, <c>⇱</c> Home, <c>⇲</c> End.</summary>
    public static FakeTerminal OfKeys(string keys, int width = 80)
    {
        var terminal = new FakeTerminal { IsInteractive = true, Width = width };
        for (int i = 0; i < keys.Length; i++)
        {
            terminal._keys.Enqueue(keys[i] switch
            {
                '\n' => new ConsoleKeyInfo('\r', ConsoleKey.Enter, false, false, false),
                '\t' => new ConsoleKeyInfo('\t', ConsoleKey.Tab, false, false, false),
                '\b' => new ConsoleKeyInfo('\x7f', ConsoleKey.Backspace, false, false, false),
                '↑' => new ConsoleKeyInfo('\0', ConsoleKey.UpArrow, false, false, false),
                '↓' => new ConsoleKeyInfo('\0', ConsoleKey.DownArrow, false, false, false),
                '←' => new ConsoleKeyInfo('\0', ConsoleKey.LeftArrow, false, false, false),
                '→' => new ConsoleKeyInfo('\0', ConsoleKey.RightArrow, false, false, false),
                '⇱' => new ConsoleKeyInfo('\0', ConsoleKey.Home, false, false, false),
                '⇲' => new ConsoleKeyInfo('\0', ConsoleKey.End, false, false, false),
                '^' => new ConsoleKeyInfo((char)(keys[++i] & 0x1f), ConsoleKey.A + (keys[i] - 'A'), false, false, true),
                var c => new ConsoleKeyInfo(c, default, false, false, false),
            });
        }

        return terminal;
    }

    /// <summary>A line is being edited: Ctrl-C is a key.</summary>
    public bool IsEditing { get; private set; }

    public void Edit(bool begins) => IsEditing = begins;

    public ConsoleKeyInfo? ReadKey() => _keys.TryDequeue(out ConsoleKeyInfo key) ? key : null;

    public string? ReadLine() => _lines.TryDequeue(out string? line) ? line : null;

    public void Write(string text) => _written.Append(text);
}
