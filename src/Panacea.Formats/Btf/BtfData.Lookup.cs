using System.Text;

namespace Panacea.Formats.Btf;

/// <summary>A member found by path.</summary>
/// <param name="BitOffset">Bits from the start of the outer type.</param>
/// <param name="BitSize">Its bits: of a bitfield its own, else eight times the type's size; 0 for a flexible array or an unsized type.</param>
/// <param name="IsBitfield">It is a bitfield.</param>
/// <param name="Type">Its type as declared, aliases not resolved.</param>
public readonly record struct BtfMemberLocation(ulong BitOffset, ulong BitSize, bool IsBitfield, BtfType Type)
{
    /// <summary>Bytes from the start of the outer type; of a bitfield, to the byte with its lowest bit.</summary>
    public int ByteOffset => (int)(BitOffset / 8);

    /// <summary>Its bytes, rounded up.</summary>
    public int ByteSize => (int)((BitSize + 7) / 8);

    /// <summary>Bits from the lowest bit of the byte at <see cref="ByteOffset"/> to a bitfield's lowest bit (little-endian).</summary>
    public int ShiftInByte => (int)(BitOffset % 8);
}

/// <summary>A function's prototype.</summary>
/// <param name="Function">The FUNC record.</param>
/// <param name="Prototype">Its FUNC_PROTO record: <see cref="BtfType.Parameter"/> by index.</param>
public readonly record struct BtfFunction(BtfType Function, BtfType Prototype)
{
    /// <summary>The return type as declared; void where it returns nothing.</summary>
    public BtfType ReturnType => Prototype.Data.GetType(Prototype.TargetId);

    /// <summary>Number of parameters; of a variadic function the ellipsis counts as one.</summary>
    public int ParameterCount => Prototype.Length;
}

public sealed partial class BtfData
{
    // A struct has thousands of members at most; what needs more steps than this to find one was made to.
    private const int MaxMemberSteps = 1_000_000;
    private const int MaxAnonymousDepth = 16;

    /// <summary>Follows typedefs, qualifiers and tags.</summary>
    /// <returns>False where the chain is longer than <see cref="MaxDepth"/> (cyclic) or ends nowhere.</returns>
    public bool TryResolve(uint id, out BtfType type)
    {
        for (int depth = 0; depth < MaxDepth; depth++)
        {
            if (!TryGetType(id, out type))
                return false;
            if (!type.IsAlias)
                return true;
            id = type.TargetId;
        }

        type = default;
        return false;
    }

    /// <inheritdoc cref="TryResolve(uint, out BtfType)"/>
    public bool TryResolve(BtfType from, out BtfType type) => TryResolve(from.Id, out type);

    /// <summary>Size of any type in bytes; a pointer has 8.</summary>
    /// <returns>False for what has no size (void, functions, forward declarations), and for sizes over 2 GiB.</returns>
    public bool TrySizeOf(uint id, out int bytes)
    {
        bytes = 0;
        ulong factor = 1;
        for (int depth = 0; depth < MaxDepth; depth++)
        {
            if (!TryResolve(id, out BtfType type))
                return false;
            switch (type.Kind)
            {
                case BtfKind.Array:
                    factor *= type.ElementCount;
                    if (factor > int.MaxValue)
                        return false;
                    id = type.TargetId;
                    continue;
                case BtfKind.Var:
                    id = type.TargetId;
                    continue;
                case BtfKind.Ptr or BtfKind.Int or BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float or BtfKind.Datasec:
                    ulong all = factor * (type.Kind == BtfKind.Ptr ? 8 : type.Size);
                    bytes = all > int.MaxValue ? 0 : (int)all;
                    return all <= int.MaxValue;
                default:
                    return false;
            }
        }

        return false;
    }

    /// <summary>Size of a struct, union, typedef, enum, int or float by name, in bytes.</summary>
    public bool TrySizeOf(string name, out int bytes)
    {
        bytes = 0;
        byte[] utf8 = Encoding.UTF8.GetBytes(name);
        foreach (BtfKind kind in (ReadOnlySpan<BtfKind>)[BtfKind.Struct, BtfKind.Union, BtfKind.Typedef, BtfKind.Enum, BtfKind.Enum64, BtfKind.Int, BtfKind.Float])
        {
            if (TryFind(utf8, kind, out BtfType type))
                return TrySizeOf(type.Id, out bytes);
        }

        return false;
    }

    /// <summary>Finds a member of a struct, union or typedef of either by name and path.</summary>
    /// <param name="typeName">The type's name without "struct".</param>
    /// <param name="path">Members separated by dots, with array indexes: <c>thread.sp</c>, <c>mem[3].base</c>. Anonymous structs and unions are looked into.</param>
    /// <param name="member">The member.</param>
    /// <returns>False where no type of the name has such a member. Of several types of one name, the first that has it.</returns>
    public bool TryFindMember(string typeName, string path, out BtfMemberLocation member)
    {
        byte[] name = Encoding.UTF8.GetBytes(typeName);
        int steps = MaxMemberSteps;
        for (BtfData? data = this; data is not null; data = data.Base)
        {
            foreach (BtfType type in data.FindAllOwn(name))
            {
                if ((type.IsComposite || type.Kind == BtfKind.Typedef) && data.TryFindMember(type.Id, path, ref steps, out member))
                    return true;
            }
        }

        member = default;
        return false;
    }

    /// <summary>As <see cref="TryFindMember(string, string, out BtfMemberLocation)"/>, in the type with an id.</summary>
    public bool TryFindMember(uint typeId, string path, out BtfMemberLocation member)
    {
        int steps = MaxMemberSteps;
        return TryFindMember(typeId, path, ref steps, out member);
    }

