using System.Net.Sockets;

namespace Panacea.Target.Qemu.Tests;

/// <summary>Two connected unix sockets: one for the client under test, one for a scripted server.</summary>
internal sealed class SocketPair : IDisposable
{
    public SocketPair()
    {
        string directory = Directory.CreateTempSubdirectory("pnc-pair-").FullName;
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var address = new UnixDomainSocketEndPoint(Path.Combine(directory, "s"));
        listener.Bind(address);
        listener.Listen(1);
        Client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        Client.Connect(address);
        Server = listener.Accept();
        Server.ReceiveTimeout = 30_000;
        Directory.Delete(directory, recursive: true);
    }

    public Socket Client { get; }

    public Socket Server { get; }

    public void Dispose()
    {
        Client.Dispose();
        Server.Dispose();
    }
}
