using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>The host's threads that run the vCPUs, and the processor time that they use (proc(5), /proc/PID/task/TID/stat).</summary>
/// <param name="pid">QEMU.</param>
/// <param name="qmp">Its monitor.</param>
internal sealed class VcpuThreads(int pid, QmpClient qmp)
{
    /// <summary>USER_HZ, which is 100 on every x86 host (include/asm-generic/param.h).</summary>
    private const int TicksPerSecond = 100;

    /// <summary>Some fifty numbers.</summary>
    private const int LongestLine = 1024;

    private int[]? _threads;

    /// <summary>Processor time that each vCPU's thread has used, by vCPU index.</summary>
    /// <returns>Null where vCPUs share a thread (TCG with <c>thread=single</c>), or a thread can't be looked at.</returns>
    public IReadOnlyList<TimeSpan>? Times()
    {
        _threads ??= Find();
        if (_threads.Distinct().Count() != _threads.Length)
            return null;
        var times = new TimeSpan[_threads.Length];
        for (int i = 0; i < times.Length; i++)
        {
            if (Time(_threads[i]) is not { } time)
            {
                // A vCPU that was unplugged, or plugged in: the next call asks anew.
                _threads = null;
                return null;
            }

            times[i] = time;
        }

        return times;
    }

    private int[] Find()
    {
        var threads = new SortedDictionary<long, int>();
        foreach (JsonElement cpu in QmpJson.Elements(qmp.Execute("query-cpus-fast")))
        {
            if (QmpJson.Integer(cpu, "cpu-index") is { } index && QmpJson.Integer(cpu, "thread-id") is { } thread and > 0 and <= int.MaxValue)
                threads[index] = (int)thread;
        }

        return [.. threads.Values];
    }

    private TimeSpan? Time(int thread)
    {
        try
        {
            // Asked several times a second for as long as a guest is guarded: nothing is left for the garbage collector but the handle.
            Span<byte> line = stackalloc byte[LongestLine];
            Span<char> text = stackalloc char[LongestLine];
            using SafeFileHandle file = File.OpenHandle($"/proc/{pid}/task/{thread}/stat");
            int length = RandomAccess.Read(file, line, 0);
            return Parse(text[..Encoding.Latin1.GetChars(line[..length], text)]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>utime and stime, the 14th and 15th field. The second one, a name, may hold blanks and parentheses.</summary>
    internal static TimeSpan? Parse(ReadOnlySpan<char> stat)
    {
        int end = stat.LastIndexOf(')');
        ReadOnlySpan<char> behind = end < 0 ? [] : stat[(end + 1)..].TrimStart(' ');
        Span<Range> fields = stackalloc Range[14];
        int count = behind.Split(fields, ' ', StringSplitOptions.RemoveEmptyEntries);
        return count > 12 && ulong.TryParse(behind[fields[11]], NumberStyles.None, CultureInfo.InvariantCulture, out ulong user) && ulong.TryParse(behind[fields[12]], NumberStyles.None, CultureInfo.InvariantCulture, out ulong system)
            && user < long.MaxValue / 4 / TimeSpan.TicksPerSecond && system < long.MaxValue / 4 / TimeSpan.TicksPerSecond
            ? TimeSpan.FromTicks((long)(user + system) * (TimeSpan.TicksPerSecond / TicksPerSecond)) : null;
    }
}