    private bool TryFindMember(uint typeId, string path, ref int steps, out BtfMemberLocation member)
    {
        member = default;
        if (--steps < 0 || !TryGetType(typeId, out BtfType at))
            return false;
        ulong bits = 0;
        bool found = false;
        foreach (Range range in path.AsSpan().Split('.'))
        {
            ReadOnlySpan<char> part = path.AsSpan(range);
            int bracket = part.IndexOf('[');
            ReadOnlySpan<char> subscripts = bracket < 0 ? default : part[bracket..];
            byte[] name = Encoding.UTF8.GetBytes(part[..(bracket < 0 ? part.Length : bracket)].ToString());
            if (name.Length == 0 || !TryResolve(at.Id, out BtfType outer)
                || !TryMember(outer, name, MaxAnonymousDepth, ref steps, out ulong inside, out BtfMember raw))
                return false;
            bits += inside;
            if (!TryDescribe(raw, bits, out member))
                return false;
            if (!TrySubscripts(subscripts, ref member))
                return false;
            bits = member.BitOffset;
            at = member.Type;
            found = true;
        }

        return found;
    }

    /// <summary>Finds a function's prototype by the function's name.</summary>
    public bool TryFindFunction(ReadOnlySpan<byte> name, out BtfFunction function)
    {
        function = default;
        if (!TryFind(name, BtfKind.Func, out BtfType record) || !record.Data.TryGetType(record.TargetId, out BtfType prototype)
            || prototype.Kind != BtfKind.FuncProto)
            return false;
        function = new BtfFunction(record, prototype);
        return true;
    }

    /// <inheritdoc cref="TryFindFunction(ReadOnlySpan{byte}, out BtfFunction)"/>
    public bool TryFindFunction(string name, out BtfFunction function) => TryFindFunction(Encoding.UTF8.GetBytes(name), out function);

    /// <summary>The value of an enumerator, of a named or anonymous enum; the first of that name. A scan over all enums: not for hot paths.</summary>
    public bool TryFindEnumerator(string enumerator, out long value)
    {
        byte[] name = Encoding.UTF8.GetBytes(enumerator);
        for (BtfData? data = this; data is not null; data = data.Base)
        {
            for (uint id = data.StartId; id < data.EndId; id++)
            {
                BtfType type = data.GetType(id);
                if (type.Kind is not (BtfKind.Enum or BtfKind.Enum64))
                    continue;
                for (int i = 0; i < type.Length; i++)
                {
                    BtfEnumerator e = type.Enumerator(i);
                    if (data.StringEquals(e.NameOffset, name))
                    {
                        value = e.Value;
                        return true;
                    }
                }
            }
        }

        value = 0;
        return false;
    }

    private static bool TryMember(BtfType outer, ReadOnlySpan<byte> name, int depth, ref int steps, out ulong bits, out BtfMember found)
    {
        bits = 0;
        found = default;
        if (!outer.IsComposite || depth == 0)
            return false;
        for (int i = 0; i < outer.Length; i++)
        {
            if (--steps < 0)
                return false;
            BtfMember member = outer.Member(i);
            if (member.NameOffset != 0)
            {
                if (!outer.Data.StringEquals(member.NameOffset, name))
                    continue;
                bits = member.BitOffset;
                found = member;
                return true;
            }

            if (outer.Data.TryResolve(member.TypeId, out BtfType inner) && TryMember(inner, name, depth - 1, ref steps, out ulong inside, out found))
            {
                bits = member.BitOffset + inside;
                return true;
            }
        }

        return false;
    }

    private static bool TryDescribe(BtfMember raw, ulong bits, out BtfMemberLocation member)
    {
        member = default;
        if (!raw.Data.TryGetType(raw.TypeId, out BtfType type))
            return false;
        if (raw.BitfieldBits != 0)
            member = new BtfMemberLocation(bits, (ulong)raw.BitfieldBits, true, type);
        else if (raw.Data.TryResolve(raw.TypeId, out BtfType integer) && integer.Kind == BtfKind.Int
            && (integer.IntBitOffset != 0 || (uint)integer.IntBits < 8 * (ulong)integer.Size))
            member = new BtfMemberLocation(bits + (ulong)integer.IntBitOffset, (ulong)integer.IntBits, true, type);
        else
            member = new BtfMemberLocation(bits, raw.Data.TrySizeOf(raw.TypeId, out int bytes) ? 8UL * (ulong)bytes : 0, false, type);
        return member.BitOffset / 8 <= int.MaxValue;
    }

    private static bool TrySubscripts(ReadOnlySpan<char> subscripts, ref BtfMemberLocation member)
    {
        while (!subscripts.IsEmpty)
        {
            int close = subscripts.IndexOf(']');
            BtfData data = member.Type.Data;
            if (subscripts[0] != '[' || close < 0 || !uint.TryParse(subscripts[1..close], out uint index)
                || !data.TryResolve(member.Type.Id, out BtfType array) || array.Kind != BtfKind.Array
                || !data.TryGetType(array.TargetId, out BtfType element) || !data.TrySizeOf(array.TargetId, out int bytes))
                return false;

            // A flexible array has 0 elements and any index; another must hold the element.
            ulong offset = member.BitOffset + 8UL * (ulong)bytes * index;
            if ((array.ElementCount != 0 && index >= array.ElementCount) || offset / 8 > int.MaxValue)
                return false;
            member = new BtfMemberLocation(offset, 8UL * (ulong)bytes, false, element);
            subscripts = subscripts[(close + 1)..];
        }

        return true;
    }
}
