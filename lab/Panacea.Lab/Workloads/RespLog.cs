using System.Buffers.Text;
using System.Text;

namespace Panacea.Lab.Workloads;

/// <summary>An append-only file of redis: arrays of bulk strings, one after the other (redis.io, "RESP protocol spec").</summary>
internal static class RespLog
{
    private const int MaxArguments = 1024;

    /// <summary>How often a command of one argument is in it.</summary>
    /// <param name="log">The file.</param>
    /// <param name="command">The command, whatever its case.</param>
    /// <param name="argument">Its argument.</param>
    /// <returns>Null where it is no such file. A last command that is cut off is not counted.</returns>
    public static long? CountOf(ReadOnlySpan<byte> log, string command, string argument)
    {
        long count = 0;
        while (log.Length > 0)
        {
            if (!TryNumber(ref log, (byte)'*', out int arguments, out bool isCut) || arguments is < 1 or > MaxArguments)
                return isCut ? count : null;
            bool isOurs = arguments == 2;
            for (int i = 0; i < arguments; i++)
            {
                if (!TryNumber(ref log, (byte)'$', out int length, out isCut) || length < 0)
                    return isCut ? count : null;
                if (length > log.Length - 2)
                    return count;
                if (!log.Slice(length, 2).SequenceEqual("\r\n"u8))
                    return null;
                string text = Encoding.UTF8.GetString(log[..length]);
                isOurs &= i == 0 ? text.Equals(command, StringComparison.OrdinalIgnoreCase) : text == argument;
                log = log[(length + 2)..];
            }

            if (isOurs)
                count++;
        }

        return count;
    }

    /// <summary>A line with a letter and a number.</summary>
    private static bool TryNumber(ref ReadOnlySpan<byte> log, byte letter, out int number, out bool isCut)
    {
        number = 0;
        int end = log.IndexOf("\r\n"u8);
        isCut = end < 0;
        if (isCut || log[0] != letter || !Utf8Parser.TryParse(log[1..end], out number, out int used) || used != end - 1)
            return false;
        log = log[(end + 2)..];
        return true;
    }
}
