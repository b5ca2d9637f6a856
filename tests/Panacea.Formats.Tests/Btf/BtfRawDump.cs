using System.Globalization;
using Panacea.Formats.Btf;

namespace Panacea.Formats.Tests.Btf;

/// <summary>Writes types in the form of <c>bpftool btf dump file F</c>, so that its output can judge ours.</summary>
internal static class BtfRawDump
{
    public static IEnumerable<string> Lines(BtfType type)
    {
        string head = string.Create(CultureInfo.InvariantCulture, $"[{type.Id}] {KindName(type.Kind)} '{(type.Name.Length == 0 ? "(anon)" : type.Name)}'");
        yield return head + type.Kind switch
        {
            BtfKind.Int => $" size={type.Size} bits_offset={type.IntBitOffset} nr_bits={type.IntBits} encoding={Encoding(type.IntEncoding)}",
            BtfKind.Array => $" type_id={type.TargetId} index_type_id={type.IndexTypeId} nr_elems={type.ElementCount}",
            BtfKind.Struct or BtfKind.Union or BtfKind.Datasec => $" size={type.Size} vlen={type.Length}",
            BtfKind.Enum or BtfKind.Enum64 => $" encoding={(type.KindFlag ? "SIGNED" : "UNSIGNED")} size={type.Size} vlen={type.Length}",
            BtfKind.Fwd => $" fwd_kind={(type.KindFlag ? "union" : "struct")}",
            BtfKind.Func => $" type_id={type.TargetId} linkage={Linkage(type.Length)}",
            BtfKind.FuncProto => $" ret_type_id={type.TargetId} vlen={type.Length}",
            BtfKind.Var => $" type_id={type.TargetId}, linkage=",
            BtfKind.Float => $" size={type.Size}",
            BtfKind.DeclTag => $" type_id={type.TargetId} component_idx={type.TaggedIndex}",
            _ => $" type_id={type.TargetId}",
        };
        for (int i = 0; i < type.Length; i++)
        {
            switch (type.Kind)
            {
                case BtfKind.Struct or BtfKind.Union:
                    BtfMember m = type.Member(i);
                    yield return $"\t'{Anonymous(m.Name)}' type_id={m.TypeId} bits_offset={m.BitOffset}" + (m.BitfieldBits == 0 ? "" : $" bitfield_size={m.BitfieldBits}");
                    break;
                case BtfKind.Enum:
                    BtfEnumerator e = type.Enumerator(i);
                    yield return $"\t'{e.Name}' val={e.Value}";
                    break;
                case BtfKind.Enum64:
                    e = type.Enumerator(i);
                    yield return $"\t'{e.Name}' val=" + (e.IsSigned ? $"{e.Value}LL" : $"{unchecked((ulong)e.Value)}ULL");
                    break;
                case BtfKind.FuncProto:
                    yield return $"\t'{Anonymous(type.Parameter(i).Name)}' type_id={type.Parameter(i).TypeId}";
                    break;
                case BtfKind.Datasec:
                    BtfVariable v = type.Variable(i);
                    yield return $"\ttype_id={v.TypeId} offset={v.Offset} size={v.Size} (VAR '{type.Data.GetType(v.TypeId).Name}')";
                    break;
                default:
                    yield break;
            }
        }
    }

    private static string Anonymous(string name) => name.Length == 0 ? "(anon)" : name;

    private static string KindName(BtfKind kind) => kind switch
    {
        BtfKind.FuncProto => "FUNC_PROTO",
        BtfKind.DeclTag => "DECL_TAG",
        BtfKind.TypeTag => "TYPE_TAG",
        _ => kind.ToString().ToUpperInvariant(),
    };

    private static string Encoding(BtfIntEncoding encoding) => encoding == 0 ? "(none)" : encoding.ToString().ToUpperInvariant();

    private static string Linkage(int vlen) => vlen switch { 0 => "static", 1 => "global", 2 => "extern", _ => "?" };
}
