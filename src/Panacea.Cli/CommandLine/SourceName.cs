using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.CommandLine;

/// <summary>What is to be looked at, as the user named it: a running VM, the files of a dump, or a console log.</summary>
/// <param name="Text">As it was written.</param>
/// <param name="Target">The VM; null for files.</param>
/// <param name="Files">The files, full paths; empty for a VM.</param>
internal sealed record SourceName(string Text, TargetName? Target, IReadOnlyList<string> Files)
{
    /// <summary>A console log on standard input.</summary>
    public bool IsStandardInput => Text == "-";

    /// <summary>Reads a source: <c>qmp:…</c>, <c>pid:N</c>, or files, with commas between those of a split dump. Looks at nothing but the text.</summary>
    /// <param name="text">What the user wrote.</param>
    /// <param name="source">The source.</param>
    /// <param name="error">What is wrong with it and what to write instead.</param>
    public static bool TryParse(string text, out SourceName? source, out string? error)
    {
        (source, error) = (null, null);
        if (text.StartsWith("qmp:", StringComparison.Ordinal) || text.StartsWith("pid:", StringComparison.Ordinal))
        {
            if (!TargetName.TryParse(text, out TargetName? target, out error))
                return false;
            source = new SourceName(target!.Text, target, []);
            return true;
        }

        source = new SourceName(text, null, [text]);
        return true;
    }

    /// <summary>The files as they are on disk, full paths.</summary>
    /// <exception cref="CliException">One is not there.</exception>
    public SourceName Found()
    {
        if (Target is not null || IsStandardInput)
            return this;

        // A comma may be part of a name.
        string[] paths = File.Exists(Text) ? [Text] : Text.Split(',');
        foreach (string path in paths)
        {
            if (File.Exists(path))
                continue;
            string shown = Safe.Text(path, 256);
            throw new CliException(ExitCodes.Usage, Directory.Exists(path)
                ? $"'{shown}' is a directory; name the dump's file"
                : $"there is no file '{shown}'; a source is a dump file, qmp:/path/to/socket or pid:N{(int.TryParse(path, out int pid) && pid > 0 ? $", as pid:{pid}" : "")}");
        }

        return this with { Files = [.. paths.Select(Path.GetFullPath)] };
    }
}
