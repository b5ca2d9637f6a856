using System.Globalization;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>What e2fsck said of a disk that is not in use.</summary>
/// <param name="IsClean">It found nothing to repair.</param>
/// <param name="Output">Its words.</param>
public sealed record FsckResult(bool IsClean, string Output);

/// <summary>ext4 images on the host: made, checked and read without mounting them.</summary>
public static class DiskImage
{
    /// <summary>Makes a sparse file with an empty ext4 in it.</summary>
    public static async Task CreateAsync(string path, int mebibytes, CancellationToken cancel = default)
    {
        await using (FileStream file = File.Create(path))
            file.SetLength((long)mebibytes << 20);
        await HostCommand.MustAsync("mkfs.ext4", ["-q", "-F", "-L", "panacea-lab", path], null, cancel);
    }

    /// <summary>Checks the file system without changing it.</summary>
    public static async Task<FsckResult> CheckAsync(string path, CancellationToken cancel = default)
    {
        HostCommandResult result = await HostCommand.RunAsync("e2fsck", ["-f", "-n", path], null, cancel);
        return new FsckResult(result.ExitCode == 0, (result.Output + result.Error).Trim());
    }

    /// <summary>A file's bytes out of the image of a guest that is shut down.</summary>
    /// <exception cref="LabException">There is no such file.</exception>
    public static async Task<byte[]> ReadFileAsync(string image, string path, CancellationToken cancel = default) =>
        await TryReadFileAsync(image, path, cancel) ?? throw new LabException($"no {path} in {image}");

    /// <summary>A file's bytes out of the image of a guest that is shut down; null where there is no such file.</summary>
    public static async Task<byte[]?> TryReadFileAsync(string image, string path, CancellationToken cancel = default)
    {
        string copy = Path.Combine(Path.GetDirectoryName(image)!, $"dump-{Environment.TickCount64.ToString(CultureInfo.InvariantCulture)}");
        await HostCommand.MustAsync("debugfs", ["-R", $"dump {path} {copy}", image], null, cancel);
        if (!File.Exists(copy))
            return null;
        byte[] bytes = await File.ReadAllBytesAsync(copy, cancel);
        File.Delete(copy);
        return bytes;
    }
}
