using System.Net.Sockets;
using System.Text;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Tests.Workloads;

public sealed class HttpLoadTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    [Fact]
    public void Files_are_as_the_guest_makes_them()
    {
        for (int file = 0; file < WebFiles.Count; file++)
            Assert.Equal(32 << (2 * file), WebFiles.ContentOf(file).Length);
        Assert.Equal("file 1 line 00000000 known text\nfile 1 line 00000001 known text\nfile 1 line 00000002 known text\nfile 1 line 00000003 known text\n", Encoding.ASCII.GetString(WebFiles.ContentOf(1)));
    }

    [Fact]
    public async Task Right_answers_are_counted()
    {
        ClientLoadStatus status = await RunAsync((_, file) => Answer(200, WebFiles.ContentOf(file)));
        Assert.True(status.Answers >= 100);
        Assert.Empty(status.Wrong);
        Assert.Equal((0, 0), (status.Refused, status.Reconnects));
    }

    [Fact]
    public async Task A_changed_byte_is_seen() => Assert.Equal("file 3 came with 6a instead of 6b at byte 2037", (await RunAsync((_, file) =>
    {
        byte[] content = WebFiles.ContentOf(file).ToArray();
        if (file == 3)
            content[2037] ^= 1;
        return Answer(200, content);
    })).Wrong[0]);

    [Fact]
    public async Task A_short_file_is_seen() => Assert.Equal("file 2 has 512 bytes, 511 were announced", (await RunAsync((_, file) => Answer(200, file == 2 ? WebFiles.ContentOf(file)[1..] : WebFiles.ContentOf(file)))).Wrong[0]);

    [Fact]
    public async Task A_file_that_is_said_not_to_be_there_is_wrong() => Assert.Equal("file 2 was answered with status 404", (await RunAsync((_, file) => file == 2 ? Answer(404, []) : Answer(200, WebFiles.ContentOf(file)))).Wrong[0]);

    [Fact]
    public async Task What_is_no_HTTP_is_wrong() => Assert.Equal("file 2 was answered with what is no head of HTTP: nonsense", (await RunAsync((_, file) => file == 2 ? "nonsense\r\n\r\n"u8.ToArray() : Answer(200, WebFiles.ContentOf(file)))).Wrong[0]);

    [Fact]
    public async Task A_head_without_end_is_wrong() => Assert.Equal("a head of HTTP has more than 4096 bytes", (await RunAsync((_, file) => file == 2 ? new byte[5000] : Answer(200, WebFiles.ContentOf(file)))).Wrong[0]);

    [Fact]
    public async Task An_error_of_the_server_s_own_is_no_wrong_answer()
    {
        ClientLoadStatus status = await RunAsync((connection, file) => file == 2 && connection < 10 ? Answer(500, []) : Answer(200, WebFiles.ContentOf(file)));
        Assert.Empty(status.Wrong);
        Assert.True(status.Refused > 0);
    }

    [Fact]
    public async Task A_connection_that_breaks_in_the_middle_of_a_file_is_made_anew()
    {
        ClientLoadStatus status = await RunAsync(
            (connection, file) => file == 2 && connection < 2 ? Answer(200, WebFiles.ContentOf(file))[..^1] : Answer(200, WebFiles.ContentOf(file)), s => s is { Answers: >= 100, Reconnects: 2 });
        Assert.Empty(status.Wrong);
        Assert.Equal(2, status.Reconnects);
    }

    private static byte[] Answer(int status, ReadOnlySpan<byte> body) => [.. Encoding.ASCII.GetBytes($"HTTP/1.1 {status} as it is\r\nServer: test\r\ncontent-length: {body.Length}\r\n\r\n"), .. body];

    /// <summary>Runs the load until it has a hundred right answers or a wrong one.</summary>
    /// <param name="answer">What a connection is answered for a file. A body that is shorter than it should be closes the connection.</param>
    /// <param name="isEnough">Until something else.</param>
    private static async Task<ClientLoadStatus> RunAsync(Func<int, int, byte[]> answer, Func<ClientLoadStatus, bool>? isEnough = null)
    {
        await using TestServer server = TestServer.Start((connection, stream, cancel) => ServeAsync(stream, file => answer(connection, file), cancel));
        await using HttpLoad load = await HttpLoad.StartAsync(server.Port, Limit, TestContext.Current.CancellationToken);
        for (long deadline = Environment.TickCount64 + (long)Limit.TotalMilliseconds; !(isEnough ?? (s => s.Wrong.Count > 0 || s.Answers >= 100))(load.Status) && Environment.TickCount64 < deadline;)
            await Task.Delay(5, TestContext.Current.CancellationToken);
        await load.StopAsync();
        return load.Status;
    }

    private static async Task ServeAsync(NetworkStream stream, Func<int, byte[]> answer, CancellationToken cancel)
    {
        using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
        while (await reader.ReadLineAsync(cancel) is { } line)
        {
            if (!line.StartsWith("GET /", StringComparison.Ordinal))
                continue;
            byte[] bytes = answer(line["GET /".Length] - '0');
            await stream.WriteAsync(bytes, cancel);
            if (!Encoding.ASCII.GetString(bytes).EndsWith("known text\n", StringComparison.Ordinal))
                return;
        }
    }
}
