using System.Text;

namespace Panacea.Lab.Guests;

/// <summary>What a guest has written to its serial console, from the file that QEMU writes.</summary>
public sealed class GuestConsole(string path)
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(20);

    /// <summary>The log file.</summary>
    public string Path { get; } = path;

    /// <summary>The present end, for <see cref="WaitForAsync"/>: take it before the act that is waited for.</summary>
    public long Mark() => File.Exists(Path) ? new FileInfo(Path).Length : 0;

    /// <summary>All text from a mark on.</summary>
    public string TextFrom(long mark = 0)
    {
        if (!File.Exists(Path))
            return "";
        using var stream = new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        stream.Seek(mark, SeekOrigin.Begin);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    /// <summary>Waits until one of the texts has been written after a mark.</summary>
    /// <returns>The first text of <paramref name="texts"/> that is there.</returns>
    /// <exception cref="TimeoutException">None was within the time; the message has the console's last lines.</exception>
    public async Task<string> WaitForAsync(IReadOnlyList<string> texts, TimeSpan timeout, long mark = 0, CancellationToken cancel = default)
    {
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        long seen = -1;
        while (true)
        {
            if (Mark() is long length && length != seen)
            {
                seen = length;
                string now = TextFrom(mark);
                if (texts.FirstOrDefault(t => now.Contains(t, StringComparison.Ordinal)) is string found)
                    return found;
            }

            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"the console did not say \"{string.Join("\" or \"", texts)}\" within {timeout.TotalSeconds:0.#} s; its last lines:\n{Tail(15)}");
            await Task.Delay(Poll, cancel);
        }
    }

    /// <summary>Waits until a text has been written after a mark.</summary>
    public Task WaitForAsync(string text, TimeSpan timeout, long mark = 0, CancellationToken cancel = default) =>
        WaitForAsync([text], timeout, mark, cancel);

    /// <summary>The last lines.</summary>
    public string Tail(int lines) => string.Join('\n', TextFrom().Split('\n')[^Math.Min(lines, TextFrom().Split('\n').Length)..]);
}
