using System.Buffers.Binary;
using System.Net.Sockets;

namespace Panacea.Lab.Workloads;

/// <summary>Clients on the host that send numbered messages to a TCP echo in a guest, several ahead of what has come back. Each has to come back as it was sent, in its turn: TCP promises both.</summary>
public sealed class EchoLoad : ClientLoad
{
    /// <summary>The longest message, in bytes.</summary>
    public const int MaxMessage = 4096;

    private const int Clients = 4, Ahead = 8, HeaderSize = 16;

    private EchoLoad(int port)
        : base("the echo", port)
    {
    }

    /// <summary>Starts the load and waits for the first message to come back.</summary>
    /// <param name="port">The echo's port on 127.0.0.1.</param>
    /// <param name="timeout">For that; 30 s by default.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TimeoutException">None came back.</exception>
    public static async Task<EchoLoad> StartAsync(int port, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        var load = new EchoLoad(port);
        await load.BeginAsync(Clients, timeout, cancel);
        return load;
    }

    /// <summary>A message: its client, its number, and bytes that follow from both and are as many as they will.</summary>
    /// <param name="client">The client.</param>
    /// <param name="number">Its number on its connection, from 0.</param>
    /// <param name="into">At least <see cref="MaxMessage"/> bytes.</param>
    /// <returns>Its length in bytes.</returns>
    public static int Fill(int client, long number, Span<byte> into)
    {
        // Xorshift (Marsaglia 2003): any bytes will do, as long as other messages have others.
        ulong state = unchecked(((ulong)(client + 1) << 48) ^ ((ulong)(number + 1) * 0x9e3779b97f4a7c15));
        ulong Next()
        {
            state ^= state << 13;
            state ^= state >> 7;
            return state ^= state << 17;
        }

        int length = HeaderSize + (int)(Next() % (MaxMessage - HeaderSize));
        BinaryPrimitives.WriteInt32LittleEndian(into, client);
        BinaryPrimitives.WriteInt32LittleEndian(into[4..], length);
        BinaryPrimitives.WriteInt64LittleEndian(into[8..], number);
        for (int i = HeaderSize; i < length; i++)
            into[i] = unchecked((byte)(Next() >> 32));
        return length;
    }

    /// <inheritdoc/>
    private protected override async Task TalkAsync(int client, NetworkStream stream, Talk talk)
    {
        using var ahead = new SemaphoreSlim(Ahead);
        Task sending = SendAsync(client, stream, ahead, talk.Cancel);
        try
        {
            byte[] expected = new byte[MaxMessage], came = new byte[MaxMessage];
            for (long number = 0; ; number++)
            {
                int length = Fill(client, number, expected);
                await stream.ReadExactlyAsync(came.AsMemory(0, length), talk.Cancel);
                if (came.AsSpan(0, length).CommonPrefixLength(expected) is int same && same < length)
                    throw new InvalidDataException($"message {number} of client {client} came back with {came[same]:x2} instead of {expected[same]:x2} at byte {same} of {length}");
                talk.Answered();
                ahead.Release();
            }
        }
        finally
        {
            // What waits to be sent waits for an answer that will not come.
            stream.Socket.Dispose();
            ahead.Release(Ahead);
            await Task.WhenAny(sending);
        }
    }

    private static async Task SendAsync(int client, NetworkStream stream, SemaphoreSlim ahead, CancellationToken cancel)
    {
        byte[] message = new byte[MaxMessage];
        for (long number = 0; ; number++)
        {
            await ahead.WaitAsync(cancel);
            await stream.WriteAsync(message.AsMemory(0, Fill(client, number, message)), cancel);
        }
    }
}
