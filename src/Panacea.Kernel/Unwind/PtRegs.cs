using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h): the registers that an entry into the kernel saved on its stack.</summary>
/// <remarks>21 little-endian 64-bit values. The order has not changed since x86-64 exists; 6.9 and later split <c>cs</c> and <c>ss</c> into unions
/// with room for FRED's data above (commit ee63291aa828, "x86/ptrace: Cleanup the definition of the pt_regs structure"), so the selectors are the low 16 bits.</remarks>
public readonly record struct PtRegs
{
    /// <summary>Bytes of the structure.</summary>
    public const int Size = 168;

    /// <summary>Byte offset of <c>ip</c>: the hardware's part (ip, cs, flags, sp, ss) begins there (IRET_FRAME_OFFSET).</summary>
    public const int IretFrameOffset = 128;

    /// <summary>General registers; RSP is the interrupted context's (member <c>sp</c>).</summary>
    public GprFile Gpr { get; init; }

    /// <summary>Member <c>orig_ax</c>: the system call's number, the exception's error code, or -1.</summary>
    public ulong OrigAx { get; init; }

    /// <summary>Member <c>ip</c>.</summary>
    public ulong Ip { get; init; }

    /// <summary>Member <c>cs</c>, as stored.</summary>
    public ulong Cs { get; init; }

    /// <summary>Member <c>flags</c>.</summary>
    public ulong Flags { get; init; }

    /// <summary>Member <c>ss</c>, as stored.</summary>
    public ulong Ss { get; init; }

    /// <summary>The stack pointer of the interrupted context.</summary>
    public ulong Sp => Gpr[Target.Gpr.Rsp];

    /// <summary>The frame pointer register of the interrupted context.</summary>
    public ulong Bp => Gpr[Target.Gpr.Rbp];

    /// <summary>The interrupted context ran in user mode (CPL 3).</summary>
    public bool IsUserMode => (Cs & 3) == 3;

    /// <summary>The interrupted context had interrupts enabled (RFLAGS.IF).</summary>
    public bool InterruptsEnabled => (Flags & 0x200) != 0;

    /// <summary>General registers in the order in which they stand in memory, before <c>orig_ax</c>.</summary>
    private static ReadOnlySpan<Gpr> Order =>
    [
        Target.Gpr.R15, Target.Gpr.R14, Target.Gpr.R13, Target.Gpr.R12, Target.Gpr.Rbp, Target.Gpr.Rbx, Target.Gpr.R11, Target.Gpr.R10,
        Target.Gpr.R9, Target.Gpr.R8, Target.Gpr.Rax, Target.Gpr.Rcx, Target.Gpr.Rdx, Target.Gpr.Rsi, Target.Gpr.Rdi,
    ];

    /// <summary>Byte offset of a general register's member; RSP is <c>sp</c>.</summary>
    public static int OffsetOf(Gpr register) => register == Target.Gpr.Rsp ? IretFrameOffset + 24 : Order.IndexOf(register) * 8;

    /// <summary>Byte offset of <c>flags</c>.</summary>
    public const int FlagsOffset = IretFrameOffset + 16;

    /// <summary>Reads the structure from its <see cref="Size"/> bytes.</summary>
    /// <exception cref="ArgumentException">Fewer bytes than that.</exception>
    public static PtRegs Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < Size)
            throw new ArgumentException($"struct pt_regs is {Size} bytes, not {bytes.Length}", nameof(bytes));
        GprFile gpr = default;
        for (int i = 0; i < Order.Length; i++)
            gpr[Order[i]] = At(bytes, i * 8);
        gpr[Target.Gpr.Rsp] = At(bytes, IretFrameOffset + 24);
        return new PtRegs
        {
            Gpr = gpr,
            OrigAx = At(bytes, 120),
            Ip = At(bytes, IretFrameOffset),
            Cs = At(bytes, IretFrameOffset + 8),
            Flags = At(bytes, FlagsOffset),
            Ss = At(bytes, IretFrameOffset + 32),
        };
    }

    /// <summary>Reads the structure from guest memory.</summary>
    public static bool TryRead(AddressSpace space, ulong address, out PtRegs regs, out MemoryFault fault)
    {
        Span<byte> raw = stackalloc byte[Size];
        bool ok = space.TryRead(new VirtualAddress(address), raw, out fault);
        regs = ok ? Read(raw) : default;
        return ok;
    }

    /// <summary>Writes the structure's <see cref="Size"/> bytes.</summary>
    /// <exception cref="ArgumentException">Fewer bytes than that.</exception>
    public void Write(Span<byte> bytes)
    {
        if (bytes.Length < Size)
            throw new ArgumentException($"struct pt_regs is {Size} bytes, not {bytes.Length}", nameof(bytes));
        for (int i = 0; i < Order.Length; i++)
            Put(bytes, i * 8, Gpr[Order[i]]);
        Put(bytes, 120, OrigAx);
        Put(bytes, IretFrameOffset, Ip);
        Put(bytes, IretFrameOffset + 8, Cs);
        Put(bytes, FlagsOffset, Flags);
        Put(bytes, IretFrameOffset + 24, Sp);
        Put(bytes, IretFrameOffset + 32, Ss);
    }

    /// <summary>The same with one general register changed.</summary>
    public PtRegs With(Gpr register, ulong value)
    {
        GprFile gpr = Gpr;
        gpr[register] = value;
        return this with { Gpr = gpr };
    }

    /// <summary>Equal in all 21 values.</summary>
    public bool Equals(PtRegs other)
    {
        Span<byte> a = stackalloc byte[Size], b = stackalloc byte[Size];
        Write(a);
        other.Write(b);
        return a.SequenceEqual(b);
    }

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Ip, Sp, Flags, OrigAx, Gpr[Target.Gpr.Rax]);

    private static ulong At(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);

    private static void Put(Span<byte> bytes, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(bytes[offset..], value);
}
