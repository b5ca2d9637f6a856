using System.Net.Sockets;
using System.Text;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.TestKit;

namespace Panacea.Daemon.Tests;

public sealed class GuardControlTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly List<GuestRequest> _asked = [];

    private string Socket => Path.Combine(_directory.Path, "guard.sock");

    public static TheoryData<string, string> Bad => new()
    {
        { "garbage\n", "does not understand" }, { "{\"request\":\"fuse-blow\"}\n", "does not understand" }, { "null\n", "an empty request" }, { "{}\n", "does not understand" },
        { "{\"request\":\"quarantine-kill\",\"pid\":99999999999}\n", "does not understand" }, { "\n", "does not understand" },
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IDisposable Serve(Func<GuestRequest, GuestAnswer>? answer = null) => GuardControl.Serve(Socket, request =>
    {
        _asked.Add(request);
        return Task.FromResult(answer?.Invoke(request) ?? new GuestAnswer());
    });

    [Fact]
    public void A_request_and_its_answer_are_what_was_said()
    {
        var answer = new GuestAnswer { Fuses = [new FuseLine("f\u001b[31m\n", null, "0x1", "-EIO")], Frozen = [new FrozenLine(7, 7, "sh", "f+0x1", 1234)], Missing = ["m"], Stack = ["a", "b"], StoppedUs = 5 };
        using IDisposable server = Serve(_ => answer);
        GuestRequest[] requests = [new FuseListRequest(), new FuseSetRequest("m:f", "-EIO", true), new FuseClearRequest(null), new QuarantineListRequest(), new QuarantineInspectRequest(3), new QuarantineKillRequest(7)];
        foreach (GuestRequest request in requests)
        {
            GuestAnswer said = GuardControl.Ask(Socket, request, Cancel);
            Assert.Equal((answer.Fuses[0], answer.Frozen[0], 5L), (said.Fuses[0], said.Frozen[0], said.StoppedUs));
            Assert.Equal(answer.Stack, said.Stack);
        }

        Assert.Equal(requests, _asked);
    }

    /// <summary>One who talks nonsense, or says nothing, keeps nobody else from being served.</summary>
    [Theory]
    [MemberData(nameof(Bad))]
    public async Task Nonsense_is_answered_and_the_next_is_served(string line, string expected)
    {
        using IDisposable server = Serve();
        using (var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            await client.ConnectAsync(new UnixDomainSocketEndPoint(Socket), Cancel);
            await client.SendAsync(Encoding.UTF8.GetBytes(line), SocketFlags.None, Cancel);
            byte[] back = new byte[1024];
            int got = await client.ReceiveAsync(back.AsMemory(), SocketFlags.None, Cancel);
            Assert.Contains(expected, Encoding.UTF8.GetString(back, 0, got), StringComparison.Ordinal);
        }

        Assert.Empty(_asked);
        GuardControl.Ask(Socket, new FuseListRequest(), Cancel);
        Assert.Single(_asked);
    }

    [Fact]
    public async Task A_line_without_an_end_is_cut_off()
    {
        using IDisposable server = Serve();
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(new UnixDomainSocketEndPoint(Socket), Cancel);
        byte[] chunk = new byte[16 << 10];
        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            while (true)
                await client.SendAsync(chunk, SocketFlags.None, Cancel);
        });
        GuardControl.Ask(Socket, new FuseListRequest(), Cancel);
    }

    [Fact]
    public void A_guard_that_is_gone_is_a_sentence()
    {
        Serve().Dispose();
        Assert.False(File.Exists(Socket));
        Assert.Contains("does not answer", Assert.Throws<TargetException>(() => GuardControl.Ask(Socket, new FuseListRequest(), Cancel)).Message, StringComparison.Ordinal);
    }

    /// <summary>The socket of a guard that was killed does not keep the next one from making its own.</summary>
    [Fact]
    public void A_socket_that_was_left_behind_is_replaced()
    {
        File.WriteAllText(Socket, "");
        using IDisposable server = Serve();
        Assert.Null(GuardControl.Ask(Socket, new FuseListRequest(), Cancel).Error);
    }

    public void Dispose() => _directory.Dispose();
}
