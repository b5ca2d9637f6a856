using System.Text.Json;
using Panacea.Sessions;

namespace Panacea.Daemon.Tests;

public sealed class IncidentStoreTests : IDisposable
{
    private readonly string _directory = Path.Combine(Path.GetTempPath(), $"panacea-store-{Guid.NewGuid():N}");
    private readonly List<string> _reports = [];

    private IncidentStore Store(IncidentStoreLimits? limits = null) => new(_directory, _reports.Add, limits);

    public void Dispose()
    {
        if (Directory.Exists(_directory))
            Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void A_record_is_three_files_that_only_their_owner_may_read()
    {
        string? path = Store().Store(Samples.Incident());

        Assert.Equal(Path.Combine(_directory, "20261123T140500Z-4f2a"), path);
        Assert.Equal(["console.txt", "incident.json", "report.md"], Directory.GetFiles(path!).Select(Path.GetFileName).Order());
        Assert.All(Directory.GetFiles(path!), file => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file)));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(path!));
        Assert.Empty(_reports);
    }

    [Fact]
    public void A_record_reads_back_as_it_was()
    {
        string path = Store().Store(Samples.Incident())!;
        Incident? back = JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(path, "incident.json")), IncidentJson.Default.Incident);
        Assert.Equal(
            JsonSerializer.Serialize(Samples.Incident(), IncidentJson.Default.Incident), JsonSerializer.Serialize(back!, IncidentJson.Default.Incident));
    }

    [Fact]
    public void The_console_file_is_text_without_the_guests_escapes() => Assert.Equal(
        "[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000010\n[   12.345679] \\x1b[31mred\n",
        File.ReadAllText(Path.Combine(Store().Store(Samples.Incident())!, "console.txt")));

    [Fact]
    public void A_directory_that_cannot_be_made_is_reported_not_thrown()
    {
        File.WriteAllText(_directory, "");
        try
        {
            Assert.Null(Store().Store(Samples.Incident()));
            Assert.Contains("could not be stored", Assert.Single(_reports), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(_directory);
        }
    }

    [Theory]
    [InlineData("../../etc/passwd")]
    [InlineData("/etc/passwd")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("a\nb")]
    public void An_id_that_is_a_path_is_refused(string id)
    {
        Assert.Null(Store().Store(Samples.Incident(id)));
        Assert.Single(_reports);
        Assert.False(Directory.Exists(_directory));
    }

    [Fact]
    public void Equal_ids_get_records_of_their_own()
    {
        IncidentStore store = Store();
        string? first = store.Store(Samples.Incident()), second = store.Store(Samples.Incident());
        Assert.NotEqual(first, second);
        Assert.Equal($"{first}-2", second);
    }

    [Fact]
    public void The_oldest_records_go_first_and_other_directories_stay()
    {
        IncidentStore store = Store(new IncidentStoreLimits { MaxIncidents = 3 });
        Directory.CreateDirectory(Path.Combine(_directory, "0-not-a-record"));
        foreach (int i in Enumerable.Range(1, 5))
            store.Store(Samples.Incident($"2026112{i}-x"));
        Assert.Equal(["0-not-a-record", "20261123-x", "20261124-x", "20261125-x"], Directory.GetDirectories(_directory).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void A_record_that_is_too_large_loses_its_console_and_says_so()
    {
        Incident big = Samples.Incident() with { Console = [.. Enumerable.Range(0, 200).Select(i => new Diagnosis.ConsoleLine(0, new string('x', 1000)))] };
        string? path = Store(new IncidentStoreLimits { MaxRecordBytes = 100_000 }).Store(big);
        Incident? back = JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(path!, "incident.json")), IncidentJson.Default.Incident);
        Assert.Empty(back!.Console);
        Assert.Contains("left out", back.Errors[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_record_that_is_too_large_even_so_leaves_nothing_behind()
    {
        Assert.Null(Store(new IncidentStoreLimits { MaxRecordBytes = 100 }).Store(Samples.Incident()));
        Assert.Empty(Directory.GetFileSystemEntries(_directory));
        Assert.Single(_reports);
    }

    [Fact]
    public void A_full_disk_is_left_alone()
    {
        Assert.Null(Store(new IncidentStoreLimits { MinFreeBytes = long.MaxValue }).Store(Samples.Incident()));
        Assert.Contains("make room", Assert.Single(_reports), StringComparison.Ordinal);
    }
}
