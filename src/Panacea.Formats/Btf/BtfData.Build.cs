using System.Buffers.Binary;

namespace Panacea.Formats.Btf;

public sealed partial class BtfData
{
    /// <summary>Takes BTF read from a guest: one pass validates every record, reference and string and builds the two indexes.</summary>
    /// <param name="blob">Raw BTF (<c>__start_BTF</c> to <c>__stop_BTF</c>, <c>btf-&gt;data</c>); not copied.</param>
    /// <param name="baseData">The kernel's types where this is a module's, else null.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="data">The types.</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public static bool TryBuild(ReadOnlyMemory<byte> blob, BtfData? baseData, FormatLimits limits, out BtfData data, out string whyNot)
    {
        data = null!;
        if (!BtfLayout.TryRead(blob, limits, out BtfLayout layout, out whyNot))
            return false;
        if (baseData is null && (layout.Strings.Length == 0 || layout.Strings.Span[0] != 0))
        {
            whyNot = "the BTF strings do not begin with the empty one";
            return false;
        }

        int count = 0;
        for (int at = 0; at < layout.Types.Length; count++)
        {
            if (count == limits.MaxBtfTypes)
            {
                whyNot = $"more than {limits.MaxBtfTypes} BTF types";
                return false;
            }

            if (!BtfLayout.TryReadRecord(layout.Types, at, null!, 0, out _, out int length))
            {
                whyNot = $"BTF type record {count} at offset {at} is of an unknown kind or reaches past the types";
                return false;
            }

            at += length;
        }

        byte[] offsets = new byte[4 * count];
        int from = 0;
        for (int i = 0; i < count; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(offsets.AsSpan(4 * i), (uint)from);
            _ = BtfLayout.TryReadRecord(layout.Types, from, null!, 0, out _, out int length);
            from += length;
        }

        var built = new BtfData(layout, baseData, offsets, default);
        var hashes = new List<uint>(count);
        var ids = new List<uint>(count);
        for (uint id = built.StartId; id < built.EndId; id++)
        {
            BtfType type = built.GetType(id);
            if (!built.Check(type, out whyNot))
                return false;
            if (type.NameOffset == 0)
                continue;
            if (!built.TryGetStringBytes(type.NameOffset, out ReadOnlySpan<byte> name))
            {
                whyNot = $"the name of BTF type {id} is longer than {MaxNameBytes} bytes";
                return false;
            }

            hashes.Add(NameIndex.Hash(name));
            ids.Add(id);
        }

        data = new BtfData(layout, baseData, offsets, NameIndex.Build([.. hashes], [.. ids]));
        whyNot = "";
        return true;
    }

    /// <summary>Every id and string offset that a record holds must exist.</summary>
    private bool Check(BtfType type, out string whyNot)
    {
        bool ok = IsString(type.NameOffset) && IsType(type.TargetId) && IsType(type.IndexTypeId);
        for (int i = 0; ok && i < type.Length; i++)
        {
            switch (type.Kind)
            {
                case BtfKind.Struct or BtfKind.Union:
                    BtfMember member = type.Member(i);
                    ok = IsString(member.NameOffset) && IsType(member.TypeId);
                    break;
                case BtfKind.FuncProto:
                    BtfParameter parameter = type.Parameter(i);
                    ok = IsString(parameter.NameOffset) && IsType(parameter.TypeId);
                    break;
                case BtfKind.Enum or BtfKind.Enum64:
                    ok = IsString(type.Enumerator(i).NameOffset);
                    break;
                case BtfKind.Datasec:
                    ok = IsType(type.Variable(i).TypeId);
                    break;
                default:
                    // vlen means nothing to the other kinds (to FUNC it is the linkage).
                    i = type.Length;
                    break;
            }
        }

        whyNot = ok ? "" : $"BTF type {type.Id} refers to a type or a string that does not exist";
        return ok;
    }

    private bool IsType(uint id) => id < EndId;

    private bool IsString(uint offset) => offset == 0 || offset < StringEnd;
}
