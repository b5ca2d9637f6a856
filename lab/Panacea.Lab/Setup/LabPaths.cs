namespace Panacea.Lab.Setup;

/// <summary>Where the lab keeps things on the host.</summary>
public static class LabPaths
{
    /// <summary>The cache root: <c>${XDG_CACHE_HOME:-~/.cache}/panacea</c>. Everything below it can be deleted at any time.</summary>
    public static string Cache { get; } = Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg)
            ? xdg
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
        "panacea");

    /// <summary>A directory below <see cref="Cache"/>, created where missing.</summary>
    public static string CacheDirectory(params string[] parts) =>
        Directory.CreateDirectory(Path.Combine([Cache, .. parts])).FullName;

    /// <summary>Makes a new private directory for one run of one guest (sockets, console log, disk). Short, because a Unix socket's path is
    /// limited to 107 bytes.</summary>
    public static string NewRunDirectory() => Directory.CreateTempSubdirectory("panacea-lab-").FullName;
}
