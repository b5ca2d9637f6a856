using System.Runtime.InteropServices;

namespace Panacea.Target.Qemu.Native;

/// <summary>The few Linux calls that .NET does not offer, or not without a thread hop. Constants are those of Linux x86-64 and aarch64.</summary>
internal static unsafe partial class Libc
{
    internal const short PollIn = 0x1, PollOut = 0x4;
    internal const int MsgDontWait = 0x40, MsgNoSignal = 0x4000;
    internal const int ProtRead = 1, ProtWrite = 2, MapShared = 1;
    internal const int SeekData = 3, SeekHole = 4;
    internal const int LockExclusive = 2, LockNonBlocking = 4;
    internal const int Eperm = 1, Enoent = 2, Esrch = 3, Eintr = 4, Enxio = 6, Eagain = 11, Efault = 14;
    internal static readonly nint MapFailed = -1;

    [StructLayout(LayoutKind.Sequential)]
    internal struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct IoVec
    {
        public nint Base;
        public nuint Length;
    }

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    internal static partial int Poll(PollFd* fds, nuint count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    internal static partial int EventFd(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    internal static partial nint Read(int fd, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    internal static partial nint Write(int fd, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    internal static partial nint Receive(int fd, void* buffer, nuint count, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    internal static partial nint Send(int fd, void* buffer, nuint count, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMessage(int fd, MessageHeader* message, int flags);

    /// <summary>struct msghdr (socket(7)), 64 bits.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public nint Name;
        public int NameLength;
        public IoVec* Vectors;
        public nuint VectorCount;
        public nint Control;
        public nuint ControlLength;
        public int Flags;
    }

    /// <summary>struct cmsghdr with one descriptor (cmsg(3)): CMSG_SPACE(4) is 24.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 24)]
    private struct DescriptorMessage
    {
        public nuint Length;
        public int Level;
        public int Type;
        public int Descriptor;
    }

    /// <summary>send(2) with a descriptor for the other end (SCM_RIGHTS, unix(7)).</summary>
    internal static nint SendDescriptor(int fd, byte* buffer, nuint count, int descriptor, int flags)
    {
        const int solSocket = 1, scmRights = 1;
        var vector = new IoVec { Base = (nint)buffer, Length = count };
        var control = new DescriptorMessage { Length = 20, Level = solSocket, Type = scmRights, Descriptor = descriptor };
        var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = (nint)(&control), ControlLength = (nuint)sizeof(DescriptorMessage) };

        // SAFETY: all of it lies on this stack, and buffer is the caller's, count long.
        return SendMessage(fd, &message, flags);
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int MemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    internal static partial int GetSockOpt(int fd, int level, int name, void* value, int* length);

    [LibraryImport("libc", EntryPoint = "process_vm_readv", SetLastError = true)]
    internal static partial nint ProcessVmRead(int pid, IoVec* local, nuint localCount, IoVec* remote, nuint remoteCount, nuint flags);

    [LibraryImport("libc", EntryPoint = "process_vm_writev", SetLastError = true)]
    internal static partial nint ProcessVmWrite(int pid, IoVec* local, nuint localCount, IoVec* remote, nuint remoteCount, nuint flags);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    internal static partial nint MMap(nint address, nuint length, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    internal static partial int MUnmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    internal static partial long LSeek(int fd, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    internal static partial int FLock(int fd, int operation);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    internal static partial uint GetEffectiveUserId();

    /// <remarks>For files that are locked: .NET's own opening takes a shared flock.</remarks>
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int MakeDirectory(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int ChangeOwner(string path, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int directory, string path, int flags, uint mask, byte* buffer);

    /// <summary>What <see cref="TryStat"/> says of a file.</summary>
    internal readonly record struct FileIdentity(uint UserId, uint GroupId, uint Mode, ulong Inode, uint DeviceMajor, uint DeviceMinor, long Size)
    {
        internal bool IsDirectory => (Mode & 0xf000) == 0x4000;
        internal bool IsSocket => (Mode & 0xf000) == 0xc000;
        internal bool IsBlockDevice => (Mode & 0xf000) == 0x6000;
    }

    /// <summary>statx(2); offsets from include/uapi/linux/stat.h (stable ABI).</summary>
    internal static bool TryStat(string path, bool followLinks, out FileIdentity identity)
    {
        const int currentDirectory = -100, noFollow = 0x100;
        const uint basicStats = 0x7ff;
        byte* raw = stackalloc byte[256];

        // SAFETY: struct statx is 256 bytes, and that is what raw holds; the path is marshalled for the call.
        if (StatX(currentDirectory, path, followLinks ? 0 : noFollow, basicStats, raw) != 0)
        {
            identity = default;
            return false;
        }

        identity = new FileIdentity(
            *(uint*)(raw + 20), *(uint*)(raw + 24), *(ushort*)(raw + 28), *(ulong*)(raw + 32), *(uint*)(raw + 136), *(uint*)(raw + 140), *(long*)(raw + 40));
        return true;
    }

    /// <summary>Waits until <paramref name="fd"/> or <paramref name="second"/> (-1: none) can be read, or the deadline passes.</summary>
    /// <param name="deadline"><see cref="Environment.TickCount64"/> at which to give up; <see cref="long.MaxValue"/> never.</param>
    /// <returns>Bit 0: <paramref name="fd"/> is ready (or has hung up), bit 1: <paramref name="second"/> is; 0: the time is over.</returns>
    internal static int WaitReadable(int fd, int second, long deadline) => Wait(fd, PollIn, second, deadline);

    /// <summary>Waits until <paramref name="fd"/> can be written, or the deadline passes.</summary>
    internal static bool WaitWritable(int fd, long deadline) => Wait(fd, PollOut, -1, deadline) != 0;

    private static int Wait(int fd, short events, int second, long deadline)
    {
        PollFd* fds = stackalloc PollFd[2];
        while (true)
        {
            long left = deadline == long.MaxValue ? -1 : Math.Clamp(deadline - Environment.TickCount64, 0, int.MaxValue);
            fds[0] = new PollFd { Fd = fd, Events = events };
            fds[1] = new PollFd { Fd = second, Events = PollIn };

            // SAFETY: two initialised entries on this stack; a negative fd in the second is ignored by poll(2).
            int ready = Poll(fds, 2, (int)left);
            if (ready > 0)
                return (fds[0].Returned != 0 ? 1 : 0) | (fds[1].Returned != 0 ? 2 : 0);
            if (ready == 0)
                return 0;
            if (Marshal.GetLastPInvokeError() != Eintr)
                throw new TargetException($"poll failed: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        }
    }

    /// <summary>Text of the last failed call's errno.</summary>
    internal static string LastError => Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());
}
