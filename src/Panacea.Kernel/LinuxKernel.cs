using System.Buffers.Binary;
using Panacea.Kernel.Image;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel;

/// <summary>The kernel lacks what was asked for: a symbol, a type, a member. The message names it.</summary>
public class KernelShapeException(string message) : InvalidOperationException(message);

/// <summary>A Linux kernel seen through its repair image: symbols and types from the image, values from memory.</summary>
/// <remarks>As live as its memory: over a running guest, values change between two reads; over a capture they do not. Guest-virtual addresses are plain
/// <see cref="ulong"/> here, because they are compared and computed with all the time; guest-physical ones never are.</remarks>
public sealed class LinuxKernel(RepairImage image, AddressSpace space)
{
    /// <summary>What is known of this kernel.</summary>
    public RepairImage Image { get; } = image;

    /// <summary>The kernel's address space.</summary>
    public AddressSpace Space { get; } = space;

    /// <summary>The same kernel over other memory.</summary>
    public LinuxKernel Over(IGuestMemory memory) => new(Image, Space.Over(memory));

    /// <summary>The address of a kernel symbol.</summary>
    /// <exception cref="KernelShapeException">There is none of that name.</exception>
    public ulong Symbol(string name) =>
        Image.TryFindSymbol(name, out ulong address) ? address : throw new KernelShapeException($"this kernel has no symbol {name}");

    /// <summary>True where the kernel has that symbol.</summary>
    public bool HasSymbol(string name) => Image.TryFindSymbol(name, out _);

    /// <summary>Byte offset of a member, <c>type.member[.member]</c>, in its outermost struct.</summary>
    /// <exception cref="KernelShapeException">BTF has no such type or member.</exception>
    public ulong Offset(string path) => (ulong)Image.Types.Member(path).ByteOffset;

    /// <summary>True where BTF has that member.</summary>
    public bool HasMember(string path) => Image.Types.TryMember(path, out _);

    /// <summary>An integer or pointer member of the object at <paramref name="address"/>: zero-extended, 1 to 8 bytes, bit-fields included.</summary>
    /// <exception cref="KernelShapeException">BTF has no such member, or it is no integer.</exception>
    /// <exception cref="GuestMemoryException">The memory could not be read.</exception>
    public ulong Read(ulong address, string path)
    {
        MemberInfo member = Image.Types.Member(path);
        return ReadInteger(address, member, path);
    }

    /// <summary>As <see cref="Read(ulong, string)"/>, of a type that only a module knows.</summary>
    /// <param name="address">Guest-virtual address of the object.</param>
    /// <param name="path">The member.</param>
    /// <param name="types">The module's types.</param>
    public ulong Read(ulong address, string path, TypeCatalog types) => ReadInteger(address, types.Member(path), path);

    /// <summary>As <see cref="Read(ulong, string)"/>, for what is 32 bits wide in every kernel.</summary>
    /// <exception cref="KernelShapeException">It does not fit: BTF says it is wider.</exception>
    public uint ReadU32(ulong address, string path) => Read(address, path) is var value && value <= uint.MaxValue
        ? (uint)value : throw new KernelShapeException($"{path} is 0x{value:x}, more than 32 bits hold");

    /// <summary>As <see cref="ReadU32"/>, signed.</summary>
    public int ReadS32(ulong address, string path) => ReadSigned(address, path) is var value && value is >= int.MinValue and <= int.MaxValue
        ? (int)value : throw new KernelShapeException($"{path} is {value}, more than 32 bits hold");

    /// <summary>As <see cref="Read(ulong, string)"/>, signed.</summary>
    public long ReadSigned(ulong address, string path)
    {
        MemberInfo member = Image.Types.Member(path);
        ulong value = ReadInteger(address, member, path);
        int unused = 64 - member.BitSize;
        return unchecked((long)(value << unused) >> unused);
    }

    /// <summary>A character array member, up to its NUL.</summary>
    public string ReadText(ulong address, string path)
    {
        MemberInfo member = Image.Types.Member(path);
        int length = Math.Min(member.BitSize / 8, 4096);
        Span<byte> raw = stackalloc byte[length];
        Space.Read(new VirtualAddress(unchecked(address + (ulong)member.ByteOffset)), raw, path);
        int nul = raw.IndexOf((byte)0);
        return System.Text.Encoding.UTF8.GetString(nul >= 0 ? raw[..nul] : raw);
    }

    /// <summary>A 64-bit value at a symbol.</summary>
    public ulong ReadSymbolU64(string name) => Space.ReadUInt64(new VirtualAddress(Symbol(name)), name);

    /// <summary>A 64-bit value at an address.</summary>
    public ulong ReadU64(ulong address, string what) => Space.ReadUInt64(new VirtualAddress(address), what);

    private ulong ReadInteger(ulong address, MemberInfo member, string path)
    {
        if (member.BitSize is < 1 or > 64)
            throw new KernelShapeException($"{path} is {member.BitSize} bits wide, not an integer");
        int bytes = (member.BitOffsetInByte + member.BitSize + 7) / 8;
        Span<byte> raw = stackalloc byte[16];
        raw.Clear();
        Space.Read(new VirtualAddress(unchecked(address + (ulong)member.ByteOffset)), raw[..bytes], path);
        UInt128 value = BinaryPrimitives.ReadUInt128LittleEndian(raw) >> member.BitOffsetInByte;
        return (ulong)(value & ((UInt128.One << member.BitSize) - 1));
    }
}

/// <summary>Where a member lies in its outermost struct.</summary>
/// <param name="ByteOffset">Bytes from the start.</param>
/// <param name="BitOffsetInByte">For bit-fields, bits into that byte; else 0.</param>
/// <param name="BitSize">Width in bits.</param>
public readonly record struct MemberInfo(int ByteOffset, int BitOffsetInByte, int BitSize);
