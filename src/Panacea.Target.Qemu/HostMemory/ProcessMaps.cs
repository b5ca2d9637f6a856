using System.Globalization;

namespace Panacea.Target.Qemu.HostMemory;

/// <summary>One line of <c>/proc/PID/maps</c>.</summary>
/// <param name="Start">First virtual address of the process.</param>
/// <param name="End">First address past the mapping.</param>
/// <param name="IsShared">MAP_SHARED.</param>
/// <param name="FileOffset">Offset of <paramref name="Start"/> in the file.</param>
/// <param name="DeviceMajor">The file's device.</param>
/// <param name="DeviceMinor">The file's device.</param>
/// <param name="Inode">The file's inode, 0 for anonymous memory.</param>
/// <param name="Path">The file's path as the kernel shows it; empty for anonymous memory.</param>
public readonly record struct ProcessMapping(
    ulong Start, ulong End, bool IsShared, ulong FileOffset, uint DeviceMajor, uint DeviceMinor, ulong Inode, string Path)
{
    /// <summary>Reads the mappings of a process, ascending.</summary>
    /// <exception cref="TargetException">No such process, or no permission.</exception>
    public static IReadOnlyList<ProcessMapping> ReadAll(int pid)
    {
        try
        {
            return Parse(File.ReadLines($"/proc/{pid}/maps"));
        }
        catch (UnauthorizedAccessException)
        {
            throw new TargetException($"no permission to look into QEMU (pid {pid}): run Panacea as QEMU's own user or as root");
        }
        catch (IOException e)
        {
            throw new TargetException($"cannot look into QEMU (pid {pid}): {e.Message}", e);
        }
    }

    /// <summary>Parses lines of <c>/proc/PID/maps</c> (proc(5)); lines of another shape are passed over.</summary>
    public static IReadOnlyList<ProcessMapping> Parse(IEnumerable<string> lines)
    {
        var result = new List<ProcessMapping>();
        foreach (string line in lines)
        {
            string[] fields = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 5)
                continue;
            int dash = fields[0].IndexOf('-');
            int colon = fields[3].IndexOf(':');
            if (dash <= 0 || colon <= 0 || fields[1].Length < 4
                || !Hex(fields[0].AsSpan(0, dash), out ulong start) || !Hex(fields[0].AsSpan(dash + 1), out ulong end) || end <= start
                || !Hex(fields[2], out ulong offset) || !Hex(fields[3].AsSpan(0, colon), out ulong major) || !Hex(fields[3].AsSpan(colon + 1), out ulong minor)
                || !ulong.TryParse(fields[4], NumberStyles.None, CultureInfo.InvariantCulture, out ulong inode))
                continue;
            result.Add(new ProcessMapping(
                start, end, fields[1][3] == 's', offset, unchecked((uint)major), unchecked((uint)minor), inode, fields.Length > 5 ? fields[5].Trim() : ""));
        }

        return result;

        static bool Hex(ReadOnlySpan<char> text, out ulong value) => ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
