using System.Buffers.Binary;
using System.Net.Sockets;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Tests.Workloads;

public sealed class EchoLoadTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task An_echo_has_nothing_wrong()
    {
        await using TestServer server = TestServer.Start((_, stream, cancel) => EchoAsync(stream, (_, message) => [message], cancel));
        await using EchoLoad load = await EchoLoad.StartAsync(server.Port, Limit, TestContext.Current.CancellationToken);
        await load.WaitForAnswersAsync(200, Limit, TestContext.Current.CancellationToken);
        await load.StopAsync();
        Assert.Empty(load.Status.Wrong);
        Assert.Equal(0, load.Status.Reconnects);
        Assert.True(load.Status.Answers > 200);
    }

    [Fact]
    public async Task A_changed_byte_is_seen()
    {
        string wrong = await FirstWrongAsync((number, message) =>
        {
            if (number == 20)
                message[^1] ^= 1;
            return [message];
        });
        Assert.Matches(@"^message 20 of client \d came back with .. instead of .. at byte \d+ of \d+$", wrong);
    }

    [Fact]
    public async Task A_message_that_does_not_come_back_is_seen() =>
        Assert.StartsWith("message 20 of client", await FirstWrongAsync((number, message) => number == 20 ? [] : [message]), StringComparison.Ordinal);

    [Fact]
    public async Task A_message_that_comes_back_twice_is_seen() =>
        Assert.StartsWith("message 21 of client", await FirstWrongAsync((number, message) => number == 20 ? [message, message] : [message]), StringComparison.Ordinal);

    [Fact]
    public async Task A_message_of_another_client_is_seen()
    {
        string wrong = await FirstWrongAsync((number, message) =>
        {
            if (number != 20)
                return [message];
            byte[] other = new byte[EchoLoad.MaxMessage];
            return [other[..EchoLoad.Fill(BinaryPrimitives.ReadInt32LittleEndian(message) + 1, number, other)]];
        });
        Assert.StartsWith("message 20 of client", wrong, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_connection_that_breaks_is_made_anew_and_nothing_of_it_is_wrong()
    {
        await using TestServer server = TestServer.Start((connection, stream, cancel) =>
            EchoAsync(stream, (number, message) => connection < 4 && number == 20 ? throw new IOException("enough") : [message], cancel));
        await using EchoLoad load = await EchoLoad.StartAsync(server.Port, Limit, TestContext.Current.CancellationToken);
        await WaitAsync(() => load.Status.Reconnects == 4);
        await load.WaitForAnswersAsync(200, Limit, TestContext.Current.CancellationToken);
        Assert.Equal(4, load.Status.Reconnects);
        Assert.Empty(load.Status.Wrong);
    }

    [Fact]
    public async Task A_service_that_says_nothing_does_not_begin()
    {
        await using TestServer server = TestServer.Start((_, _, cancel) => Task.Delay(Timeout.Infinite, cancel));
        await Assert.ThrowsAsync<TimeoutException>(() => EchoLoad.StartAsync(server.Port, TimeSpan.FromMilliseconds(200), TestContext.Current.CancellationToken));
    }

    /// <summary>What is wrong with a server that does not always send back what it was sent.</summary>
    private static async Task<string> FirstWrongAsync(Func<long, byte[], byte[][]> answer)
    {
        await using TestServer server = TestServer.Start((_, stream, cancel) => EchoAsync(stream, answer, cancel));
        await using EchoLoad load = await EchoLoad.StartAsync(server.Port, Limit, TestContext.Current.CancellationToken);
        await WaitAsync(() => load.Status.Wrong.Count > 0);
        return load.Status.Wrong[0];
    }

    private static async Task WaitAsync(Func<bool> condition)
    {
        for (long deadline = Environment.TickCount64 + (long)Limit.TotalMilliseconds; !condition() && Environment.TickCount64 < deadline;)
            await Task.Delay(5, TestContext.Current.CancellationToken);
    }

    private static async Task EchoAsync(NetworkStream stream, Func<long, byte[], byte[][]> answer, CancellationToken cancel)
    {
        byte[] header = new byte[16];
        for (long number = 0; ; number++)
        {
            await stream.ReadExactlyAsync(header, cancel);
            byte[] message = new byte[BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(4))];
            header.CopyTo(message, 0);
            await stream.ReadExactlyAsync(message.AsMemory(header.Length), cancel);
            foreach (byte[] back in answer(number, message))
                await stream.WriteAsync(back, cancel);
        }
    }
}
