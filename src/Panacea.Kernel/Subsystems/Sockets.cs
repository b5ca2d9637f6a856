using System.Buffers.Binary;
using System.Net;
using System.Text;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A socket.</summary>
public sealed record LinuxSocket
{
    /// <summary>Guest-virtual address of its struct sock.</summary>
    public required ulong Address { get; init; }

    /// <summary>Address family: unix, inet, inet6, netlink, packet, or a number.</summary>
    public required string Family { get; init; }

    /// <summary>stream, dgram, raw, seqpacket, or a number; empty where only the head of the socket exists (TIME_WAIT, NEW_SYN_RECV).</summary>
    public required string Type { get; init; }

    /// <summary>Protocol number (IPPROTO_*, NETLINK_*); 0 where only the head of the socket exists.</summary>
    public required int Protocol { get; init; }

    /// <summary>TCP state, which other protocols use too: ESTABLISHED, LISTEN, CLOSE, …</summary>
    public required string State { get; init; }

    /// <summary>Own address and port, a path, a port id; empty where it has none.</summary>
    public required string Local { get; init; }

    /// <summary>The peer's; empty where it has none.</summary>
    public required string Remote { get; init; }

    /// <summary>Bytes received and not read; of a listener, connections not accepted.</summary>
    public required ulong ReceiveQueue { get; init; }

    /// <summary>Bytes sent and not acknowledged; of a listener, connections that may wait.</summary>
    public required ulong SendQueue { get; init; }
}

/// <summary>Sockets (include/net/sock.h, include/net/inet_hashtables.h, include/net/af_unix.h).</summary>
public static class Sockets
{
    private const ulong Unix = 1, Inet = 2, Inet6 = 10, Netlink = 16;

    /// <summary>enum in include/net/tcp_states.h, from 1.</summary>
    private static readonly string[] States =
        ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE"];

    private const ulong TimeWait = 6, Listen = 10, NewSynRecv = 12;

    /// <summary>Hash buckets of one table: tcp_hashinfo has half a million at most (thash_entries).</summary>
    private const ulong MaxBuckets = 1 << 22;

    /// <summary>The socket of an open file.</summary>
    /// <returns>Null where the file is none, or its socket is not set up.</returns>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static LinuxSocket? Of(LinuxKernel kernel, OpenFile file)
    {
        if (file.Kind != FileKind.Socket || file.PrivateData == 0)
            return null;
        ulong sock = kernel.Read(file.PrivateData, "socket.sk");
        return sock == 0 ? null : Read(kernel, sock);
    }

    /// <summary>TCP sockets that listen.</summary>
    /// <exception cref="GuestMemoryException">The table can't be read.</exception>
    /// <exception cref="KernelShapeException">A chain does not hold together, or the kernel lacks the types.</exception>
    public static List<LinuxSocket> TcpListeners(LinuxKernel kernel, TargetLimits limits)
    {
        ulong info = kernel.Symbol("tcp_hashinfo");

        // Only the table by port and address is left since 5.19 (commit cae3873c5b3a, "net: inet: Retire port only listening_hash"), and its chains are of the same kind as the old table's.
        bool old = kernel.HasMember("inet_hashinfo.listening_hash");
        ulong bytes = (ulong)kernel.Image.Types.SizeOf("inet_listen_hashbucket");
        ulong table = old ? unchecked(info + kernel.Offset("inet_hashinfo.listening_hash")) : kernel.Read(info, "inet_hashinfo.lhash2");
        ulong buckets = old ? (ulong)kernel.Image.Types.Member("inet_hashinfo.listening_hash").BitSize / 8 / Math.Max(1, bytes) : kernel.Read(info, "inet_hashinfo.lhash2_mask") + 1;
        return [.. Hashed(kernel, table, buckets, bytes, kernel.Offset("inet_listen_hashbucket.nulls_head"), limits).Select(s => Read(kernel, s))];
    }

    /// <summary>TCP sockets that are connected or were lately.</summary>
    /// <inheritdoc cref="TcpListeners" path="/exception"/>
    public static List<LinuxSocket> TcpConnections(LinuxKernel kernel, TargetLimits limits)
    {
        ulong info = kernel.Symbol("tcp_hashinfo");
        return [.. Hashed(kernel, kernel.Read(info, "inet_hashinfo.ehash"), kernel.Read(info, "inet_hashinfo.ehash_mask") + 1, (ulong)kernel.Image.Types.SizeOf("inet_ehash_bucket"),
            kernel.Offset("inet_ehash_bucket.chain"), limits).Select(s => Read(kernel, s))];
    }

