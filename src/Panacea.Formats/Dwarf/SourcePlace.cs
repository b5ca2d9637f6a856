namespace Panacea.Formats.Dwarf;

/// <summary>A line of source code.</summary>
/// <param name="File">Path as the compiler was given it, <c>.</c> and <c>..</c> resolved; relative to the directory of the compilation where it lies below it: <c>fs/read_write.c</c>.</param>
/// <param name="Line">Line from 1; 0 where the code comes of no one line.</param>
public sealed record SourceLine(string File, int Line)
{
    /// <summary><c>file:line</c>.</summary>
    public override string ToString() => $"{File}:{Line}";
}

/// <summary>A function that the compiler has put into another.</summary>
/// <param name="Function">Its name; null where it is not told.</param>
/// <param name="Source">The line within it; null where it is not told.</param>
public sealed record InlinedCall(string? Function, SourceLine? Source);

/// <summary>What debug information says of one address.</summary>
/// <param name="Function">The function whose code it is; null where none is told, as in assembly.</param>
/// <param name="Source">The line in that function: where there are inlined ones, the line that calls the outermost of them.</param>
/// <param name="Inlined">What is inlined there, innermost first; empty where nothing is.</param>
/// <param name="Directory">Directory of the compilation; null where it is not told.</param>
public sealed record SourcePlace(string? Function, SourceLine? Source, IReadOnlyList<InlinedCall> Inlined, string? Directory);
