using Panacea.Sessions.Dumping;
using Panacea.TestKit;

namespace Panacea.Sessions.Tests;

/// <summary>A dump's file is there whole or not at all.</summary>
public sealed class DumpFileTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void A_file_is_in_its_place_when_it_is_whole()
    {
        string path = _directory.File("core");
        using (DumpFile file = DumpFile.Create(path, overwrite: false))
        {
            file.Write(0, [1, 2, 3]);
            file.Write(8192, [4]);
            file.SetLength(12_288);
            Assert.False(File.Exists(path));
            file.Complete();
        }

        byte[] bytes = File.ReadAllBytes(path);
        Assert.Equal((12_288, 1, 0, 4), (bytes.Length, bytes[0], bytes[4096], bytes[8192]));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.Equal([path], Directory.GetFiles(_directory.Path));
    }

    [Fact]
    public void A_file_that_does_not_become_whole_is_removed()
    {
        using (DumpFile file = DumpFile.Create(_directory.File("core"), overwrite: false))
            file.Write(0, [1]);
        Assert.Empty(Directory.GetFiles(_directory.Path));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_that_is_there_is_replaced_only_when_asked_for(bool overwrite)
    {
        string path = _directory.File("core");
        File.WriteAllText(path, "old");
        if (!overwrite)
        {
            Assert.Contains("--force", Assert.Throws<IOException>(() => DumpFile.Create(path, overwrite)).Message);
            return;
        }

        using (DumpFile file = DumpFile.Create(path, overwrite))
            file.Write(0, [1]);
        Assert.Equal("old", File.ReadAllText(path));
        using (DumpFile file = DumpFile.Create(path, overwrite))
        {
            file.Write(0, [1]);
            file.Complete();
        }

        Assert.Equal([1], File.ReadAllBytes(path));
    }

    [Fact]
    public void What_is_no_place_for_a_file_is_refused()
    {
        File.CreateSymbolicLink(_directory.File("link"), _directory.File("target"));
        File.WriteAllText(_directory.File("target"), "");
        Assert.Throws<IOException>(() => DumpFile.Create(_directory.Path, overwrite: true));
        Assert.Throws<IOException>(() => DumpFile.Create(_directory.File("nowhere/core"), overwrite: true));
        Assert.Throws<IOException>(() => DumpFile.Create("/dev/null", overwrite: true));
        Assert.Throws<IOException>(() => DumpFile.Create(_directory.File("link"), overwrite: true));
    }

    [Fact]
    public void A_disk_without_room_is_told_before_anything_is_written()
    {
        using DumpFile file = DumpFile.Create(_directory.File("core"), overwrite: false);
        file.Require(1);
        Assert.Contains("are free", Assert.Throws<IOException>(() => file.Require(1L << 60)).Message);
    }

    public void Dispose() => _directory.Dispose();
}
