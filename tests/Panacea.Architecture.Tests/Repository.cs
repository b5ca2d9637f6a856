using System.Xml.Linq;

namespace Panacea.Architecture.Tests;

/// <summary>The source tree that these tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>Names of the projects under src, without the prefix: Target, Target.Qemu, …</summary>
    public static IReadOnlyList<string> Rooms { get; } =
        [.. Directory.GetDirectories(Path.Combine(Root, "src"), "Panacea.*").Select(path => Path.GetFileName(path)["Panacea.".Length..]).Order(StringComparer.Ordinal)];

    /// <summary>C# files under some folders of the tree, relative to its root, without what builds leave behind.</summary>
    public static IEnumerable<string> SourceFiles(params string[] folders) => folders
        .Select(folder => Path.Combine(Root, folder)).Where(Directory.Exists)
        .SelectMany(folder => Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories))
        .Select(path => Path.GetRelativePath(Root, path))
        .Where(path => !path.Split('/').Any(part => part is "obj" or "bin" or "artifacts"));

    public static string Read(string relativePath) => File.ReadAllText(Path.Combine(Root, relativePath));

    /// <summary>Project references of a room, as rooms.</summary>
    public static IReadOnlyList<string> ProjectReferences(string room)
    {
        string path = Path.Combine(Root, "src", $"Panacea.{room}", $"Panacea.{room}.csproj");
        return [.. XDocument.Load(path).Descendants("ProjectReference")
            .Select(e => Path.GetFileNameWithoutExtension(e.Attribute("Include")!.Value.Replace('\\', '/'))["Panacea.".Length..])];
    }

    private static string FindRoot()
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
        {
            if (File.Exists(Path.Combine(at, "Panacea.slnx")))
                return at;
        }

        throw new DirectoryNotFoundException("Panacea.slnx is not above the tests: run them from the source tree");
    }
}
