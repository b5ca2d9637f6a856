using System.Text;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What the readers of kernel state have in common.</summary>
internal static class KernelReads
{
    /// <summary>PAGE_SIZE.</summary>
    public const ulong PageSize = 4096;

    /// <summary>The first of some member paths that this kernel has; null where it has none of them.</summary>
    public static string? FirstMember(this LinuxKernel kernel, params ReadOnlySpan<string> paths)
    {
        foreach (string path in paths)
        {
            if (kernel.HasMember(path))
                return path;
        }

        return null;
    }

    /// <summary>Reads a member by the first of its names that this kernel has.</summary>
    /// <exception cref="KernelShapeException">It has none of them.</exception>
    public static ulong ReadFirst(this LinuxKernel kernel, ulong address, params ReadOnlySpan<string> paths) =>
        kernel.Read(address, kernel.FirstMember(paths) ?? paths[0]);

    /// <summary>A member where the kernel has it, else null.</summary>
    public static ulong? ReadIfPresent(this LinuxKernel kernel, ulong address, string path) => kernel.HasMember(path) ? kernel.Read(address, path) : null;

    /// <summary>The NUL-terminated string at an address; empty for NULL.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static string ReadString(this LinuxKernel kernel, ulong address, string what, int maxBytes = 4096)
    {
        if (address == 0)
            return "";
        return kernel.Space.TryReadString(new VirtualAddress(address), maxBytes, out string text, out MemoryFault fault) ? text : throw new GuestMemoryException(fault, what);
    }

    /// <summary>Bytes at an address.</summary>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static byte[] ReadBytes(this LinuxKernel kernel, ulong address, int count, string what)
    {
        byte[] bytes = new byte[count];
        kernel.Space.Read(new VirtualAddress(address), bytes, what);
        return bytes;
    }

    /// <summary>An unsigned little-endian integer of 1, 2, 4 or 8 bytes at an address.</summary>
    public static ulong ReadInteger(this LinuxKernel kernel, ulong address, int bytes, string what)
    {
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        kernel.Space.Read(new VirtualAddress(address), raw[..bytes], what);
        return BitConverter.ToUInt64(raw);
    }

    /// <summary>An unsigned integer variable of the kernel.</summary>
    /// <returns>Null where this kernel has no such symbol or it can't be read: a fact fewer, no failure of the whole.</returns>
    public static ulong? TryReadVariable(this LinuxKernel kernel, string symbol, int bytes = 8)
    {
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        return kernel.Image.TryFindSymbol(symbol, out ulong address) && kernel.Space.TryRead(new VirtualAddress(address), raw[..bytes], out _)
            ? BitConverter.ToUInt64(raw)
            : null;
    }

    /// <summary>What a reader gives, or the fallback where the kernel lacks it or its memory can't be read.</summary>
    public static T Try<T>(Func<T> read, T fallback)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return fallback;
        }
    }

    /// <summary>The bytes up to the first NUL as text; what is not UTF-8 becomes U+FFFD.</summary>
    public static string TextOf(ReadOnlySpan<byte> raw)
    {
        int nul = raw.IndexOf((byte)0);
        return Encoding.UTF8.GetString(nul >= 0 ? raw[..nul] : raw);
    }
}
