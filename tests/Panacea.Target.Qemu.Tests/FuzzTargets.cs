using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Qmp;
using Panacea.Target.Qemu.Tests.Gdb;

namespace Panacea.Target.Qemu.Tests;

/// <summary>One entry per parser of what QEMU says. Whatever it says, a target returns, or its parser throws what it promises: a <see cref="TargetException"/>.</summary>
public static class FuzzTargets
{
    private const int MaxMessage = 64 << 10;
    private static readonly QmpOptions Qmp = new() { MaxMessageBytes = MaxMessage, CommandTimeout = TimeSpan.FromSeconds(20), GreetingTimeout = TimeSpan.FromSeconds(20) };
    private static readonly GdbOptions Gdb = new() { CommandTimeout = TimeSpan.FromSeconds(20) };

    /// <summary>All that a QMP server says before it hangs up: greeting, answers, events.</summary>
    public static void QmpStream(ReadOnlySpan<byte> data)
    {
        using var pair = new SocketPair();
        Say(pair.Server, data);
        Typed(() =>
        {
            using QmpClient qmp = QmpClient.Start(pair.Client, "fuzz", Qmp, e => Assert.NotNull(e.Name));
            foreach (string command in (string[])["query-status", "query-cpus-fast", "qom-get"])
            {
                try
                {
                    Look(qmp.Execute(command));
                }
                catch (QmpCommandException e)
                {
                    Assert.NotNull(e.Message);
                }
            }

            _ = qmp.HumanMonitor("info mtree -f");
        });
    }

    /// <summary>The cutting of a stream into messages, whatever the pieces in which it comes.</summary>
    public static void QmpFraming(ReadOnlySpan<byte> data)
    {
        byte[] all = data.ToArray();
        string whole = Cut(all, all.Length + 1), pieces = Cut(all, 7);
        Assert.Equal(whole, pieces);

        static string Cut(byte[] all, int most)
        {
            var text = new StringBuilder();
            var framer = new QmpFramer(MaxMessage);
            Typed(() =>
            {
                for (int at = 0; at < all.Length;)
                {
                    Memory<byte> space = framer.FreeSpace();
                    int take = Math.Min(Math.Min(most, space.Length), all.Length - at);
                    all.AsMemory(at, take).CopyTo(space);
                    framer.Advance(take);
                    at += take;
                    while (framer.TryTake(out ReadOnlyMemory<byte> message))
                        text.Append(Convert.ToHexString(message.Span)).Append(' ');
                }
            });
            return text.ToString();
        }
    }

    /// <summary>All that a gdb stub says before it hangs up: the answers of the handshake, registers, stops. A line is an answer, which is framed here; after an exclamation mark it goes out as it is.</summary>
    public static void GdbStream(ReadOnlySpan<byte> data)
    {
        using var pair = new SocketPair();
        string[] lines = Encoding.Latin1.GetString(data).Split('\n');
        Say(pair.Server, Encoding.Latin1.GetBytes(string.Concat(lines.Select(line => line.StartsWith('!') ? line[1..] : "+" + FakeStub.Frame(line)))));
        Typed(() =>
        {
            using var gdb = new GdbClient(pair.Client, Gdb);
            gdb.Handshake();
            Assert.True(gdb.Threads.Count is > 0 and <= 8192);
            Typed(() => _ = gdb.ReadRegisters(0));
            Typed(() => gdb.ReadVirtual(0, 0xffff_ffff_8100_0000, new byte[100]));
            Typed(() => gdb.ChangeBreakpoints([], [0xffff_ffff_8100_0000]));
            Typed(() => gdb.WriteRegisters(0, [new RegisterWrite(WritableRegister.Rip, 1)]));
            gdb.Continue(0);
            _ = gdb.WaitForStop(-1, TimeSpan.FromSeconds(20), out _);
        });
    }

    /// <summary>Packets, one after the other, and what is in them.</summary>
    public static void GdbPackets(ReadOnlySpan<byte> data)
    {
        byte[] all = data.ToArray();
        var reader = new PacketReader(4096);
        Typed(() =>
        {
            for (int at = 0; at < all.Length;)
            {
                Span<byte> space = reader.FreeSpace();
                int take = Math.Min(Math.Min(900, space.Length), all.Length - at);
                all.AsSpan(at, take).CopyTo(space);
                reader.Advance(take);
                at += take;
                PacketKind kind;
                while ((kind = reader.TryTake(out ReadOnlySpan<byte> payload)) != PacketKind.Incomplete)
                {
                    if (kind != PacketKind.Packet)
                        continue;
                    Assert.True(payload.Length <= 4096);
                    _ = StopReply.TryParse(payload, out _);
                    _ = GdbThread.TryParse(payload, out _);
                    _ = Hex.TryDecode(payload, new byte[payload.Length / 2]);
                    Assert.InRange(Hex.Parse(payload, out _), 0, 16);
                }
            }
        });
    }

    /// <summary>A register description; every include is the same text again.</summary>
    public static void RegisterDescription(ReadOnlySpan<byte> data)
    {
        string text = Encoding.Latin1.GetString(data);
        Typed(() =>
        {
            RegisterLayout layout = RegisterLayout.Read(name => name == "target.xml" ? text : text.Replace("xi:include", "gone", StringComparison.Ordinal));
            int offset = 0;
            foreach (GdbRegister register in layout.Registers)
            {
                Assert.True(register.Offset == offset && register.Size is > 0 and <= 8192);
                offset += register.Size;
            }

            _ = layout.Require("rip");
        });
    }

    /// <summary>The text of <c>info mtree -f</c>.</summary>
    public static void Mtree(ReadOnlySpan<byte> data)
    {
        string text = Encoding.UTF8.GetString(data);
        Typed(() =>
        {
            IReadOnlyList<FlatRange> ranges = MtreeParser.Parse(text);
            Assert.True(ranges.Count is > 0 and <= 4096);
            for (int i = 1; i < ranges.Count; i++)
                Assert.True(ranges[i].Range.Start.Value >= ranges[i - 1].Range.End.Value);
        });
    }

    /// <summary>The text of <c>/proc/PID/maps</c>, in which a process chooses the paths.</summary>
    public static void Maps(ReadOnlySpan<byte> data)
    {
        string[] lines = Encoding.UTF8.GetString(data).Split('\n');
        foreach (ProcessMapping mapping in ProcessMapping.Parse(lines))
            Assert.True(mapping.End > mapping.Start);
    }

    /// <summary>A command line of QEMU, arguments apart by NUL.</summary>
    public static void Arguments(ReadOnlySpan<byte> data) => Assert.All(QmpSocketFinder.FromArguments(Encoding.UTF8.GetString(data).Split('\n', '\0')), path => Assert.NotEmpty(path));

    private static void Say(Socket server, ReadOnlySpan<byte> data)
    {
        server.Send(data);
        server.Shutdown(SocketShutdown.Send);
    }

    private static void Look(JsonElement answer)
    {
        _ = QmpJson.Text(answer, "status");
        _ = QmpJson.Flag(answer, "running");
        _ = QmpJson.Integer(answer, "cpu-index");
        foreach (JsonElement each in QmpJson.Elements(answer))
            _ = QmpJson.Integer(each, "thread-id");
    }

    private static void Typed(Action look)
    {
        try
        {
            look();
        }
        catch (TargetException e)
        {
            Assert.NotEmpty(e.Message);
        }
    }
}
