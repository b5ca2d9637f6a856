using System.Buffers.Binary;

namespace Panacea.Kernel.Structures;

/// <summary>A gate of the trap table (struct gate_struct, arch/x86/include/asm/desc_defs.h).</summary>
/// <param name="Target">Where it leads.</param>
/// <param name="Selector">Code segment.</param>
/// <param name="Type">Kind of gate: 14 for an interrupt gate, 15 for a trap gate (Intel SDM 3A, 6.14.1).</param>
/// <param name="Level">The least privileged ring that may raise it by an instruction.</param>
/// <param name="IsPresent">The CPU takes it.</param>
/// <param name="Stack">Which of the task state segment's stacks the CPU goes to (IST), 0 for none.</param>
public readonly record struct TrapGate(ulong Target, ushort Selector, int Type, int Level, bool IsPresent, int Stack)
{
    /// <summary>Gates of a table.</summary>
    public const int Count = 256;

    /// <summary>Bytes of each.</summary>
    public const int Size = 16;

    /// <summary>Bytes of a table.</summary>
    public const int TableSize = Count * Size;

    /// <summary>Decodes the gate of a vector.</summary>
    /// <param name="table">A whole table, <see cref="TableSize"/> bytes.</param>
    /// <param name="vector">Which, below <see cref="Count"/>.</param>
    public static TrapGate Of(ReadOnlySpan<byte> table, int vector)
    {
        ReadOnlySpan<byte> gate = Raw(table, vector);
        ulong target = BinaryPrimitives.ReadUInt16LittleEndian(gate) | ((ulong)BinaryPrimitives.ReadUInt16LittleEndian(gate[6..]) << 16) | ((ulong)BinaryPrimitives.ReadUInt32LittleEndian(gate[8..]) << 32);
        return new TrapGate(target, BinaryPrimitives.ReadUInt16LittleEndian(gate[2..]), gate[5] & 0x1f, gate[5] >> 5 & 3, (gate[5] & 0x80) != 0, gate[4] & 7);
    }

    /// <summary>The bytes of a gate.</summary>
    public static ReadOnlySpan<byte> Raw(ReadOnlySpan<byte> table, int vector) => table.Slice(vector * Size, Size);
}
