using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.CommandLine;

/// <summary>What is to be looked at, as the user named it: a running VM, or the files of a dump.</summary>
/// <param name="Text">As it was written.</param>
/// <param name="Target">The VM; null for files.</param>
/// <param name="Files">The files, full paths; empty for a VM.</param>
internal sealed record SourceName(string Text, TargetName? Target, IReadOnlyList<string> Files)
{
    /// <summary>Reads a source: <c>qmp:…</c>, <c>pid:N</c>, or files that exist, with commas between those of a split dump.</summary>
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

        // A comma may be part of a name.
        string[] paths = File.Exists(text) ? [text] : text.Split(',');
        foreach (string path in paths)
        {
            if (File.Exists(path))
                continue;
            string shown = Safe.Text(path, 256);
            error = Directory.Exists(path) ? $"'{shown}' is a directory; name the dump's file"
                : paths.Length == 1 && !TargetName.TryParse(text, out _, out string? target) && int.TryParse(text, out _) ? target
                : $"there is no file '{shown}'; a source is a dump file, qmp:/path/to/socket or pid:N";
            return false;
        }

        source = new SourceName(text, null, [.. paths.Select(Path.GetFullPath)]);
        return true;
    }
}
