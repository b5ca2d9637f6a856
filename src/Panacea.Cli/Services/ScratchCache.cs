using Panacea.Daemon;
using Panacea.Kernel.Image;

namespace Panacea.Cli.Services;

/// <summary>A directory for an image that is only looked at: a mapped file lives on without its name, so the name goes at once.</summary>
internal static class ScratchCache
{
    /// <summary>Opens or builds an image over a directory of its own.</summary>
    public static RepairImage Use(Func<string, RepairImage> open)
    {
        string directory = Path.Combine(StatePaths.Images, $".scratch-{Environment.ProcessId}-{Guid.NewGuid():n}");
        Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        try
        {
            return open(directory);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
