using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;

namespace Panacea.Target.Qemu.Tests.Gdb;

/// <summary>A gdb stub that answers by script, shaped after QEMU's: it acknowledges, a new packet gives up the answer before, and it may misbehave.</summary>
internal sealed class FakeStub : IDisposable
{
    private readonly SocketPair _pair = new();
    private readonly Thread _thread;
    private readonly Func<string, string?> _answer;

    /// <param name="answer">Payload for each payload received; null: no answer at all. Text that starts with <c>!</c> goes out raw.</param>
    public FakeStub(Func<string, string?> answer)
    {
        _answer = answer;
        _thread = new Thread(Serve) { IsBackground = true };
        _thread.Start();
    }

    public Socket Client => _pair.Client;

    public Socket Raw => _pair.Server;

    /// <summary>Everything received, in order: payloads, and "+", "-" and "^C" by themselves.</summary>
    public ConcurrentQueue<string> Received { get; } = new();

    /// <summary>Send no acknowledgements.</summary>
    public bool Silent { get; set; }

    /// <summary>Send a byte at a time.</summary>
    public bool Trickle { get; set; }

    public static string Frame(string payload) => $"${payload}#{payload.Sum(c => c) & 255:x2}";

    /// <summary>Answers of a small x86-64 stub: registers rax (8 bytes), eflags (4), rip (8) and those that the client demands.</summary>
    public static string? Qemu(string packet)
    {
        if (packet.StartsWith("qXfer:features:read:target.xml", StringComparison.Ordinal))
            return "l<?xml version=\"1.0\"?><target><architecture>i386:x86-64</architecture><xi:include href=\"part.xml\"/></target>";
        if (packet.StartsWith("qXfer:features:read:part.xml", StringComparison.Ordinal))
        {
            // In two pieces, to be put together.
            string xml = PartXml;
            int offset = Convert.ToInt32(packet.Split(':')[4].Split(',')[0], 16);
            return offset == 0 ? "m" + xml[..700] : "l" + xml[offset..];
        }

        return packet switch
        {
            _ when packet.StartsWith("qSupported", StringComparison.Ordinal) => "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+",
            "?" => "T05thread:p01.01;",
            "qqemu.PhyMemMode" => "0",
            "qfThreadInfo" => "mp01.01",
            "qsThreadInfo" => "mp01.02",
            "g" => RegisterValues,
            _ when packet.StartsWith("vCont", StringComparison.Ordinal) => null,
            _ => "OK",
        };
    }

    /// <summary>"qsThreadInfo" ends only after the second: a stateful variant of <see cref="Qemu"/>.</summary>
    public static Func<string, string?> TwoVcpus(Func<string, string?>? over = null)
    {
        int asked = 0;
        return packet => over?.Invoke(packet) ?? (packet == "qsThreadInfo" && asked++ > 0 ? "l" : Qemu(packet));
    }

    public static string PartXml
    {
        get
        {
            var xml = new StringBuilder("<?xml version=\"1.0\"?><!-- <reg name=\"commented\" bitsize=\"64\"/> --><feature name=\"org.gnu.gdb.i386.core\">");
            foreach (string name in Names)
                xml.Append($"<reg name=\"{name}\" bitsize=\"{Bits(name)}\" type=\"int64\"{(name == "rax" ? " regnum=\"0\"" : "")}/>\n");
            return xml.Append("</feature>").ToString();
        }
    }

    /// <summary>Each register holds its index + 1 in its lowest byte.</summary>
    public static string RegisterValues => string.Concat(Names.Select((n, i) => (i + 1).ToString("x2") + new string('0', (Bits(n) / 4) - 2)));

    public static readonly string[] Names =
    [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "eflags", "cs", "ss",
        "fs_base", "gs_base", "k_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "xmm0",
    ];

    public void Send(string text) => _pair.Server.Send(Encoding.Latin1.GetBytes(text));

    public void Dispose()
    {
        _pair.Dispose();
        _thread.Join();
    }

    private static int Bits(string name) => name is "eflags" or "cs" or "ss" ? 32 : name == "xmm0" ? 128 : 64;

    private void Serve()
    {
        var text = new StringBuilder();
        byte[] chunk = new byte[4096];
        try
        {
            while (true)
            {
                int got = _pair.Server.Receive(chunk);
                if (got == 0)
                    return;
                text.Append(Encoding.Latin1.GetString(chunk, 0, got));
                while (Next(text) is { } item)
                {
                    Received.Enqueue(item);
                    if (item is "+" or "-" or "^C")
                        continue;
                    if (!Silent)
                        Send("+");
                    if (_answer(item) is { } answer)
                        Out(answer.StartsWith('!') ? answer[1..] : Frame(answer));
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private void Out(string text)
    {
        if (!Trickle)
        {
            Send(text);
            return;
        }

        foreach (char c in text)
            Send(c.ToString());
    }

    private static string? Next(StringBuilder text)
    {
        if (text.Length == 0)
            return null;
        string all = text.ToString();
        if (all[0] is '+' or '-' or '\x03')
        {
            text.Remove(0, 1);
            return all[0] == '\x03' ? "^C" : all[..1];
        }

        int hash = all.IndexOf('#', StringComparison.Ordinal);
        if (hash < 0 || all.Length < hash + 3)
            return null;
        Assert.Equal('$', all[0]);
        string payload = all[1..hash];
        Assert.Equal((payload.Sum(c => c) & 255).ToString("x2"), all[(hash + 1)..(hash + 3)]);
        text.Remove(0, hash + 3);
        return payload;
    }
}
