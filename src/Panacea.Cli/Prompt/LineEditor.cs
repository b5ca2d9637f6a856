using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Prompt;

/// <summary>How the editing of a line ended.</summary>
internal enum LineEnd
{
    /// <summary>With Enter.</summary>
    Entered,

    /// <summary>With Ctrl-C: the line is thrown away.</summary>
    Abandoned,

    /// <summary>With Ctrl-D on an empty line, or the end of input.</summary>
    EndOfInput,
}

/// <summary>A small line editor: cursor keys, Home, End, Backspace, Delete, history, completion. Lines longer than the terminal scroll.</summary>
/// <param name="terminal">Where keys come from.</param>
/// <param name="prompt">What stands before the line; visible characters only.</param>
/// <param name="history">Earlier lines.</param>
/// <param name="complete">What the word before the cursor may become: gets the line up to the cursor; whole words, in order.</param>
internal sealed class LineEditor(IPromptTerminal terminal, string prompt, LineHistory history, Func<string, IReadOnlyList<string>> complete)
{
    /// <summary>Candidates that are listed; of more, only the number.</summary>
    private const int MostListed = 100;

    private const int MaxLine = 4096;

    private readonly StringBuilder _line = new();
    private int _cursor, _place;
    private string _draft = "";

    /// <summary>Reads a line.</summary>
    public LineEnd Read(out string line)
    {
        _line.Clear();
        (_cursor, _place, _draft) = (0, history.Lines.Count, "");
        terminal.Edit(begins: true);
        try
        {
            Show();
            LineEnd? end;
            while ((end = terminal.ReadKey() is { } key ? Take(key) : LineEnd.EndOfInput) is null)
                Show();
            terminal.Write("\r\n");
            line = end == LineEnd.Entered ? _line.ToString() : "";
            return end.Value;
        }
        finally
        {
            terminal.Edit(begins: false);
        }
    }

    private LineEnd? Take(ConsoleKeyInfo key)
    {
        bool control = key.Modifiers.HasFlag(ConsoleModifiers.Control);
        switch (key.Key)
        {
            case ConsoleKey.Enter:
            case ConsoleKey.J when control:
                return LineEnd.Entered;
            case ConsoleKey.C when control:
                terminal.Write("^C");
                return LineEnd.Abandoned;
            case ConsoleKey.D when control && _line.Length == 0:
                return LineEnd.EndOfInput;
            case ConsoleKey.Delete or ConsoleKey.D when key.Key == ConsoleKey.Delete || control:
                Remove(_cursor, 1);
                break;
            case ConsoleKey.Backspace or ConsoleKey.H when key.Key == ConsoleKey.Backspace || control:
                Remove(_cursor - 1, 1);
                break;
            case ConsoleKey.LeftArrow or ConsoleKey.B when key.Key == ConsoleKey.LeftArrow || control:
                _cursor = Math.Max(0, _cursor - 1);
                break;
            case ConsoleKey.RightArrow or ConsoleKey.F when key.Key == ConsoleKey.RightArrow || control:
                _cursor = Math.Min(_line.Length, _cursor + 1);
                break;
            case ConsoleKey.Home or ConsoleKey.A when key.Key == ConsoleKey.Home || control:
                _cursor = 0;
                break;
            case ConsoleKey.End or ConsoleKey.E when key.Key == ConsoleKey.End || control:
                _cursor = _line.Length;
                break;
            case ConsoleKey.UpArrow or ConsoleKey.P when key.Key == ConsoleKey.UpArrow || control:
                Recall(_place - 1);
                break;
            case ConsoleKey.DownArrow or ConsoleKey.N when key.Key == ConsoleKey.DownArrow || control:
                Recall(_place + 1);
                break;
            case ConsoleKey.K when control:
                Remove(_cursor, _line.Length - _cursor);
                break;
            case ConsoleKey.U when control:
                Remove(0, _cursor);
                break;
            case ConsoleKey.W when control:
                Remove(WordStart(), _cursor - WordStart());
                break;
            case ConsoleKey.L when control:
                terminal.Write("\e[H\e[2J");
                break;
            case ConsoleKey.Tab:
                Complete();
                break;
            default:
                if (!char.IsControl(key.KeyChar) && _line.Length < MaxLine)
                    _line.Insert(_cursor++, key.KeyChar);
                break;
        }

        return null;
    }

    private void Remove(int at, int count)
    {
        count = Math.Min(count, _line.Length - at);
        if (at < 0 || count <= 0)
            return;
        _line.Remove(at, count);
        _cursor = Math.Min(at, _line.Length);
    }

    private void Recall(int place)
    {
        if (place < 0 || place > history.Lines.Count)
            return;
        if (_place == history.Lines.Count)
            _draft = _line.ToString();
        _place = place;
        _line.Clear().Append(place == history.Lines.Count ? _draft : history.Lines[place]);
        _cursor = _line.Length;
    }

    private int WordStart()
    {
        int at = _cursor;
        while (at > 0 && _line[at - 1] == ' ')
            at--;
        while (at > 0 && _line[at - 1] != ' ')
            at--;
        return at;
    }

    private void Complete()
    {
        string before = _line.ToString(0, _cursor);
        int start = before.LastIndexOf(' ') + 1;
        IReadOnlyList<string> all = complete(before);
        if (all.Count == 0)
            return;
        string common = all[0];
        foreach (string each in all)
            common = common[..common.AsSpan().CommonPrefixLength(each)];
        string word = before[start..];
        if (all.Count == 1)
            Insert(common[word.Length..] + " ");
        else if (common.Length > word.Length)
            Insert(common[word.Length..]);
        else
            List(all);
    }

    private void Insert(string text)
    {
        if (_line.Length + text.Length > MaxLine)
            return;
        _line.Insert(_cursor, text);
        _cursor += text.Length;
    }

    private void List(IReadOnlyList<string> all)
    {
        if (all.Count > MostListed)
        {
            terminal.Write($"\r\n{all.Count} possibilities; type more\r\n");
            return;
        }

        // Names of symbols are the guest's.
        string[] safe = [.. all.Select(a => Safe.Text(a, 128))];
        int width = safe.Max(s => s.Length) + 2, columns = Math.Max(1, terminal.Width / width);
        var text = new StringBuilder("\r\n");
        for (int i = 0; i < safe.Length; i++)
            text.Append((i + 1) % columns == 0 || i == safe.Length - 1 ? safe[i] + "\r\n" : safe[i].PadRight(width));
        terminal.Write(text.ToString());
    }

    private void Show()
    {
        // One line of the terminal: what does not fit beside the cursor is out of sight.
        int room = Math.Max(4, terminal.Width - prompt.Length - 1), from = Math.Max(0, _cursor - room);
        string shown = Safe.Text(_line.ToString(from, Math.Min(room, _line.Length - from)));
        int column = prompt.Length + Safe.Text(_line.ToString(from, _cursor - from)).Length;
        terminal.Write($"\r{prompt}{shown}\e[K\r{(column > 0 ? $"\e[{column}C" : "")}");
    }
}
