using System.Buffers.Binary;
using System.Text;

namespace Panacea.TestKit.Formats;

/// <summary>A member for <see cref="SyntheticBtf"/>.</summary>
/// <param name="Name">Name; empty for an anonymous one.</param>
/// <param name="Type">Type id.</param>
/// <param name="BitOffset">Bits from the start.</param>
/// <param name="Bits">Bitfield size, 0 for none.</param>
public readonly record struct SyntheticMember(string Name, uint Type, uint BitOffset, int Bits = 0);

/// <summary>Writes BTF. Each method adds one type and returns its id.</summary>
public sealed class SyntheticBtf
{
    private readonly List<byte> _types = [];
    private readonly List<byte> _strings = [];
    private readonly Dictionary<string, uint> _known = new(StringComparer.Ordinal);
    private readonly uint _stringStart;
    private uint _next;

    /// <summary>BTF of a kernel, or split BTF where its base's ends are given.</summary>
    /// <param name="firstId">First type id.</param>
    /// <param name="stringStart">First string offset.</param>
    public SyntheticBtf(uint firstId = 1, uint stringStart = 0)
    {
        _next = firstId;
        _stringStart = stringStart;
        if (stringStart == 0)
            _strings.Add(0);
    }

    /// <summary>The id that the next type will have.</summary>
    public uint NextId => _next;

    /// <summary>Length of the strings so far.</summary>
    public uint StringEnd => _stringStart + (uint)_strings.Count;

    /// <summary>INT.</summary>
    public uint Int(string name, int bytes, int encoding = 0, int bits = -1, int bitOffset = 0) =>
        Record(1, name, (uint)bytes, 0, false, (uint)(encoding << 24 | bitOffset << 16 | (bits < 0 ? bytes * 8 : bits)));

    /// <summary>PTR.</summary>
    public uint Ptr(uint to) => Record(2, "", to, 0, false);

    /// <summary>ARRAY.</summary>
    public uint Array(uint of, uint index, uint elements) => Record(3, "", 0, 0, false, of, index, elements);

    /// <summary>STRUCT.</summary>
    public uint Struct(string name, int bytes, params SyntheticMember[] members) => Composite(4, name, bytes, members);

    /// <summary>UNION.</summary>
    public uint Union(string name, int bytes, params SyntheticMember[] members) => Composite(5, name, bytes, members);

    /// <summary>ENUM.</summary>
    public uint Enum(string name, bool signed, params (string Name, int Value)[] values) =>
        Record(6, name, 4, values.Length, signed, [.. values.SelectMany(v => (uint[])[String(v.Name), unchecked((uint)v.Value)])]);

    /// <summary>ENUM64.</summary>
    public uint Enum64(string name, bool signed, params (string Name, ulong Value)[] values) =>
        Record(19, name, 8, values.Length, signed, [.. values.SelectMany(v => (uint[])[String(v.Name), (uint)(v.Value & 0xffff_ffff), (uint)(v.Value >> 32)])]);

    /// <summary>FWD.</summary>
    public uint Fwd(string name, bool union = false) => Record(7, name, 0, 0, union);

    /// <summary>TYPEDEF.</summary>
    public uint Typedef(string name, uint of) => Record(8, name, of, 0, false);

    /// <summary>VOLATILE.</summary>
    public uint Volatile(uint of) => Record(9, "", of, 0, false);

    /// <summary>CONST.</summary>
    public uint Const(uint of) => Record(10, "", of, 0, false);

    /// <summary>RESTRICT.</summary>
    public uint Restrict(uint of) => Record(11, "", of, 0, false);

    /// <summary>FUNC.</summary>
    public uint Func(string name, uint prototype, int linkage = 0) => Record(12, name, prototype, linkage, false);

    /// <summary>FUNC_PROTO.</summary>
    public uint FuncProto(uint returns, params (string Name, uint Type)[] parameters) =>
        Record(13, "", returns, parameters.Length, false, [.. parameters.SelectMany(p => (uint[])[String(p.Name), p.Type])]);

    /// <summary>VAR.</summary>
    public uint Var(string name, uint type, int linkage = 0) => Record(14, name, type, 0, false, (uint)linkage);

    /// <summary>DATASEC.</summary>
    public uint Datasec(string name, int bytes, params (uint Var, uint Offset, uint Size)[] variables) =>
        Record(15, name, (uint)bytes, variables.Length, false, [.. variables.SelectMany(v => (uint[])[v.Var, v.Offset, v.Size])]);

    /// <summary>FLOAT.</summary>
    public uint Float(string name, int bytes) => Record(16, name, (uint)bytes, 0, false);

    /// <summary>DECL_TAG.</summary>
    public uint DeclTag(string tag, uint on, int component = -1) => Record(17, tag, on, 0, false, unchecked((uint)component));

    /// <summary>TYPE_TAG.</summary>
    public uint TypeTag(string tag, uint on) => Record(18, tag, on, 0, false);

    /// <summary>Any record, also an impossible one.</summary>
    public uint Record(int kind, string name, uint sizeOrType, int vlen, bool flag, params uint[] tail)
    {
        Word(String(name));
        Word((uint)kind << 24 | (uint)vlen | (flag ? 0x8000_0000 : 0));
        Word(sizeOrType);
        foreach (uint word in tail)
            Word(word);
        return _next++;
    }

    /// <summary>The blob: header, types, strings.</summary>
    /// <param name="extraHeader">Bytes by which the header is longer than 24, as a newer kernel may make it.</param>
    public byte[] Build(int extraHeader = 0)
    {
        byte[] header = new byte[24 + extraHeader];
        BinaryPrimitives.WriteUInt16LittleEndian(header, 0xeb9f);
        header[2] = 1;
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), header.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), _types.Count);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(16), _types.Count);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(20), _strings.Count);
        return [.. header, .. _types, .. _strings];
    }

    private uint Composite(int kind, string name, int bytes, SyntheticMember[] members)
    {
        bool bitfields = members.Any(m => m.Bits != 0);
        return Record(kind, name, (uint)bytes, members.Length, bitfields,
            [.. members.SelectMany(m => (uint[])[String(m.Name), m.Type, bitfields ? (uint)m.Bits << 24 | m.BitOffset : m.BitOffset])]);
    }

    private uint String(string text)
    {
        if (text.Length == 0)
            return 0;
        if (_known.TryGetValue(text, out uint at))
            return at;
        at = StringEnd;
        _known.Add(text, at);
        _strings.AddRange(Encoding.UTF8.GetBytes(text));
        _strings.Add(0);
        return at;
    }

    private void Word(uint value)
    {
        Span<byte> raw = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(raw, value);
        _types.AddRange(raw);
    }
}
