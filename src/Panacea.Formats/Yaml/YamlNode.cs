namespace Panacea.Formats.Yaml;

/// <summary>A part of a YAML document: a text, a list or a mapping. All scalars are texts: what looks like null, a number or a truth value is left to the reader.</summary>
/// <param name="Line">Line of the file, from 1.</param>
/// <param name="Column">Character of the line, from 1.</param>
public abstract record YamlNode(int Line, int Column);

/// <summary>A scalar.</summary>
public sealed record YamlText(int Line, int Column, string Text) : YamlNode(Line, Column);

/// <summary>A sequence.</summary>
public sealed record YamlList(int Line, int Column, IReadOnlyList<YamlNode> Items) : YamlNode(Line, Column);

/// <summary>A mapping, in the order of the file; a name may stand there twice.</summary>
public sealed record YamlMap(int Line, int Column, IReadOnlyList<(YamlText Key, YamlNode Value)> Members) : YamlNode(Line, Column);

/// <summary>What was refused (<see cref="YamlTree.Read"/>) stands in the place of a value: it has been said already.</summary>
public sealed record YamlRefused(int Line, int Column) : YamlNode(Line, Column);

/// <summary>A place of a file and what is wrong there.</summary>
/// <param name="Line">Line, from 1; 0 where it is the file as a whole.</param>
/// <param name="Column">Character of the line, from 1; 0 where there is none.</param>
/// <param name="Sentence">What is wrong and what to write, without place and full stop.</param>
public sealed record YamlMistake(int Line, int Column, string Sentence);

/// <summary>A file that is no YAML, or more of it than is read.</summary>
/// <param name="mistake">Where and what.</param>
public sealed class YamlFileException(YamlMistake mistake) : Exception(mistake.Sentence)
{
    /// <summary>Where and what.</summary>
    public YamlMistake Mistake { get; } = mistake;
}
