using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Panacea.Target.Qemu;

/// <summary>Whether the host lets a process run at all (proc(5), cgroups(7)).</summary>
/// <param name="pid">The process.</param>
/// <param name="proc">Where procfs is; another directory in tests.</param>
/// <param name="cgroups">Where the hierarchy of cgroups v2 is.</param>
internal sealed class HostProcess(int pid, string proc = "/proc", string cgroups = "/sys/fs/cgroup")
{
    private const int LongestFile = 4096;

    /// <summary>It is stopped by a signal or a debugger, waits uninterruptibly, or its cgroup is frozen; also where that can't be told.</summary>
    public bool IsSuspended()
    {
        // The third field, behind the name, which may hold anything.
        if (Read($"{proc}/{pid}/stat") is not { } stat || stat.LastIndexOf(')') is var end && (end < 0 || end + 2 >= stat.Length || stat[end + 2] is not ('R' or 'S')))
            return true;
        return Read($"{proc}/{pid}/cgroup")?.Split('\n').FirstOrDefault(line => line.StartsWith("0::/", StringComparison.Ordinal)) is { } line && !line.Contains("..", StringComparison.Ordinal)
            && Read($"{cgroups}{line[3..]}/cgroup.events")?.Contains("frozen 1", StringComparison.Ordinal) == true;
    }

    private static string? Read(string file)
    {
        try
        {
            Span<byte> text = stackalloc byte[LongestFile];
            using SafeFileHandle handle = File.OpenHandle(file);
            return Encoding.Latin1.GetString(text[..RandomAccess.Read(handle, text, 0)]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
