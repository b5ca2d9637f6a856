using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;

namespace Panacea.Architecture.Tests;

/// <summary>The arrows of ARCHITECTURE.md's table, read from that table.</summary>
public partial class ArrowTests
{
    /// <summary>Room → rooms it may use; null stands for all.</summary>
    private static readonly Dictionary<string, string[]?> Allowed = ReadTable();

    public static TheoryData<string> Rooms => [.. Repository.Rooms];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void Every_room_has_its_row_in_the_table(string room) => Assert.Contains(room, Allowed.Keys);

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_project_references_only_what_the_table_allows(string room)
    {
        if (Allowed[room] is { } allowed)
            Assert.Empty(Repository.ProjectReferences(room).Except(allowed));
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void An_assembly_uses_only_what_lies_behind_it(string room)
    {
        if (Allowed[room] is null)
            return;
        using PEReader file = Open(room);
        MetadataReader metadata = file.GetMetadataReader();
        IEnumerable<string> used = metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name))
            .Where(name => name.StartsWith("Panacea.", StringComparison.Ordinal)).Select(name => name["Panacea.".Length..]);
        Assert.Empty(used.Except(Closure(room)));
    }

    [Fact]
    public void There_are_no_cycles() => Assert.All(Repository.Rooms.Where(room => Allowed[room] is not null), room => Assert.DoesNotContain(room, Closure(room)));

    /// <summary>Only a journal writes into a guest, and journals live in Repair (Sessions and the hypervisor's own room stand around it).</summary>
    [Theory]
    [InlineData("Formats")]
    [InlineData("Kernel")]
    [InlineData("Diagnosis")]
    [InlineData("Daemon")]
    [InlineData("Cli")]
    public void A_room_that_understands_or_shows_never_writes_into_a_guest(string room)
    {
        using PEReader file = Open(room);
        MetadataReader metadata = file.GetMetadataReader();
        foreach (MemberReferenceHandle handle in metadata.MemberReferences)
        {
            MemberReference member = metadata.GetMemberReference(handle);
            if (member.Parent.Kind != HandleKind.TypeReference)
                continue;
            string type = metadata.GetString(metadata.GetTypeReference((TypeReferenceHandle)member.Parent).Name);
            string name = metadata.GetString(member.Name);
            Assert.False(type == "IStoppedGuest" && name is "TryWrite" or "WriteRegister", $"Panacea.{room} calls {type}.{name}");
        }
    }

    [Fact]
    public void The_lab_does_not_know_the_command_line() =>
        Assert.DoesNotContain("Panacea.Cli", Repository.Read("lab/Panacea.Lab/Panacea.Lab.csproj"), StringComparison.Ordinal);

    private static PEReader Open(string room)
    {
        string name = room == "Cli" ? "panacea" : $"Panacea.{room}";
        return new PEReader(File.OpenRead(Path.Combine(AppContext.BaseDirectory, name + ".dll")));
    }

    private static HashSet<string> Closure(string room)
    {
        var reached = new HashSet<string>();
        var todo = new Queue<string>(Allowed[room] ?? []);
        while (todo.TryDequeue(out string? next))
        {
            if (!reached.Add(next))
                continue;
            foreach (string further in Allowed[next] ?? [])
                todo.Enqueue(further);
        }

        return reached;
    }

    private static Dictionary<string, string[]?> ReadTable()
    {
        var table = new Dictionary<string, string[]?>();
        foreach (Match row in Row().Matches(Repository.Read("ARCHITECTURE.md")))
        {
            string uses = row.Groups["uses"].Value.Trim();
            table[row.Groups["room"].Value] = uses switch
            {
                "–" => [],
                "all" => null,
                _ => [.. uses.Split(',').Select(use => use.Trim())],
            };
        }

        return table;
    }

    [GeneratedRegex(@"^\| `src/Panacea\.(?<room>[\w.]+)` \|.*\| (?<uses>[^|]*) \|$", RegexOptions.Multiline)]
    private static partial Regex Row();
}
