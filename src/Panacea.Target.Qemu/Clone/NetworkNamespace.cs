using System.Diagnostics;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Clone;

/// <summary>A network namespace for what must not reach the world (network_namespaces(7)).</summary>
public static class NetworkNamespace
{
    private static readonly Lazy<IReadOnlyList<string>> Found = new(Find);

    /// <summary>What goes in front of a command that is to run in one of its own; empty where this user may make none.</summary>
    public static IReadOnlyList<string> Prefix => Found.Value;

    private static IReadOnlyList<string> Find()
    {
        string[] prefix = Libc.GetEffectiveUserId() == 0 ? ["/usr/bin/unshare", "--net", "--"] : ["/usr/bin/unshare", "--user", "--map-root-user", "--net", "--"];
        try
        {
            using Process? tried = Process.Start(new ProcessStartInfo(prefix[0], [.. prefix[1..], "/bin/true"]) { RedirectStandardError = true });
            tried?.WaitForExit();
            return tried?.ExitCode == 0 ? prefix : [];
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return [];
        }
    }
}
