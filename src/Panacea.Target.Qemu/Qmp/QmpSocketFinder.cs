using System.Text;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Qmp;

/// <summary>Finds the QMP sockets of a running QEMU in its command line.</summary>
public static class QmpSocketFinder
{
    private const int MaxCommandLine = 4 << 20;

    /// <summary>Socket paths of a process, usable from here, in the order of its command line.</summary>
    /// <exception cref="AttachException">No such process, or it has no QMP unix socket.</exception>
    public static IReadOnlyList<string> Find(int pid)
    {
        string[] arguments = ReadCommandLine(pid);
        IReadOnlyList<string> paths = FromArguments(arguments);
        if (paths.Count == 0)
        {
            throw new AttachException(
                AttachFailure.NoQmp,
                arguments.Length > 0 && Path.GetFileName(arguments[0]).Contains("qemu", StringComparison.OrdinalIgnoreCase)
                    ? $"QEMU (pid {pid}) has no QMP socket: start it with -qmp unix:/path,server=on,wait=off"
                    : $"pid {pid} has no QMP socket: is it a QEMU? (its command line has neither -qmp nor a control-mode -mon)");
        }

        return [.. paths.Select(path => Resolve(pid, path))];
    }

    /// <summary>A path as QEMU sees it, made usable from here: relative to its working directory, below its root where it has another.</summary>
    public static string Resolve(int pid, string path)
    {
        if (!path.StartsWith('/'))
        {
            string cwd = $"/proc/{pid}/cwd";
            path = Path.Combine(File.ResolveLinkTarget(cwd, returnFinalTarget: false)?.FullName ?? cwd, path);
        }

        string below = $"/proc/{pid}/root{path}";
        bool same = Libc.TryStat(path, true, out Libc.FileIdentity here) && Libc.TryStat(below, true, out Libc.FileIdentity there)
            && here.Inode == there.Inode && here.DeviceMajor == there.DeviceMajor && here.DeviceMinor == there.DeviceMinor;
        return same || !Libc.TryStat(below, true, out _) ? path : below;
    }

    /// <summary>QMP unix socket paths in QEMU's arguments: <c>-qmp</c>, <c>-qmp-pretty</c>, and <c>-mon …,mode=control</c> with its <c>-chardev socket</c>.</summary>
    public static IReadOnlyList<string> FromArguments(IReadOnlyList<string> arguments)
    {
        var sockets = new Dictionary<string, string>();
        var result = new List<string>();
        var monitors = new List<string>();
        for (int i = 0; i + 1 < arguments.Count; i++)
        {
            string name = arguments[i].StartsWith("--", StringComparison.Ordinal) ? arguments[i][1..] : arguments[i];
            string value = arguments[i + 1];
            switch (name)
            {
                case "-qmp" or "-qmp-pretty" when value.StartsWith("unix:", StringComparison.Ordinal):
                    result.Add(Options(value[5..])[0].Value);
                    break;
                case "-qmp" or "-qmp-pretty" when value.StartsWith("chardev:", StringComparison.Ordinal):
                    monitors.Add(value[8..]);
                    break;
                case "-chardev" when value.StartsWith("socket,", StringComparison.Ordinal):
                    List<(string Key, string Value)> chardev = Options(value);
                    if (Get(chardev, "id") is { } id && Get(chardev, "path") is { } path)
                        sockets[id] = path;
                    break;
                case "-mon":
                    List<(string Key, string Value)> mon = Options(value);
                    if (Get(mon, "mode") == "control")
                        monitors.Add(Get(mon, "chardev") ?? mon[0].Value);
                    break;
            }
        }

        foreach (string monitor in monitors)
        {
            if (sockets.TryGetValue(monitor, out string? path))
                result.Add(path);
        }

        return [.. result.Where(p => p.Length > 0).Distinct()];
    }

    private static string? Get(List<(string Key, string Value)> options, string key)
    {
        foreach ((string Key, string Value) option in options)
        {
            if (option.Key == key)
                return option.Value;
        }

        return null;
    }

    /// <summary>Splits <c>value,key=value,…</c>; a doubled comma stands for one (QEMU util/keyval.c, util/qemu-option.c).</summary>
    private static List<(string Key, string Value)> Options(string text)
    {
        var parts = new List<(string, string)>();
        var part = new StringBuilder();
        for (int i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] == ',' && i + 1 < text.Length && text[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else if (i == text.Length || text[i] == ',')
            {
                string whole = part.ToString();
                part.Clear();
                int equals = whole.IndexOf('=');
                parts.Add(equals < 0 ? ("", whole) : (whole[..equals], whole[(equals + 1)..]));
            }
            else
            {
                part.Append(text[i]);
            }
        }

        return parts;
    }

    /// <summary>The words that a process was started with, empty ones among them; the first is the program.</summary>
    /// <exception cref="AttachException">No such process.</exception>
    internal static string[] ReadCommandLine(int pid)
    {
        try
        {
            using FileStream file = new($"/proc/{pid}/cmdline", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            using var bytes = new MemoryStream();
            byte[] chunk = new byte[4096];
            int got;
            while ((got = file.Read(chunk)) > 0 && bytes.Length < MaxCommandLine)
                bytes.Write(chunk, 0, got);

            // Each ends with a zero.
            return Encoding.UTF8.GetString(bytes.ToArray()).Split('\0')[..^1];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new AttachException(AttachFailure.NoSuchProcess, $"there is no process {pid}, or it may not be looked into", e);
        }
    }
}
