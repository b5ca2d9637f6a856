using Panacea.TestKit.Formats;

namespace Panacea.TestKit.Linux;

/// <summary>A C type of a synthetic kernel.</summary>
/// <param name="Id">BTF id.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Align">Alignment.</param>
/// <param name="Struct">Name of the struct, where it is one.</param>
/// <param name="Bits">Width of a bit-field, 0 for none.</param>
public readonly record struct CType(uint Id, int Size, int Align, string? Struct = null, int Bits = 0);

/// <summary>Structs laid out as a C compiler would, written down twice: as BTF for the product, and as offsets for the builder that fills them.</summary>
public sealed class SyntheticTypes
{
    private readonly SyntheticBtf _btf = new();
    private readonly Dictionary<string, Layout> _structs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, CType> _known = new(StringComparer.Ordinal);

    /// <summary>The integer types.</summary>
    public SyntheticTypes()
    {
        U8 = new CType(_btf.Int("unsigned char", 1), 1, 1);
        U16 = new CType(_btf.Int("unsigned short", 2), 2, 2);
        U32 = new CType(_btf.Int("unsigned int", 4), 4, 4);
        U64 = new CType(_btf.Int("long unsigned int", 8), 8, 8);
        S32 = new CType(_btf.Int("int", 4, encoding: 1), 4, 4);
        S64 = new CType(_btf.Int("long int", 8, encoding: 1), 8, 8);
        Char = new CType(_btf.Int("char", 1, encoding: 3), 1, 1);
        Bool = new CType(_btf.Int("_Bool", 1, encoding: 4), 1, 1);
        Pointer = new CType(_btf.Ptr(0), 8, 8);
    }

    private sealed record Layout(int Size, Dictionary<string, (int Offset, int Shift, CType Type)> Members);

#pragma warning disable CS1591 // What they are is in their names.
    public CType U8 { get; }

    public CType U16 { get; }

    public CType U32 { get; }

    public CType U64 { get; }

    public CType S32 { get; }

    public CType S64 { get; }

    public CType Char { get; }

    public CType Bool { get; }

    public CType Pointer { get; }
#pragma warning restore CS1591

    /// <summary>An array.</summary>
    public CType Array(CType of, int count) => new(_btf.Array(of.Id, U32.Id, (uint)count), of.Size * count, of.Align);

    /// <summary>A struct with natural alignment; adjacent bit-fields share their byte.</summary>
    public CType Struct(string name, params (string Name, CType Type)[] members)
    {
        var placed = new Dictionary<string, (int, int, CType)>(StringComparer.Ordinal);
        var btf = new List<SyntheticMember>();
        int bit = 0, align = 1;
        foreach ((string member, CType type) in members)
        {
            if (type.Bits == 0)
                bit = (bit + (type.Align * 8) - 1) / (type.Align * 8) * (type.Align * 8);
            placed.Add(member, (bit / 8, bit % 8, type));
            btf.Add(new SyntheticMember(member, type.Id, (uint)bit, type.Bits));
            bit += type.Bits == 0 ? type.Size * 8 : type.Bits;
            align = Math.Max(align, type.Align);
        }

        int size = ((bit + 7) / 8 + align - 1) / align * align;
        _structs[name] = new Layout(size, placed);
        return _known[name] = new CType(_btf.Struct(name, size, [.. btf]), size, align, name);
    }

    /// <summary>A struct made before.</summary>
    public CType Known(string name) => _known[name];

    /// <summary>A per-CPU variable.</summary>
    public void Variable(string name, CType type) => _btf.Var(name, type.Id, 1);

    /// <summary>A struct whose members lie where they are put, over each other too: a union, or a struct of which only some members matter.</summary>
    public CType Overlay(string name, int size, params (string Name, CType Type, int Offset)[] members)
    {
        _structs[name] = new Layout(size, members.ToDictionary(m => m.Name, m => (m.Offset, 0, m.Type), StringComparer.Ordinal));
        return _known[name] = new CType(_btf.Struct(name, size, [.. members.Select(m => new SyntheticMember(m.Name, m.Type.Id, (uint)m.Offset * 8, m.Type.Bits))]), size, 8, name);
    }

    /// <summary>A typedef of a struct, under its own name.</summary>
    public void Typedef(string name, CType of)
    {
        _btf.Typedef(name, of.Id);
        _structs[name] = _structs[of.Struct!];
    }

    /// <summary>An enum.</summary>
    public void Enum(string name, params (string Name, int Value)[] values) => _btf.Enum(name, false, values);

    /// <summary>A function's prototype; null returns void.</summary>
    public void Function(string name, CType? returns, params (string Name, CType Type)[] parameters) => _btf.Func(name, _btf.FuncProto(returns?.Id ?? 0, [.. parameters.Select(p => (p.Name, p.Type.Id))]));

    /// <summary>Bytes of a struct.</summary>
    public int SizeOf(string name) => _structs[name].Size;

    /// <summary>Where <c>type.member[.member]</c> lies.</summary>
    public (int Offset, int Shift, CType Type) Member(string path)
    {
        string[] parts = path.Split('.');
        string inside = parts[0];
        (int Offset, int Shift, CType Type) found = default;
        int from = 0;
        foreach (string part in parts[1..])
        {
            found = _structs[inside].Members[part];
            from += found.Offset;
            inside = found.Type.Struct ?? "";
        }

        return (from, found.Shift, found.Type);
    }

    /// <summary>Byte offset of a member.</summary>
    public ulong Offset(string path) => (ulong)Member(path).Offset;

    /// <summary>The BTF blob.</summary>
    public byte[] Build() => _btf.Build();
}
