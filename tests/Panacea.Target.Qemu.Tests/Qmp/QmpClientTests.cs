using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Qmp;

public sealed class QmpClientTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void Greets_and_executes()
    {
        using var server = new FakeQmp(FakeQmp.Greeting, (command, id) => command == "query-status" ? $"{{\"return\": {{\"status\": \"running\"}}, \"id\": {id}}}" : null);
        using QmpClient qmp = server.Open();
        Assert.Equal("7.2.22", qmp.Version.ToString());
        Assert.Equal("running", qmp.Execute("query-status").GetProperty("status").GetString());
        Assert.Equal(Environment.ProcessId, qmp.PeerPid);
        Assert.Null(qmp.ClosedBecause);
    }

    [Fact]
    public void Arguments_are_escaped_and_strings_with_braces_do_not_confuse()
    {
        using var server = new FakeQmp(FakeQmp.Greeting, (command, id) => command == "human-monitor-command" ? $"{{\"id\": {id}, \"return\": \"}}}}{{ \\\"a\\\\\"}}" : null);
        using QmpClient qmp = server.Open();
        Assert.Equal("}}{ \"a\\", qmp.HumanMonitor("info \"x\"\n{"));
        using JsonDocument sent = JsonDocument.Parse(server.Received.Last());
        Assert.Equal("info \"x\"\n{", sent.RootElement.GetProperty("arguments").GetProperty("command-line").GetString());
    }

    [Fact]
    public void Errors_are_typed()
    {
        using var server = new FakeQmp(FakeQmp.Greeting, (command, id) => command switch
        {
            "bogus" => $"{{\"id\": {id}, \"error\": {{\"class\": \"CommandNotFound\", \"desc\": \"The command bogus has not been found\"}}}}",
            "odd" => $"{{\"id\": {id}, \"error\": 5}}",
            "neither" => $"{{\"id\": {id}}}",
            _ => null,
        });
        using QmpClient qmp = server.Open();
        var e = Assert.Throws<QmpCommandException>(() => qmp.Execute("bogus"));
        Assert.True(e.IsUnknownCommand);
        Assert.Contains("has not been found", e.Message, StringComparison.Ordinal);
        Assert.Equal("GenericError", Assert.Throws<QmpCommandException>(() => qmp.Execute("odd")).ErrorClass);
        Assert.Throws<QmpCommandException>(() => qmp.Execute("neither"));
        Assert.Throws<QmpConnectionException>(() => qmp.HumanMonitor("x"));
    }

    [Fact]
    public void Answers_find_their_commands_whatever_their_order()
    {
        var held = new ConcurrentQueue<string>();
        FakeQmp server = null!;
        server = new FakeQmp(FakeQmp.Greeting, (command, id) =>
        {
            if (command == "qmp_capabilities")
                return null;
            held.Enqueue($"{{\"return\": \"{command}\", \"id\": {id}}}");
            return held.Count == 4 ? string.Concat(held.Reverse()) : "";
        });
        using (server)
        {
            using QmpClient qmp = server.Open();
            string[] names = ["a", "b", "c", "d"];
            string?[] answers = new string?[4];
            Thread[] threads = [.. names.Select((n, i) => new Thread(() => answers[i] = qmp.Execute(n, timeout: Patience).GetString()))];
            foreach (Thread thread in threads)
                thread.Start();
            foreach (Thread thread in threads)
                thread.Join();
            Assert.Equal(names, answers);
        }
    }

    [Fact]
    public void Events_come_with_qemus_own_time()
    {
        var events = new BlockingCollection<QmpEvent>();
        using var server = new FakeQmp(FakeQmp.Greeting, (_, _) => null);
        using QmpClient qmp = server.Open(events.Add);
        server.Send("{\"timestamp\": {\"seconds\": 1795441682, \"microseconds\": 769938}, \"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n");
        server.Send("{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}, \"event\": \"STOP\"}{\"event\":\"RESUME\",\"timestamp\":7}");
        Assert.True(events.TryTake(out QmpEvent? e, Patience));
        Assert.Equal(("RESET", 1795441682769938L), (e.Name, e.TimestampUs));
        Assert.True(e.Data.GetProperty("guest").GetBoolean());
        Assert.True(events.TryTake(out e, Patience));
        Assert.Equal(("STOP", 0L, JsonValueKind.Undefined), (e.Name, e.TimestampUs, e.Data.ValueKind));
        Assert.True(events.TryTake(out e, Patience));
        Assert.Equal(("RESUME", 0L), (e.Name, e.TimestampUs));
    }

    [Fact]
    public void Messages_may_come_in_any_pieces_and_pretty()
    {
        using var server = new FakeQmp(
            FakeQmp.Greeting.Replace(", ", ",\r\n    ", StringComparison.Ordinal), (command, id) => $"{{\r\n    \"return\": {{\r\n        \"x\": [1,\r\n 2]\r\n    }},\r\n    \"id\": {id}\r\n}}\r\n")
        { Trickle = true };
        using QmpClient qmp = server.Open();
        Assert.Equal(2, qmp.Execute("query-x").GetProperty("x")[1].GetInt32());
    }

    [Fact]
    public void A_long_message_is_taken_up_to_the_limit()
    {
        using var server = new FakeQmp(FakeQmp.Greeting, (command, id) => command switch
        {
            "fits" => $"{{\"return\": \"{new string('x', 90_000)}\", \"id\": {id}}}",
            "long" => $"{{\"return\": \"{new string('x', 120_000)}\", \"id\": {id}}}",
            _ => null,
        });
        using QmpClient qmp = server.Open(options: new QmpOptions { MaxMessageBytes = 100_000 });
        Assert.Equal(90_000, qmp.Execute("fits").GetString()!.Length);
        var e = Assert.Throws<QmpConnectionException>(() => qmp.Execute("long"));
        Assert.Contains("longer than 100000", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Silence_after_a_command_ends_by_timeout_and_a_late_answer_is_dropped()
    {
        long late = 0;
        using var server = new FakeQmp(FakeQmp.Greeting, (command, id) =>
        {
            if (command == "slow")
                late = id;
            return command == "slow" ? "" : command == "next" ? $"{{\"return\": 1, \"id\": {late}}}{{\"return\": 2, \"id\": {id}}}" : null;
        });
        using QmpClient qmp = server.Open();
        Assert.True(Assert.Throws<QmpConnectionException>(() => qmp.Execute("slow", timeout: TimeSpan.FromMilliseconds(20))).IsTimeout);
        Assert.Equal(2, qmp.Execute("next").GetInt32());
    }

    [Fact]
    public void Silence_instead_of_a_greeting_says_that_another_client_holds_the_socket()
    {
        using var pair = new SocketPair();
        var e = Assert.Throws<QmpConnectionException>(
            () => QmpClient.Start(pair.Client, "/run/qmp", new QmpOptions { GreetingTimeout = TimeSpan.FromMilliseconds(20) }));
        Assert.True(e.IsTimeout);
        Assert.Contains("another client, perhaps libvirt, holds the QMP socket /run/qmp", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ")]
    [InlineData("{\"hello\": 1}")]
    [InlineData("{\"QMP\": 1}")]
    [InlineData("{\"QMP\" {}}")]
    [InlineData("[1]")]
    [InlineData("}")]
    [InlineData("\"QMP\"")]
    [InlineData("\0\0\0\0")]
    [InlineData("{\"QMP\": {\"version\": {\"qemu\": {}, \"package\": \"\\ud800\"}}}")]
    public void What_is_no_qmp_is_told_as_such(string greeting)
    {
        using var pair = new SocketPair();
        pair.Server.Send(Encoding.UTF8.GetBytes(greeting));
        Assert.False(Assert.Throws<QmpConnectionException>(() => QmpClient.Start(pair.Client, "x")).IsTimeout);
    }

    [Fact]
    public void A_greeting_in_bytes_that_are_no_text_is_refused()
    {
        using var pair = new SocketPair();
        pair.Server.Send([.. "{\"QMP\": {\"version\": {\"qemu\": {}, \"package\": \""u8, 0x9e, .. "\"}}}"u8]);
        Assert.Contains("malformed JSON", Assert.Throws<QmpConnectionException>(() => QmpClient.Start(pair.Client, "x")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Depth_without_end_is_refused()
    {
        using var pair = new SocketPair();
        pair.Server.Send(Encoding.UTF8.GetBytes(new string('{', 100)));
        Assert.Throws<QmpConnectionException>(() => QmpClient.Start(pair.Client, "x"));
    }

    [Fact]
    public void The_end_of_the_connection_fails_what_waits_and_what_comes()
    {
        using var closed = new ManualResetEventSlim();
        FakeQmp server = null!;
        server = new FakeQmp(FakeQmp.Greeting, (command, _) =>
        {
            if (command == "quit")
                server.Close();
            return command == "quit" ? "" : null;
        });
        using (server)
        {
            using QmpClient qmp = server.Open();
            qmp.OnClosed = closed.Set;
            Assert.False(Assert.Throws<QmpConnectionException>(() => qmp.Execute("quit", timeout: Patience)).IsTimeout);
            Assert.True(closed.Wait(Patience));
            Assert.Throws<QmpConnectionException>(() => qmp.Execute("query-status"));
            Assert.NotNull(qmp.ClosedBecause);
        }
    }

    [Theory]
    [InlineData("{]}")]
    [InlineData("{\"return\": 1, \"id\": \"a\"} nonsense")]
    [InlineData("{\"a\": \u0001}")]
    [InlineData("{\"event\": \"\\ud800\"}")]
    [InlineData("{\"\\udc00\": 1}")]
    public void Junk_in_the_stream_closes_the_connection_with_a_reason(string junk)
    {
        using var server = new FakeQmp(FakeQmp.Greeting, (_, _) => null);
        using QmpClient qmp = server.Open();
        server.Send(junk);
        Assert.True(SpinWait.SpinUntil(() => qmp.ClosedBecause != null, Patience));
    }

    [Fact]
    public void No_such_socket_and_a_path_too_long_are_clear()
    {
        Assert.Contains("/nonexistent/qmp", Assert.Throws<QmpConnectionException>(() => QmpClient.Connect("/nonexistent/qmp")).Message, StringComparison.Ordinal);
        Assert.Contains("too long", Assert.Throws<QmpConnectionException>(() => QmpClient.Connect("/" + new string('x', 200))).Message, StringComparison.Ordinal);
    }
}
