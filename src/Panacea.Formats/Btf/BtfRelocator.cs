using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Btf;

/// <summary>
/// Rewrites a module's BTF that was built over a distilled base (<c>.BTF.base</c>, Linux 6.11, commit 58e185a0dc35, "libbpf: Add btf__distill_base() creating
/// split BTF with distilled base BTF") so that it stands on the kernel's
/// types: what <c>btf_relocate</c> does when the kernel loads the module. The module BTF in a running guest is rewritten already;
/// this is for the file.
/// </summary>
public static class BtfRelocator
{
    /// <summary>Relocates split BTF from a distilled base to the kernel's.</summary>
    /// <param name="split">The module's <c>.BTF</c>.</param>
    /// <param name="distilled">The module's <c>.BTF.base</c>.</param>
    /// <param name="kernel">The kernel's types.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="relocated">BTF to build on <paramref name="kernel"/>.</param>
    /// <param name="whyNot">The reason, where the result is false: the first base type that has no counterpart of its name, kind and size.</param>
    public static bool TryRelocate(
        ReadOnlyMemory<byte> split, ReadOnlyMemory<byte> distilled, BtfData kernel, FormatLimits limits, out byte[] relocated, out string whyNot)
    {
        relocated = [];
        if (!BtfData.TryBuild(distilled, null, limits, out BtfData baseData, out whyNot)
            || !BtfData.TryBuild(split, baseData, limits, out BtfData module, out whyNot)
            || !TryMap(baseData, module, kernel, out uint[] ids, out whyNot)
            || !BtfLayout.TryRead(split, limits, out BtfLayout layout, out whyNot))
            return false;

        byte[] types = layout.Types.ToArray();
        var strings = new StringMap(baseData, kernel.StringEnd, layout.Strings);
        int at = 0;
        for (uint id = module.StartId; id < module.EndId; id++)
        {
            _ = module.TryReadRecord(at, id, out BtfType type, out int length);
            Rewrite(types.AsSpan(at, length), type, ids, module.StartId, kernel.EndId, strings);
            at += length;
        }

        byte[] text = strings.ToArray();
        relocated = new byte[BtfLayout.HeaderBytes + types.Length + text.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(relocated, BtfLayout.Magic);
        relocated[2] = 1;
        BinaryPrimitives.WriteInt32LittleEndian(relocated.AsSpan(4), BtfLayout.HeaderBytes);
        BinaryPrimitives.WriteInt32LittleEndian(relocated.AsSpan(12), types.Length);
        BinaryPrimitives.WriteInt32LittleEndian(relocated.AsSpan(16), types.Length);
        BinaryPrimitives.WriteInt32LittleEndian(relocated.AsSpan(20), text.Length);
        types.CopyTo(relocated.AsSpan(BtfLayout.HeaderBytes));
        text.CopyTo(relocated.AsSpan(BtfLayout.HeaderBytes + types.Length));
        return true;
    }

    private static bool TryMap(BtfData from, BtfData module, BtfData kernel, out uint[] ids, out string whyNot)
    {
        ids = new uint[from.EndId];
        bool[] embedded = Embedded(from, module);
        for (uint id = 1; id < from.EndId; id++)
        {
            BtfType type = from.GetType(id);
            if (!TryCounterpart(type, embedded[id], kernel, out ids[id]))
            {
                whyNot = $"the kernel has no counterpart of the module's {type.Kind} '{type.Name}'";
                return false;
            }
        }

        whyNot = "";
        return true;
    }

    /// <summary>Base structs that the module holds by value: only of those must the size match (btf_mark_embedded_composite_type_ids).</summary>
    private static bool[] Embedded(BtfData from, BtfData module)
    {
        bool[] embedded = new bool[from.EndId];
        for (uint id = module.StartId; id < module.EndId; id++)
        {
            BtfType type = module.GetType(id);
            if (type.IsComposite)
            {
                for (int i = 0; i < type.Length; i++)
                    Mark(type.Member(i).TypeId);
            }
            else if (type.Kind == BtfKind.Array)
            {
                Mark(type.TargetId);
            }
            else if (type.Kind == BtfKind.Datasec)
            {
                for (int i = 0; i < type.Length; i++)
                    Mark(module.GetType(type.Variable(i).TypeId).TargetId);
            }
        }

        return embedded;

        void Mark(uint id)
        {
            for (int depth = 0; depth < BtfData.MaxDepth && id != 0; depth++)
            {
                BtfType type = module.GetType(id);
                if (type.IsComposite && id < embedded.Length)
                    embedded[id] = true;
                if (!type.IsAlias && type.Kind != BtfKind.Array)
                    return;
                id = type.TargetId;
            }
        }
    }

    private static bool TryCounterpart(BtfType wanted, bool sizeMatters, BtfData kernel, out uint id)
    {
        id = 0;
        foreach (BtfType type in kernel.FindAllOwn(wanted.Data.GetStringBytes(wanted.NameOffset)))
        {
            // As in btf_relocate_map_distilled_base: numbers and enums by size, structs by size where embedded, forward declarations by sort.
            bool fits = wanted.Kind switch
            {
                BtfKind.Int => type.Kind == BtfKind.Int && type.Size == wanted.Size && type.IntEncoding == wanted.IntEncoding,
                BtfKind.Float => type.Kind == BtfKind.Float && type.Size == wanted.Size,
                BtfKind.Enum or BtfKind.Enum64 => type.Kind is BtfKind.Enum or BtfKind.Enum64 && type.Size == wanted.Size,
                BtfKind.Struct or BtfKind.Union => type.Kind == wanted.Kind && (!sizeMatters || type.Size == wanted.Size),
                BtfKind.Fwd => type.Kind == (wanted.KindFlag ? BtfKind.Union : BtfKind.Struct)
                    || (type.Kind == BtfKind.Fwd && type.KindFlag == wanted.KindFlag),
                _ => false,
            };
            if (!fits)
                continue;
            id = type.Id;

            // Of several structs of one name, one of the same size is the better one even where only pointers lead to it.
            if (!type.IsComposite || type.Size == wanted.Size)
                break;
        }

        return id != 0;
    }

    private static void Rewrite(Span<byte> record, BtfType type, uint[] ids, uint start, uint newStart, StringMap strings)
    {
        String(record, strings);
        if (type.TargetId != 0 && type.Kind != BtfKind.Array)
            Id(record[8..]);
        Span<byte> tail = record[BtfType.HeaderBytes..];
        switch (type.Kind)
        {
            case BtfKind.Array:
                Id(tail);
                Id(tail[4..]);
                break;
            case BtfKind.Struct or BtfKind.Union:
                for (int i = 0; i < type.Length; i++)
                {
                    String(tail[(12 * i)..], strings);
                    Id(tail[(12 * i + 4)..]);
                }

                break;
            case BtfKind.FuncProto:
                for (int i = 0; i < type.Length; i++)
                {
                    String(tail[(8 * i)..], strings);
                    Id(tail[(8 * i + 4)..]);
                }

                break;
            case BtfKind.Enum or BtfKind.Enum64:
                for (int i = 0; i < type.Length; i++)
                    String(tail[((type.Kind == BtfKind.Enum ? 8 : 12) * i)..], strings);
                break;
            case BtfKind.Datasec:
                for (int i = 0; i < type.Length; i++)
                    Id(tail[(12 * i)..]);
                break;
        }

        void Id(Span<byte> at)
        {
            uint id = BinaryPrimitives.ReadUInt32LittleEndian(at);
            BinaryPrimitives.WriteUInt32LittleEndian(at, id < start ? ids[id] : id - start + newStart);
        }
    }

    private static void String(Span<byte> at, StringMap strings) =>
        BinaryPrimitives.WriteUInt32LittleEndian(at, strings.Map(BinaryPrimitives.ReadUInt32LittleEndian(at)));

    /// <summary>Moves string offsets to behind the kernel's strings; the few that are in the distilled base are appended to the module's own.</summary>
    private sealed class StringMap(BtfData distilled, uint newStart, ReadOnlyMemory<byte> own)
    {
        private readonly Dictionary<uint, uint> _moved = [];
        private readonly List<byte> _added = [];

        public uint Map(uint offset)
        {
            if (offset == 0)
                return 0;
            if (offset >= distilled.StringEnd)
                return offset - distilled.StringEnd + newStart;
            if (!_moved.TryGetValue(offset, out uint moved))
            {
                moved = newStart + (uint)own.Length + (uint)_added.Count;
                _added.AddRange(distilled.GetStringBytes(offset));
                _added.Add(0);
                _moved.Add(offset, moved);
            }

            return moved;
        }

        public byte[] ToArray() => [.. own.Span, .. _added];
    }
}
