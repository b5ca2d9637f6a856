using System.Globalization;
using System.Text;

namespace Panacea.Lab.Workloads;

/// <summary>The files that a guest's nginx serves (lab/guest/start-nginx): what is in each is known to whoever asks.</summary>
public static class WebFiles
{
    /// <summary>How many: they are named by their numbers, from 0.</summary>
    public const int Count = 6;

    private static readonly byte[][] Contents = [.. Enumerable.Range(0, Count).Select(Make)];

    /// <summary>What a file has to be: 4 to the power of its number lines, of 32 bytes each.</summary>
    public static ReadOnlySpan<byte> ContentOf(int file) => Contents[file];

    private static byte[] Make(int file)
    {
        var text = new StringBuilder();
        for (int line = 0; line < 1 << (2 * file); line++)
            text.Append(CultureInfo.InvariantCulture, $"file {file} line {line:00000000} known text\n");
        return Encoding.ASCII.GetBytes(text.ToString());
    }
}
