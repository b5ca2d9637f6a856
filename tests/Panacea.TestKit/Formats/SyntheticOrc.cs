using System.Buffers.Binary;
using Panacea.Formats.Orc;

namespace Panacea.TestKit.Formats;

/// <summary>Writes <c>.orc_unwind_ip</c> and <c>.orc_unwind</c> in any version.</summary>
/// <param name="ipAddress">Guest-virtual address of the first slot of <c>.orc_unwind_ip</c>.</param>
/// <param name="version">Version to write.</param>
public sealed class SyntheticOrc(ulong ipAddress, OrcVersion version)
{
    private readonly List<(ulong Ip, OrcEntry Entry)> _rows = [];

    /// <summary>A row as for most instructions: the caller's SP is SP + <paramref name="spOffset"/>.</summary>
    public static OrcEntry Call(short spOffset) => new(OrcRegister.Sp, spOffset, OrcRegister.Undefined, 0, OrcType.Call, false);

    /// <summary>The row that ends a run: nothing is known from here on.</summary>
    public static OrcEntry Gap => new(OrcRegister.Undefined, 0, OrcRegister.Undefined, 0, OrcType.Undefined, false);

    /// <summary>Adds a row; they must come sorted by address.</summary>
    public SyntheticOrc Add(ulong ip, OrcEntry entry)
    {
        _rows.Add((ip, entry));
        return this;
    }

    /// <summary>Bytes of <c>.orc_unwind_ip</c>.</summary>
    public byte[] BuildIps()
    {
        byte[] bytes = new byte[4 * _rows.Count];
        for (int i = 0; i < _rows.Count; i++)
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4 * i), unchecked((int)(_rows[i].Ip - ipAddress - 4UL * (ulong)i)));
        return bytes;
    }

    /// <summary>Bytes of <c>.orc_unwind</c>.</summary>
    public byte[] BuildRows()
    {
        byte[] bytes = new byte[6 * _rows.Count];
        for (int i = 0; i < _rows.Count; i++)
        {
            OrcEntry e = _rows[i].Entry;
            BinaryPrimitives.WriteInt16LittleEndian(bytes.AsSpan(6 * i), e.SpOffset);
            BinaryPrimitives.WriteInt16LittleEndian(bytes.AsSpan(6 * i + 2), e.BpOffset);
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(6 * i + 4), Flags(e));
        }

        return bytes;
    }

    private ushort Flags(OrcEntry e)
    {
        int registers = Register(e.SpRegister) | Register(e.BpRegister) << 4;
        if (version >= OrcVersion.V3)
        {
            int type = e.Type switch { OrcType.Undefined => 0, OrcType.End => 1, OrcType.Call => 2, OrcType.Regs => 3, _ => 4 };
            return (ushort)(registers | type << 8 | (e.Signal ? 0x800 : 0));
        }

        int old = e.Type switch { OrcType.Regs => 1, OrcType.RegsPartial => 2, _ => 0 };
        int end = e.Type != OrcType.End ? 0 : version == OrcVersion.V2 ? 0x800 : 0x400;
        return (ushort)(registers | old << 8 | end | (version == OrcVersion.V2 && e.Signal ? 0x400 : 0));
    }

    private int Register(OrcRegister r) => version == OrcVersion.V4
        ? r switch
        {
            OrcRegister.Ax => 1,
            OrcRegister.Dx => 2,
            OrcRegister.Sp => 3,
            OrcRegister.Bp => 4,
            OrcRegister.Di => 5,
            OrcRegister.R10 => 6,
            OrcRegister.R13 => 7,
            OrcRegister.PrevSp => 8,
            OrcRegister.SpIndirect => 9,
            OrcRegister.BpIndirect => 10,
            _ => 0,
        }
        : r switch
        {
            OrcRegister.PrevSp => 1,
            OrcRegister.Dx => 2,
            OrcRegister.Di => 3,
            OrcRegister.Bp => 4,
            OrcRegister.Sp => 5,
            OrcRegister.R10 => 6,
            OrcRegister.R13 => 7,
            OrcRegister.BpIndirect => 8,
            OrcRegister.SpIndirect => 9,
            _ => 0,
        };
}
