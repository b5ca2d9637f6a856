using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Panacea.Lab.Workloads;

/// <summary>Clients on the host that get the files of a guest's nginx, one after the other over connections that stay, and compare every byte. A library client would hide what is looked at here: it connects
/// and asks again by itself.</summary>
public sealed class HttpLoad : ClientLoad
{
    private const int Clients = 2, MaxHead = 4096;

    private HttpLoad(int port)
        : base("nginx", port)
    {
    }

    /// <summary>Starts the load and waits for the first answer that is right.</summary>
    /// <param name="port">nginx' port on 127.0.0.1.</param>
    /// <param name="timeout">For that; 30 s by default.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TimeoutException">There was none.</exception>
    public static async Task<HttpLoad> StartAsync(int port, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        var load = new HttpLoad(port);
        await load.BeginAsync(Clients, timeout, cancel);
        return load;
    }

    /// <inheritdoc/>
    private protected override async Task TalkAsync(int client, NetworkStream stream, Talk talk)
    {
        byte[][] requests = [.. Enumerable.Range(0, WebFiles.Count).Select(file => Encoding.ASCII.GetBytes($"GET /{file.ToString(CultureInfo.InvariantCulture)} HTTP/1.1\r\nHost: guest\r\n\r\n"))];
        byte[] body = new byte[WebFiles.ContentOf(WebFiles.Count - 1).Length];
        for (int file = client; ; file = (file + 1) % WebFiles.Count)
        {
            await stream.WriteAsync(requests[file], talk.Cancel);
            (int status, int length) = HeadOf(await ReadHeadAsync(stream, talk.Cancel), file);

            // An error of its own is an honest answer: it could not read the file.
            if (status >= 500)
            {
                talk.Refused();
                throw new IOException($"nginx answered with status {status}");
            }

            if (status != 200)
                throw new InvalidDataException($"file {file} was answered with status {status}");
            if (length != WebFiles.ContentOf(file).Length)
                throw new InvalidDataException($"file {file} has {WebFiles.ContentOf(file).Length} bytes, {length} were announced");
            await stream.ReadExactlyAsync(body.AsMemory(0, length), talk.Cancel);
            Compare(file, body.AsSpan(0, length));
            talk.Answered();
        }
    }

    private static void Compare(int file, ReadOnlySpan<byte> came)
    {
        ReadOnlySpan<byte> right = WebFiles.ContentOf(file);
        if (came.CommonPrefixLength(right) is int same && same < right.Length)
            throw new InvalidDataException($"file {file} came with {came[same]:x2} instead of {right[same]:x2} at byte {same}");
    }

    /// <summary>Status and length of the body, in bytes.</summary>
    private static (int Status, int Length) HeadOf(string head, int file)
    {
        string[] lines = head.Split("\r\n");
        string[] first = lines[0].Split(' ');
        const string name = "Content-Length:";
        string? length = Array.Find(lines, l => l.StartsWith(name, StringComparison.OrdinalIgnoreCase))?[name.Length..];
        return first.Length >= 2 && first[0] == "HTTP/1.1" && int.TryParse(first[1], NumberStyles.None, CultureInfo.InvariantCulture, out int status)
            && int.TryParse(length, NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture, out int bytes)
            ? (status, bytes)
            : throw new InvalidDataException($"file {file} was answered with what is no head of HTTP: {lines[0]}");
    }

    /// <summary>Reads up to the empty line, and no byte of the body.</summary>
    private static async Task<string> ReadHeadAsync(NetworkStream stream, CancellationToken cancel)
    {
        byte[] head = new byte[MaxHead];
        for (int length = 0; length < MaxHead;)
        {
            int peeked = await stream.Socket.ReceiveAsync(head.AsMemory(length), SocketFlags.Peek, cancel);
            if (peeked == 0)
                throw new IOException("nginx closed the connection");
            int end = head.AsSpan(0, length + peeked).IndexOf("\r\n\r\n"u8);
            int take = end < 0 ? peeked : end + 4 - length;
            await stream.ReadExactlyAsync(head.AsMemory(length, take), cancel);
            length += take;
            if (end >= 0)
                return Encoding.ASCII.GetString(head, 0, end);
        }

        throw new InvalidDataException($"a head of HTTP has more than {MaxHead} bytes");
    }
}
