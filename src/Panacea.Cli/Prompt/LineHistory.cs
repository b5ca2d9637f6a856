namespace Panacea.Cli.Prompt;

/// <summary>Lines typed at a prompt, the oldest first, kept in a file of the user's own. Whatever is wrong with the file, the prompt goes on without it.</summary>
internal sealed class LineHistory
{
    /// <summary>Lines that are kept.</summary>
    public const int Most = 1000;

    private const int MaxFileBytes = 1 << 20;
    private readonly List<string> _lines = [];
    private readonly string? _file;

    /// <summary>Reads the file.</summary>
    /// <param name="file">The file, or null for none.</param>
    public LineHistory(string? file)
    {
        _file = file;
        try
        {
            if (file is null || !File.Exists(file) || new FileInfo(file).Length > MaxFileBytes)
                return;

            // What could not have been typed is not offered: it would be written to the terminal as it is.
            _lines.AddRange(File.ReadLines(file).Where(l => l.Length > 0 && !l.Any(char.IsControl)).TakeLast(Most));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _file = null;
        }
    }

    /// <summary>The lines.</summary>
    public IReadOnlyList<string> Lines => _lines;

    /// <summary>Adds a line, unless it is the last one again.</summary>
    public void Add(string line)
    {
        if (line.Length == 0 || (_lines.Count > 0 && _lines[^1] == line))
            return;
        _lines.Add(line);
        if (_lines.Count > Most)
            _lines.RemoveAt(0);
    }

    /// <summary>Writes the file, for its owner alone.</summary>
    public void Save()
    {
        if (_file is null)
            return;
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_file)!, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using (var stream = new FileStream(_file, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = Owner }))
            {
                // A file that was there already keeps its mode.
                File.SetUnixFileMode(stream.SafeFileHandle, Owner);
                using var writer = new StreamWriter(stream) { NewLine = "\n" };
                foreach (string line in _lines)
                    writer.WriteLine(line);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A history that can't be kept is no reason to end with an error.
        }
    }
}
