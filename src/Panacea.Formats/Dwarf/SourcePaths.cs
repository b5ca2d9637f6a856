namespace Panacea.Formats.Dwarf;

/// <summary>Paths of source files as a person reads them.</summary>
internal static class SourcePaths
{
    /// <summary>Resolves <c>.</c> and <c>..</c>, and takes off the directory of the compilation where the file lies below it.</summary>
    /// <param name="path">Path as the line table has it.</param>
    /// <param name="directory">Directory of the compilation, or null.</param>
    public static string Tidy(string path, string? directory)
    {
        string tidy = Resolve(path);
        if (directory is not { Length: > 0 })
            return tidy;
        string prefix = Resolve(directory) + "/";
        return tidy.StartsWith(prefix, StringComparison.Ordinal) ? tidy[prefix.Length..] : tidy;
    }

    private static string Resolve(string path)
    {
        if (!path.Contains("./", StringComparison.Ordinal) && !path.Contains("//", StringComparison.Ordinal) && !path.EndsWith('/') && !path.EndsWith('.'))
            return path;
        var parts = new List<string>();
        bool isAbsolute = path.StartsWith('/');
        foreach (string part in path.Split('/'))
        {
            if (part is "" or ".")
                continue;
            if (part != "..")
                parts.Add(part);
            else if (parts.Count > 0 && parts[^1] != "..")
                parts.RemoveAt(parts.Count - 1);
            else if (!isAbsolute)
                parts.Add(part);
        }

        return (isAbsolute ? "/" : "") + string.Join('/', parts);
    }
}
