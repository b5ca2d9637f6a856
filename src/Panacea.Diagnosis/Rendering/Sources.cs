using Panacea.Diagnosis.DebugInfo;
using Panacea.Formats.Dwarf;

namespace Panacea.Diagnosis.Rendering;

/// <summary>Source lines and inlined functions as text. Nothing where there is no debug information. What comes out still has to go through <see cref="Safe"/>.</summary>
internal static class Sources
{
    /// <summary>What stands behind a place: <c> at fs/read_write.c:679</c>.</summary>
    public static string At(SourceLine? source) => source is null ? "" : $" at {source}";

    /// <summary>An inlined function: <c>file_start_write at include/linux/fs.h:3000 (inlined)</c>.</summary>
    public static string Line(InlinedCall call) => $"{call.Function ?? "a function without a name"}{At(call.Source)} (inlined)";

    /// <summary>Where the code is: the innermost inlined function, and then those that it is in.</summary>
    public static string? Whole(SourceLine? source, IReadOnlyList<InlinedCall> inlined) =>
        source is null && inlined.Count == 0 ? null : string.Join("; ", [.. inlined.Select(i => $"{Line(i)}, in"), source?.ToString() ?? "a line that is not told"]);

    /// <summary>A file that was used.</summary>
    public static string Used(UsedDebugFile file) =>
        $"{file.File}: {(file.Module is { } module ? $"module {module}" : "the kernel")}, {(file.MatchedBy switch { "build-id" => $"same build id {file.BuildId}", "banner" => "same banner", _ => "same release, build and sizes of functions" })}";
}
