using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Panacea.Formats.Btf;
using Panacea.Kernel.Subsystems;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Spells structures in memory out member by member, by BTF. Types are the guest's: depth and number of rows are bounded.</summary>
/// <param name="explainer">Says what pointers lead to; null for types alone.</param>
internal sealed class StructPrinter(AddressExplainer? explainer)
{
    private const int MaxRows = 8192, MaxDepth = 16;

    /// <summary>Members looked at: anonymous ones make no row, and can be made to contain themselves.</summary>
    private const int MaxSteps = 1 << 17;

    /// <summary>Elements of an array that are spelled out one by one.</summary>
    private const int MaxElements = 8;

    private readonly List<MemberRow> _rows = [];
    private int _nested, _steps;

    /// <summary>What was added, in order.</summary>
    public IReadOnlyList<MemberRow> Rows => _rows;

    /// <summary>What a word is, where that is worth a word: not of numbers.</summary>
    public static string? Explain(AddressExplainer explainer, ulong value) => explainer.Explain(value) is var told
        && told.Meaning is AddressMeaning.Null or AddressMeaning.ErrorPointer or AddressMeaning.User or AddressMeaning.NonCanonical ? null : told.Text;

    /// <summary>Adds an object: the members of a structure, or one row for anything else.</summary>
    /// <param name="type">Its type.</param>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="offset">Offset of its first byte, for the rows.</param>
    /// <param name="name">Its name; where it is empty, members of a structure are at depth 0.</param>
    public void Add(BtfType type, ReadOnlyMemory<byte> bytes, long offset, string name)
    {
        if (name.Length == 0 && type.Data.TryResolve(type.Id, out BtfType real) && real.IsComposite)
            AddMembers(real, bytes, 0, offset, 0);
        else
            AddOne(type, name, bytes, 0, offset, 0);
    }

    private void AddMembers(BtfType type, ReadOnlyMemory<byte> bytes, int start, long offset, int depth)
    {
        for (int i = 0; i < type.Length && _rows.Count < MaxRows && _steps++ < MaxSteps; i++)
        {
            BtfMember member = type.Member(i);
            if (!member.Data.TryGetType(member.TypeId, out BtfType inner))
                continue;
            long bits = ((long)start * 8) + member.BitOffset;
            int at = (int)Math.Min(bits / 8, int.MaxValue);
            int width = member.BitfieldBits;
            if (width == 0 && member.Data.TryResolve(member.TypeId, out BtfType old) && old.Kind == BtfKind.Int && (uint)old.IntBits < 8 * old.Size)
                (width, bits) = (old.IntBits, bits + old.IntBitOffset);
            if (width != 0)
                AddBitfield(inner, member.Name, bytes.Span, bits, width, offset, depth);
            else
                AddOne(inner, member.Name, bytes, at, offset, depth);
        }

        if (_rows.Count == MaxRows)
            _rows.Add(new MemberRow(depth, offset, "…", "", "more members than are shown", null));
    }

    private void AddBitfield(BtfType type, string name, ReadOnlySpan<byte> bytes, long bits, int width, long offset, int depth)
    {
        int at = (int)(bits / 8), shift = (int)(bits % 8), take = (shift + width + 7) / 8;
        string text = "out of bounds";
        if (width <= 64 && take <= bytes.Length && at <= bytes.Length - take)
        {
            Span<byte> raw = stackalloc byte[16];
            raw.Clear();
            bytes.Slice(at, take).CopyTo(raw);
            ulong value = (ulong)((BinaryPrimitives.ReadUInt128LittleEndian(raw) >> shift) & ((UInt128.One << width) - 1));
            text = type.Data.TryResolve(type.Id, out BtfType real) ? Number(real, value, width) : value.ToString(CultureInfo.InvariantCulture);
        }

        _rows.Add(new MemberRow(depth, offset + at, $"{name}:{width}", BtfFormatter.TypeName(type), text, null));
    }

