using System.Buffers.Binary;

namespace Panacea.Formats.Orc;

/// <summary>Versions of struct orc_entry (arch/x86/include/asm/orc_types.h); the numbers are drgn's, the kernel has none.</summary>
public enum OrcVersion
{
    /// <summary>Linux 4.14 to 6.2: type in bits 8–9, end in bit 10 (commit ee9f8fce9964).</summary>
    V1 = 1,

    /// <summary>Linux 6.3: type in bits 8–9, signal in bit 10, end in bit 11 (commit ffb1b4a41016).</summary>
    V2 = 2,

    /// <summary>Linux 6.4 to 7.0: type in bits 8–10 with UNDEFINED and END_OF_STACK, signal in bit 11 (commit fb799447ae29).</summary>
    V3 = 3,

    /// <summary>Linux 7.1: as V3 with the registers renumbered (commit 1735858caa4b).</summary>
    V4 = 4,
}

/// <summary>Decoding of the 6-byte rows of <c>.orc_unwind</c>: s16 sp_offset, s16 bp_offset, u16 flags.</summary>
public static class OrcFormat
{
    /// <summary>Bytes of one row.</summary>
    public const int RowBytes = 6;

    /// <summary>Bytes of one slot of <c>.orc_unwind_ip</c>.</summary>
    public const int IpBytes = 4;

    /// <summary>Decides by the shape of the rows which version they are. The more rows, the surer: ask for vmlinux and use the answer for its modules.</summary>
    /// <param name="rows">Bytes of <c>.orc_unwind</c>.</param>
    /// <param name="version">The version. Where no row tells V1 and V2 apart, V1: every row then decodes alike.</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public static bool TryDetect(ReadOnlySpan<byte> rows, out OrcVersion version, out string whyNot)
    {
        version = 0;
        whyNot = "";
        if (rows.Length == 0 || rows.Length % RowBytes != 0)
        {
            whyNot = $"{rows.Length} bytes are not a whole number of ORC rows";
            return false;
        }

        int oldCalls = 0, newCalls = 0, sp3 = 0, sp4 = 0, bit11 = 0, bit10WithSp = 0;
        for (int i = 0; i < rows.Length; i += RowBytes)
        {
            int flags = BinaryPrimitives.ReadUInt16LittleEndian(rows[(i + 4)..]);
            if ((flags & 0xf000) != 0)
            {
                whyNot = $"ORC row {i / RowBytes} has bits set that no version uses";
                return false;
            }

            bit11 += (flags & 0x800) != 0 ? 1 : 0;
            int sp = flags & 0xf;
            if (sp == 0)
                continue;
            bit10WithSp += (flags & 0x400) != 0 ? 1 : 0;
            int type = (flags >> 8) & 7;
            oldCalls += type == 0 ? 1 : 0;
            newCalls += type == 2 ? 1 : 0;
            if (type == 2)
            {
                sp3 += sp == 5 ? 1 : 0;
                sp4 += sp == 3 ? 1 : 0;
            }
        }

        // Nearly every row of a kernel is a CALL row based on SP: 0 in the old versions, where 2 is the rare REGS_PARTIAL; 2 in the new ones,
        // where 0 is UNDEFINED and has no base register at all.
        if (newCalls > 8L * oldCalls && sp3 != sp4)
        {
            version = sp3 > sp4 ? OrcVersion.V3 : OrcVersion.V4;
            return true;
        }

        if (oldCalls > 8L * newCalls)
        {
            // Bit 11 has a meaning only from V2 on; bit 10 is "signal" in V2 and stands beside a base register there, "end" in V1, which has none.
            version = bit11 > 0 || bit10WithSp > 0 ? OrcVersion.V2 : OrcVersion.V1;
            return true;
        }

        whyNot = "the ORC rows fit no known version";
        return false;
    }

    /// <summary>Decodes one row into the one numbering of <see cref="OrcEntry"/>.</summary>
    /// <param name="row">Six bytes.</param>
    /// <param name="version">Their version.</param>
    /// <returns>The row. A register or type number that its version does not have becomes Undefined: such a row can't be unwound through.</returns>
    public static OrcEntry Decode(ReadOnlySpan<byte> row, OrcVersion version)
    {
        short spOffset = BinaryPrimitives.ReadInt16LittleEndian(row);
        short bpOffset = BinaryPrimitives.ReadInt16LittleEndian(row[2..]);
        int flags = BinaryPrimitives.ReadUInt16LittleEndian(row[4..]);
        OrcRegister sp = Register(flags & 0xf, version);
        OrcRegister bp = Register((flags >> 4) & 0xf, version);
        if (version >= OrcVersion.V3)
        {
            OrcType type = ((flags >> 8) & 7) switch
            {
                1 => OrcType.End,
                2 => OrcType.Call,
                3 => OrcType.Regs,
                4 => OrcType.RegsPartial,
                _ => OrcType.Undefined,
            };
            return new OrcEntry(sp, spOffset, bp, bpOffset, type, (flags & 0x800) != 0);
        }

        bool end = (flags & (version == OrcVersion.V2 ? 0x800 : 0x400)) != 0;
        OrcType old = end ? OrcType.End : sp == OrcRegister.Undefined ? OrcType.Undefined : ((flags >> 8) & 3) switch
        {
            0 => OrcType.Call,
            1 => OrcType.Regs,
            2 => OrcType.RegsPartial,
            _ => OrcType.Undefined,
        };

        // Before V2 the unwinder took every frame with registers for a signal frame (unwind_next_frame, arch/x86/kernel/unwind_orc.c).
        bool signal = version == OrcVersion.V2 ? (flags & 0x400) != 0 : old is OrcType.Regs or OrcType.RegsPartial;
        return new OrcEntry(sp, spOffset, bp, bpOffset, old, signal);
    }

    private static OrcRegister Register(int number, OrcVersion version) => version == OrcVersion.V4
        ? number switch
        {
            1 => OrcRegister.Ax,
            2 => OrcRegister.Dx,
            3 => OrcRegister.Sp,
            4 => OrcRegister.Bp,
            5 => OrcRegister.Di,
            6 => OrcRegister.R10,
            7 => OrcRegister.R13,
            8 => OrcRegister.PrevSp,
            9 => OrcRegister.SpIndirect,
            10 => OrcRegister.BpIndirect,
            _ => OrcRegister.Undefined,
        }
        : number switch
        {
            1 => OrcRegister.PrevSp,
            2 => OrcRegister.Dx,
            3 => OrcRegister.Di,
            4 => OrcRegister.Bp,
            5 => OrcRegister.Sp,
            6 => OrcRegister.R10,
            7 => OrcRegister.R13,
            8 => OrcRegister.BpIndirect,
            9 => OrcRegister.SpIndirect,
            _ => OrcRegister.Undefined,
        };
}