    /// <summary>One struct sock.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static LinuxSocket Read(LinuxKernel kernel, ulong sock)
    {
        ulong family = kernel.Read(sock, "sock_common.skc_family"), state = kernel.Read(sock, "sock_common.skc_state");

        // Of a connection that waits to be forgotten, and of one that is being made, only the common head is there (inet_timewait_sock, request_sock).
        bool whole = family is not (Inet or Inet6) || state is not (TimeWait or NewSynRecv);

        // An orphan in FIN_WAIT2 is kept as such a head as well, and only there is its state told (tcp_time_wait, net/ipv4/tcp_minisocks.c).
        if (!whole && state == TimeWait && kernel.HasMember("inet_timewait_sock.tw_substate"))
            state = kernel.Read(sock, "inet_timewait_sock.tw_substate");
        (string local, string remote) = family switch
        {
            Inet => InetNames(kernel, sock, v6: false),
            Inet6 => InetNames(kernel, sock, v6: true),
            Unix => (UnixName(kernel, sock), ""),
            Netlink => (kernel.HasMember("netlink_sock.portid") ? $"{kernel.ReadU32(sock, "netlink_sock.portid")}" : "", ""),
            _ => ("", ""),
        };
        return new LinuxSocket
        {
            Address = sock,
            Family = family switch { Unix => "unix", Inet => "inet", Inet6 => "inet6", Netlink => "netlink", 17 => "packet", _ => $"{family}" },
            Type = whole ? kernel.Read(sock, "sock.sk_type") switch { 1 => "stream", 2 => "dgram", 3 => "raw", 5 => "seqpacket", var type => $"{type}" } : "",
            Protocol = whole ? (int)kernel.Read(sock, "sock.sk_protocol") : 0,
            State = state >= 1 && state <= (ulong)States.Length ? States[state - 1] : $"{state}",
            Local = local,
            Remote = remote,
            ReceiveQueue = !whole ? 0 : kernel.Read(sock, state == Listen ? "sock.sk_ack_backlog" : "sock.sk_backlog.rmem_alloc.counter"),
            SendQueue = !whole ? 0 : kernel.Read(sock, state == Listen ? "sock.sk_max_ack_backlog" : "sock.sk_wmem_queued"),
        };
    }

    private static (string Local, string Remote) InetNames(LinuxKernel kernel, ulong sock, bool v6)
    {
        IPAddress Address(string four, string six) => v6
            ? new IPAddress(kernel.ReadBytes(unchecked(sock + kernel.Offset(six)), 16, six))
            : new IPAddress((long)kernel.Read(sock, four));

        // Own port in host order, the peer's as on the wire.
        int own = (int)kernel.Read(sock, "sock_common.skc_num"), peer = BinaryPrimitives.ReverseEndianness((ushort)kernel.Read(sock, "sock_common.skc_dport"));
        string remote = peer == 0 ? "" : new IPEndPoint(Address("sock_common.skc_daddr", "sock_common.skc_v6_daddr"), peer).ToString();
        return (own == 0 ? "" : new IPEndPoint(Address("sock_common.skc_rcv_saddr", "sock_common.skc_v6_rcv_saddr"), own).ToString(), remote);
    }

    /// <summary>A path; names without a file begin with @, as /proc/net/unix shows them.</summary>
    private static string UnixName(LinuxKernel kernel, ulong sock)
    {
        if (!kernel.HasMember("unix_sock.addr"))
            return "";
        ulong address = kernel.Read(sock, "unix_sock.addr");
        if (address == 0)
            return "";

        // sockaddr_un: two bytes of family, then at most 108 of name.
        int length = (int)Math.Clamp(kernel.ReadSigned(address, "unix_address.len") - 2, 0, 108);
        byte[] name = kernel.ReadBytes(unchecked(address + kernel.Offset("unix_address.name") + 2), length, "unix_address.name");
        return length > 0 && name[0] == 0 ? "@" + Encoding.UTF8.GetString(name, 1, length - 1).Replace('\0', '@') : KernelReads.TextOf(name);
    }

    /// <summary>The socks of a hash table whose chains end with a nulls mark. Empty buckets hold such a mark too, so heads are read in blocks.</summary>
    private static IEnumerable<ulong> Hashed(LinuxKernel kernel, ulong table, ulong buckets, ulong bytes, ulong headOffset, TargetLimits limits)
    {
        if (buckets > MaxBuckets || bytes is < 8 or > 4096)
            throw new KernelShapeException($"a table of sockets has {buckets} buckets of {bytes} bytes");
        ulong link = kernel.Offset("sock_common.skc_nulls_node");
        int perBlock = (int)(65536 / bytes), found = 0;
        for (ulong first = 0; first < buckets; first += (ulong)perBlock)
        {
            int count = (int)Math.Min((ulong)perBlock, buckets - first);
            byte[] block = kernel.ReadBytes(unchecked(table + (first * bytes)), count * (int)bytes, "socket hash table");
            for (int i = 0; i < count; i++)
            {
                if ((BitConverter.ToUInt64(block, (i * (int)bytes) + (int)headOffset) & 1) != 0)
                    continue;
                foreach (ulong node in Lists.HlistNullsNodes(kernel, unchecked(table + ((first + (ulong)i) * bytes) + headOffset), "socket hash chain", limits))
                {
                    if (++found > limits.MaxChain)
                        throw new KernelShapeException($"more than {limits.MaxChain} sockets");
                    yield return unchecked(node - link);
                }
            }
        }
    }
}
