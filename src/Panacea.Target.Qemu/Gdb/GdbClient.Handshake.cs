using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Panacea.Target.Qemu.Gdb;

public sealed partial class GdbClient
{
    private const int MaxAnnexBytes = 1 << 20;
    private readonly List<GdbThread> _threads = [];
    private int _packetSize = 1024;

    /// <summary>The stub's registers, from its own description.</summary>
    public RegisterLayout Layout { get; private set; } = null!;

    /// <summary>The vCPUs in ascending thread id: element i is vCPU i.</summary>
    public IReadOnlyList<GdbThread> Threads => _threads;

    /// <summary>The stub reported a stop by itself when the connection opened: the guest had been running.</summary>
    public bool StoppedByConnecting { get; private set; }

    /// <summary>The stub can address guest-physical memory (QEMU 4.1 and later).</summary>
    public bool HasPhysicalMode { get; private set; }

    /// <summary>Connects. QEMU stops the guest when a client connects, so <see cref="Handshake"/> should follow at once.</summary>
    /// <exception cref="GdbException">Nobody listens there.</exception>
    public static GdbClient Connect(EndPoint endPoint, GdbOptions? options = null)
    {
        bool unix = endPoint.AddressFamily == AddressFamily.Unix;
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, unix ? ProtocolType.Unspecified : ProtocolType.Tcp);
        try
        {
            if (!unix)
                socket.NoDelay = true;
            else
                socket.Blocking = false; // A full backlog fails at once instead of blocking for ever.
            socket.Connect(endPoint);
            socket.Blocking = true;
            return new GdbClient(socket, options) { CommandTimeout = (options ?? new GdbOptions()).CommandTimeout };
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new GdbException($"cannot connect to the gdb stub at {endPoint}: {e.Message}", GdbFailure.Closed);
        }
    }

    /// <summary>Agrees on features, reads the register description, lists the vCPUs, and has QEMU remove every breakpoint that a client before left.
    /// The guest stands still afterwards, whatever it did before.</summary>
    public void Handshake()
    {
        Begin().Open("qSupported:multiprocess+;xmlRegisters=i386;swbreak+;hwbreak+;vContSupported+"u8).Close();
        long deadline = Flush();
        string features;
        while (true)
        {
            ReadOnlySpan<byte> packet = Reply(deadline);
            if (StopReply.TryParse(packet, out StopReply stop))
            {
                if (stop.Kind == StopKind.Exited)
                    throw Break("QEMU is ending", GdbFailure.Closed);
                StoppedByConnecting = true;
                _repliesOwed = 1;
                continue;
            }

            features = Encoding.ASCII.GetString(packet);
            break;
        }

        ReadFeatures(features);
        Layout = RegisterLayout.Read(ReadAnnex);
        Begin().Open("qqemu.PhyMemMode"u8).Close();
        HasPhysicalMode = Reply(Flush()) is [(byte)'0'] or [(byte)'1'];
        ReadThreads();
        RemoveStaleBreakpoints();
        FindRegisters();
    }

    /// <summary><c>?</c> makes QEMU remove breakpoints that a client before left (handle_target_halt): under KVM those of all vCPUs, under TCG only
    /// those of the vCPU that <c>Hc</c> names.</summary>
    private void RemoveStaleBreakpoints()
    {
        for (int start = 0; start < _threads.Count; start += VcpusPerBatch)
        {
            int end = Math.Min(_threads.Count, start + VcpusPerBatch);
            PacketBuilder tx = Begin();
            for (int vcpu = start; vcpu < end; vcpu++)
            {
                tx.Open("Hc"u8);
                Thread(tx, vcpu);
                tx.Close();
                tx.Open("?"u8).Close();
            }

            long deadline = Flush();
            for (int vcpu = start; vcpu < end; vcpu++)
            {
                ExpectOk(deadline, $"select vCPU {vcpu}");
                if (!StopReply.TryParse(Reply(deadline), out _))
                    throw Break("the gdb stub does not say why the guest is stopped", GdbFailure.Protocol);
            }
        }
    }

    private void ReadFeatures(string features)
    {
        foreach (string feature in features.Split(';'))
        {
            if (feature.StartsWith("PacketSize=", StringComparison.Ordinal)
                && int.TryParse(feature.AsSpan(11), System.Globalization.NumberStyles.AllowHexSpecifier, null, out int size) && size >= 256)
                _packetSize = Math.Min(size, _options.MaxPacketBytes);
            if (feature == "QStartNoAckMode+")
            {
                Begin().Open("QStartNoAckMode"u8).Close();
                ExpectOk(Flush(), "leave out acknowledgements");
                SendRaw("+"u8, Deadline());
                _ackPending = false;
                _noAck = true;
                _acksOwed = 0;
            }
        }

        if (!features.Contains("qXfer:features:read+", StringComparison.Ordinal))
            throw new GdbException("the gdb stub does not describe its registers", GdbFailure.Refused);
    }

    private string ReadAnnex(string name)
    {
        foreach (char c in name)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.'))
                throw Break("the gdb stub names a description file with odd characters", GdbFailure.Protocol);
        }

        var text = new StringBuilder();
        while (true)
        {
            Begin().Open("qXfer:features:read:"u8).Text(Encoding.ASCII.GetBytes(name)).Text(":"u8)
                .Number((ulong)text.Length).Text(","u8).Number((ulong)(_packetSize - 5)).Close();
            ReadOnlySpan<byte> part = Reply(Flush());
            if (part.IsEmpty || part[0] is not ((byte)'l' or (byte)'m') || (part[0] == (byte)'m' && part.Length == 1))
                throw new GdbException($"the gdb stub does not hand out its description {name}", GdbFailure.Refused);
            bool last = part[0] == (byte)'l';
            text.Append(Encoding.Latin1.GetString(part[1..]));
            if (text.Length > MaxAnnexBytes)
                throw Break("the gdb stub's description does not end", GdbFailure.Protocol);
            if (last)
                return text.ToString();
        }
    }

    private void ReadThreads()
    {
        _threads.Clear();
        int packets = 0;
        for (bool first = true; ; first = false)
        {
            Begin().Open(first ? "qfThreadInfo"u8 : "qsThreadInfo"u8).Close();
            ReadOnlySpan<byte> list = Reply(Flush());
            if (list.SequenceEqual("l"u8))
                break;
            if (list.IsEmpty || list[0] != (byte)'m' || ++packets > TargetLimits.Default.MaxCpus)
                throw Break("the gdb stub does not list its vCPUs", GdbFailure.Protocol);
            list = list[1..];
            while (!list.IsEmpty)
            {
                int comma = list.IndexOf((byte)',');
                if (!GdbThread.TryParse(comma < 0 ? list : list[..comma], out GdbThread thread) || _threads.Count == TargetLimits.Default.MaxCpus)
                    throw Break("the gdb stub lists malformed vCPUs", GdbFailure.Protocol);
                _threads.Add(thread);
                list = comma < 0 ? default : list[(comma + 1)..];
            }
        }

        if (_threads.Count == 0)
            throw Break("the gdb stub lists no vCPU", GdbFailure.Protocol);
        _threads.Sort((a, b) => a.Id.CompareTo(b.Id));
    }
}
