using System.Text.RegularExpressions;

namespace Panacea.Architecture.Tests;

/// <summary>What CONTRIBUTING.md asks of every file.</summary>
public partial class HouseRuleTests
{
    private const int MaxLines = 500;

    [Fact]
    public void A_person_can_read_a_file_in_one_sitting() => AssertNone(
        Repository.SourceFiles("src", "lab", "tests", "fuzz", "bench").Select(file => (file, Lines: Repository.Read(file).Count(c => c == '\n')))
            .Where(each => each.Lines >= MaxLines).Select(each => $"{each.file}: {each.Lines} lines, {MaxLines - 1} at most"));

    [Fact]
    public void Every_public_type_says_what_it_is()
    {
        // Of a partial type, one part has the documentation.
        string[] files = [.. Repository.SourceFiles("src")];
        var documented = files.SelectMany(file => Types(file, Repository.Read(file))).Where(type => type.Documented).Select(type => type.Key).ToHashSet();
        AssertNone(files.SelectMany(file => Types(file, Repository.Read(file))).Where(type => !documented.Contains(type.Key))
            .Select(type => $"{type.Where} has no documentation"));
    }

    [Fact]
    public void Every_unsafe_file_says_why_it_is_safe() => AssertNone(
        Repository.SourceFiles("src", "lab").Where(file => Unsafe().IsMatch(Repository.Read(file)) && !Repository.Read(file).Contains("SAFETY:", StringComparison.Ordinal))
            .Select(file => $"{file}: unsafe without a SAFETY: comment"));

    [Fact]
    public void Every_project_has_its_tests()
    {
        var missing = Repository.Rooms
            .Select(room => $"tests/Panacea.{room}.Tests/Panacea.{room}.Tests.csproj").Where(path => !File.Exists(Path.Combine(Repository.Root, path)));
        AssertNone(missing);
    }

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        string solution = Repository.Read("Panacea.slnx");
        AssertNone(((string[])["src", "lab", "tests"]).SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Repository.Root, folder), "*.csproj", SearchOption.AllDirectories))
            .Select(path => Path.GetRelativePath(Repository.Root, path)).Where(path => !solution.Contains($"\"{path}\"", StringComparison.Ordinal)));
    }

    [Fact]
    public void There_is_no_python() => AssertNone(
        ((string[])["src", "lab", "tests", "bench", "fuzz", "docs"]).Select(folder => Path.Combine(Repository.Root, folder)).Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.py", SearchOption.AllDirectories)));

    [Fact]
    public void A_type_without_documentation_would_be_found()
    {
        Assert.False(Assert.Single(Types("x.cs", "namespace X;\n\npublic sealed class A;\n")).Documented);
        Assert.True(Assert.Single(Types("x.cs", "/// <summary>A.</summary>\n[Flags]\n[JsonConverter(\n    typeof(B))]\npublic enum A\n")).Documented);
    }

    private static IEnumerable<(string Key, bool Documented, string Where)> Types(string file, string text)
    {
        string[] lines = text.Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            if (!PublicType().IsMatch(lines[i]))
                continue;
            int above = i - 1;
            while (above >= 0 && lines[above].Trim() is { Length: > 0 } line && !line.StartsWith("///", StringComparison.Ordinal) && !line.EndsWith('}') && !line.EndsWith(';'))
                above--; // attributes, on one line or several
            yield return (
                $"{Path.GetDirectoryName(file)}:{PublicType().Match(lines[i]).Groups["name"].Value}", above >= 0 && lines[above].TrimStart().StartsWith("///", StringComparison.Ordinal), $"{file}:{i + 1}: {lines[i].Trim()}");
        }
    }

    private static void AssertNone(IEnumerable<string> violations)
    {
        string[] all = [.. violations];
        Assert.True(all.Length == 0, string.Join('\n', all));
    }

    [GeneratedRegex(@"^public (\w+ )*(class|record|struct|interface|enum|delegate) (?<name>\w+)")]
    private static partial Regex PublicType();

    [GeneratedRegex(@"^\s*(\w+ )*unsafe\b", RegexOptions.Multiline)]
    private static partial Regex Unsafe();
}
