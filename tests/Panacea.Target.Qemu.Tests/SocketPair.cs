using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Panacea.Target.Qemu.Tests;

/// <summary>Two connected unix sockets: one for the client under test, one for a scripted server.</summary>
internal sealed unsafe partial class SocketPair : IDisposable
{
    private const int AfUnix = 1, SockStreamCloexec = 0x80001;

    public SocketPair()
    {
        int* pair = stackalloc int[2];

        // SAFETY: socketpair(2) writes two descriptors, for which there is room.
        if (Create(AfUnix, SockStreamCloexec, 0, pair) != 0)
            throw new SocketException(Marshal.GetLastPInvokeError());
        Client = new Socket(new SafeSocketHandle(pair[0], ownsHandle: true));
        Server = new Socket(new SafeSocketHandle(pair[1], ownsHandle: true)) { ReceiveTimeout = 30_000 };
    }

    public Socket Client { get; }

    public Socket Server { get; }

    public void Dispose()
    {
        Client.Dispose();
        Server.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int Create(int domain, int type, int protocol, int* pair);
}