    private void AddOne(BtfType type, string name, ReadOnlyMemory<byte> bytes, int at, long offset, int depth)
    {
        string typeName = BtfFormatter.TypeName(type);
        if (!type.Data.TryResolve(type.Id, out BtfType real) || !real.Data.TrySizeOf(real.Id, out int size) || at > bytes.Length || size > bytes.Length - at)
        {
            _rows.Add(new MemberRow(depth, offset + at, name, typeName, "no size", null));
            return;
        }

        ReadOnlySpan<byte> own = bytes.Span.Slice(at, size);
        if (real.IsComposite && _nested < MaxDepth)
        {
            // Anonymous members are the outer structure's own.
            if (name.Length > 0)
                _rows.Add(new MemberRow(depth, offset + at, name, typeName, null, null));
            _nested++;
            AddMembers(real, bytes, at, offset, name.Length > 0 ? depth + 1 : depth);
            _nested--;
        }
        else if (real.Kind == BtfKind.Array)
        {
            AddArray(real, typeName, name, bytes, at, size, offset, depth);
        }
        else
        {
            ulong value = Word(own);
            _rows.Add(new MemberRow(
                depth, offset + at, name, typeName, real.Kind == BtfKind.Ptr ? (value == 0 ? "NULL" : $"0x{value:x}") : Number(real, value, size * 8),
                real.Kind == BtfKind.Ptr && explainer is not null ? Explain(explainer, value) : null));
        }
    }

    private void AddArray(BtfType array, string typeName, string name, ReadOnlyMemory<byte> bytes, int at, int size, long offset, int depth)
    {
        ReadOnlySpan<byte> own = bytes.Span.Slice(at, size);
        if (!array.Data.TryGetType(array.TargetId, out BtfType element) || !array.Data.TryResolve(array.TargetId, out BtfType real)
            || !real.Data.TrySizeOf(real.Id, out int each) || each == 0 || size == 0 || _nested >= MaxDepth)
        {
            _rows.Add(new MemberRow(depth, offset + at, name, typeName, size == 0 ? "empty" : "no size", null));
            return;
        }

        // Characters, however signed: char's encoding is CHAR in few compilers.
        if (real.Kind == BtfKind.Int && each == 1 && real.Name is "char")
        {
            int nul = own.IndexOf((byte)0);
            _rows.Add(new MemberRow(depth, offset + at, name, typeName, $"\"{Encoding.UTF8.GetString(nul < 0 ? own : own[..nul])}\"", null));
            return;
        }

        if (own.IndexOfAnyExcept((byte)0) < 0)
        {
            _rows.Add(new MemberRow(depth, offset + at, name, typeName, "all 0", null));
            return;
        }

        int count = size / each, shown = Math.Min(count, MaxElements);
        if (real.Kind is BtfKind.Int or BtfKind.Enum or BtfKind.Enum64)
        {
            var list = new StringBuilder("{");
            for (int i = 0; i < shown; i++)
                list.Append(i == 0 ? "" : ", ").Append(Number(real, Word(own.Slice(i * each, each)), each * 8));
            _rows.Add(new MemberRow(depth, offset + at, name, typeName, list.Append(shown < count ? ", …}" : "}").ToString(), null));
            return;
        }

        _rows.Add(new MemberRow(depth, offset + at, name, typeName, null, null));
        _nested++;
        for (int i = 0; i < shown && _rows.Count < MaxRows; i++)
            AddOne(element, $"[{i}]", bytes, at + (i * each), offset, depth + 1);
        _nested--;
        if (shown < count)
            _rows.Add(new MemberRow(depth + 1, offset + at + ((long)shown * each), "…", "", $"{count - shown} more", null));
    }

    private static ulong Word(ReadOnlySpan<byte> own)
    {
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        own[..Math.Min(8, own.Length)].CopyTo(raw);
        return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }

    /// <summary>As C would print it: enumerators by name, booleans by word, large unsigned numbers in hexadecimal too.</summary>
    private static string Number(BtfType type, ulong value, int bits)
    {
        long signed = bits is > 0 and < 64 ? unchecked((long)(value << (64 - bits)) >> (64 - bits)) : unchecked((long)value);
        if (type.Kind is BtfKind.Enum or BtfKind.Enum64)
        {
            for (int i = 0; i < type.Length; i++)
            {
                BtfEnumerator e = type.Enumerator(i);
                if (e.Value == signed || unchecked((ulong)e.Value) == value)
                    return $"{e.Name} ({e.Value})";
            }

            return signed.ToString(CultureInfo.InvariantCulture);
        }

        if (type.IntEncoding.HasFlag(BtfIntEncoding.Bool))
            return value switch { 0 => "false", 1 => "true", _ => $"{value} (no boolean)" };
        if (type.Kind != BtfKind.Int)
            return $"0x{value:x}";
        if (type.IntEncoding.HasFlag(BtfIntEncoding.Signed))
            return signed.ToString(CultureInfo.InvariantCulture);
        return value > ushort.MaxValue ? string.Create(CultureInfo.InvariantCulture, $"{value} (0x{value:x})") : value.ToString(CultureInfo.InvariantCulture);
    }
}
