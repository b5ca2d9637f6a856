using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;

namespace Panacea.Lab.Guests;

/// <summary>What a command in a guest answered.</summary>
/// <param name="Status">Its exit status, or 128 + the signal that killed its shell (137: SIGKILL, as the kernel does to an oopsing process).</param>
/// <param name="Output">Standard output and error, as UTF-8.</param>
public sealed record GuestCommandResult(int Status, string Output)
{
    /// <summary>The exit status was zero.</summary>
    public bool Succeeded => Status == 0;
}

/// <summary>Runs shell commands in a guest over its agent (lab/guest/agent.c has the protocol). Each command has a connection of its own, so commands can run beside each other.</summary>
public sealed class GuestControl(int port)
{
    private const int MaxFrame = 1 << 20;

    /// <summary>The agent's port on 127.0.0.1.</summary>
    public int Port { get; } = port;

    /// <summary>Runs a command to its end.</summary>
    /// <exception cref="TimeoutException">No end within the time (default 30 s): the guest may be dead, stopped or slow.</exception>
    /// <exception cref="IOException">The connection broke before the command's end: the guest died or rebooted.</exception>
    public async Task<GuestCommandResult> RunAsync(string command, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout ?? TimeSpan.FromSeconds(30));
        using var output = new MemoryStream();
        try
        {
            int status = await TalkAsync(command, output, limit.Token);
            return new GuestCommandResult(status, Encoding.UTF8.GetString(output.GetBuffer(), 0, (int)output.Length));
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new TimeoutException($"the guest did not finish \"{command}\" in time");
        }
    }

    /// <summary>Runs a command and yields its output line by line as it comes, until the command or the connection ends, or it is cancelled.
    /// The command itself is not ended by cancelling.</summary>
    public async IAsyncEnumerable<string> StreamLinesAsync(string command, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        using Socket socket = await SendAsync(command, cancel);
        var partial = new StringBuilder();
        while (true)
        {
            byte[]? frame;
            try
            {
                frame = await ReadFrameAsync(socket, cancel);
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                yield break;
            }

            if (frame is null)
                break;
            partial.Append(Encoding.UTF8.GetString(frame));
            string text = partial.ToString();
            int end = text.LastIndexOf('\n');
            if (end < 0)
                continue;
            partial.Clear().Append(text.AsSpan(end + 1));
            foreach (string line in text[..end].Split('\n'))
                yield return line;
        }

        if (partial.Length > 0)
            yield return partial.ToString();
    }

    private async Task<int> TalkAsync(string command, MemoryStream output, CancellationToken cancel)
    {
        try
        {
            using Socket socket = await SendAsync(command, cancel);
            while (await ReadFrameAsync(socket, cancel) is byte[] frame)
                output.Write(frame);
            byte[] status = new byte[4];
            await ReadAsync(socket, status, cancel);
            return BinaryPrimitives.ReadInt32LittleEndian(status);
        }
        catch (SocketException e)
        {
            throw new IOException($"the guest's agent is not to be reached: {e.Message}", e);
        }
    }

    private async Task<Socket> SendAsync(string command, CancellationToken cancel)
    {
        byte[] text = Encoding.UTF8.GetBytes(command);
        byte[] request = new byte[4 + text.Length];
        BinaryPrimitives.WriteInt32LittleEndian(request, text.Length);
        text.CopyTo(request, 4);
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, Port, cancel);
            await socket.SendAsync(request, cancel);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>One frame of output; null at the end of the output.</summary>
    private static async Task<byte[]?> ReadFrameAsync(Socket socket, CancellationToken cancel)
    {
        byte[] header = new byte[4];
        await ReadAsync(socket, header, cancel);
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        if (length == 0)
            return null;
        if (length > MaxFrame)
            throw new IOException($"the guest's agent announces {length} bytes");
        byte[] frame = new byte[length];
        await ReadAsync(socket, frame, cancel);
        return frame;
    }

    private static async Task ReadAsync(Socket socket, Memory<byte> into, CancellationToken cancel)
    {
        while (!into.IsEmpty)
        {
            int got = await socket.ReceiveAsync(into, cancel);
            if (got == 0)
                throw new IOException("the guest's agent closed the connection");
            into = into[got..];
        }
    }
}
