using System.Globalization;
using System.Text;

namespace Panacea.Formats.Yaml;

/// <summary>Files that people write for Panacea: bounded in size, every mistake at once.</summary>
public static class YamlFile
{
    private const int MaxBytes = 1 << 20, MaxMistakes = 100;

    /// <summary>Reads a file. What can't be read is a mistake, too.</summary>
    /// <param name="file">Its path.</param>
    /// <param name="read">Reads its bytes; of a file that is too large, one more than may be.</param>
    /// <param name="wrong">Takes what is wrong with the file itself.</param>
    /// <returns>What either returns.</returns>
    public static T Open<T>(string file, Func<byte[], T> read, Func<YamlMistake, T> wrong)
    {
        byte[] bytes = new byte[MaxBytes + 1];
        try
        {
            using FileStream stream = File.OpenRead(file);
            bytes = bytes[..stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return wrong(new YamlMistake(0, 0, e.Message.TrimEnd('.')));
        }

        return read(bytes);
    }

    /// <summary>Reads the bytes of a file.</summary>
    /// <param name="bytes">UTF-8.</param>
    /// <param name="what">What kind of file it is, for sentences: <c>a policy file</c>.</param>
    /// <param name="reader">Notes mistakes.</param>
    /// <param name="document">Reads the one document; null stands for an empty file.</param>
    /// <returns>What was wrong, in the order of the file; at most 100 and how many there are more.</returns>
    public static IReadOnlyList<YamlMistake> Read(ReadOnlySpan<byte> bytes, string what, YamlReader reader, Action<YamlNode?> document)
    {
        if (bytes.Length > MaxBytes)
            return [new YamlMistake(0, 0, $"it is larger than {MaxBytes >> 20} MiB")];
        try
        {
            document(YamlTree.Read(Encoding.UTF8.GetString(bytes).TrimStart('\ufeff'), what, reader.Mistakes));
        }
        catch (YamlFileException e)
        {
            reader.Mistakes.Add(e.Mistake);
        }

        YamlMistake[] mistakes = [.. reader.Mistakes.DistinctBy(m => (m.Line, m.Column, m.Sentence)).OrderBy(m => m.Line).ThenBy(m => m.Column)];
        return mistakes.Length > MaxMistakes ? [.. mistakes[..MaxMistakes], new YamlMistake(0, 0, $"there are {mistakes.Length - MaxMistakes} mistakes more")] : mistakes;
    }

    /// <summary>A mistake on one line: <c>FILE:LINE:COL: what is wrong; what to write</c>.</summary>
    public static string Line(string file, YamlMistake mistake) => mistake.Line == 0
        ? $"{file}: {mistake.Sentence}" : string.Create(CultureInfo.InvariantCulture, $"{file}:{mistake.Line}:{mistake.Column}: {mistake.Sentence}");
}
