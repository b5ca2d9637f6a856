using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.Target;

namespace Panacea.TestKit.Dumps;

/// <summary>Notes as the kernel and QEMU write them.</summary>
public sealed class DumpNotes
{
    private readonly List<byte> _bytes = [];

    /// <summary>Adds any note.</summary>
    public DumpNotes Add(string name, uint type, ReadOnlySpan<byte> descriptor)
    {
        byte[] header = new byte[12 + (name.Length + 1 + 3) / 4 * 4];
        BinaryPrimitives.WriteInt32LittleEndian(header, name.Length + 1);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), descriptor.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), type);
        Encoding.ASCII.GetBytes(name, header.AsSpan(12));
        _bytes.AddRange(header);
        _bytes.AddRange(descriptor);
        _bytes.AddRange(new byte[(4 - (descriptor.Length % 4)) % 4]);
        return this;
    }

    /// <summary>NT_PRSTATUS: 27 registers from <paramref name="seed"/> on, in the order of user_regs_struct.</summary>
    public DumpNotes AddStatus(uint pid, ulong seed)
    {
        byte[] descriptor = new byte[336];
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor.AsSpan(32), pid);
        for (int i = 0; i < 27; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(112 + (8 * i)), seed + (ulong)i);
        return Add("CORE", 1, descriptor);
    }

    /// <summary>NT_PRSTATUS as a crashing kernel writes it, with the general registers of a CPU.</summary>
    public DumpNotes AddStatus(uint pid, VcpuRegisters registers)
    {
        byte[] descriptor = new byte[336];
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor.AsSpan(32), pid);
        void Put(UserRegister register, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(112 + (8 * (int)register)), value);
        foreach (Gpr register in Enum.GetValues<Gpr>())
            Put(Enum.Parse<UserRegister>(register.ToString()), registers.Gpr[register]);
        Put(UserRegister.Rip, registers.Rip);
        Put(UserRegister.Rflags, registers.Rflags);
        Put(UserRegister.Cs, registers.Cs);
        return Add("CORE", 1, descriptor);
    }

    /// <summary>QEMUCPUState, version 1.</summary>
    /// <param name="seed">RAX; each further register is one more.</param>
    /// <param name="control">CR0 to CR4.</param>
    /// <param name="gsBase">GS base.</param>
    /// <param name="idtBase">IDT base.</param>
    /// <param name="kernelGsBase">The kernel GS base; null for a QEMU that does not write it.</param>
    public DumpNotes AddQemu(ulong seed, ReadOnlySpan<ulong> control, ulong gsBase = 0, ulong idtBase = 0, ulong? kernelGsBase = 0)
    {
        byte[] descriptor = new byte[kernelGsBase is null ? 432 : 440];
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, 1);
        BinaryPrimitives.WriteInt32LittleEndian(descriptor.AsSpan(4), descriptor.Length);
        for (int i = 0; i < 18; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(8 + (8 * i)), seed + (ulong)i);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor.AsSpan(152), 0x10);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(152 + (4 * 24) + 16), gsBase);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(152 + (9 * 24) + 16), idtBase);
        for (int i = 0; i < control.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(392 + (8 * i)), control[i]);
        if (kernelGsBase is { } kernelGs)
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(432), kernelGs);
        return Add("QEMU", 0, descriptor);
    }

    /// <summary>VMCOREINFO.</summary>
    public DumpNotes AddVmcoreInfo(string text) => Add("VMCOREINFO", 0, Encoding.ASCII.GetBytes(text));

    /// <summary>The notes, one behind the other.</summary>
    public byte[] Build() => [.. _bytes];
}
