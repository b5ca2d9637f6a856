using System.Globalization;
using System.Text;

namespace Panacea.Formats.Btf;

/// <summary>Writes one type as C, the way <c>bpftool btf dump … format c</c> does: its body spelled out, the types it uses by name.
/// Type tags, packing and padding are left out.</summary>
public static class BtfFormatter
{
    private const int MaxDepth = 32;
    private const int MaxChars = 1 << 20;

    /// <summary>Formats a type; of a function, its prototype.</summary>
    /// <param name="type">The type.</param>
    /// <param name="withOffsets">Adds each member's byte offset (and bit, for a bitfield) and size as a comment.</param>
    /// <returns>C, without a final newline. What is nested too deeply or too long ends in an ellipsis.</returns>
    /// <exception cref="InvalidDataException">The stored bytes are damaged.</exception>
    public static string Format(BtfType type, bool withOffsets = false)
    {
        var text = new StringBuilder();
        var writer = new Writer(text, withOffsets, new Budget());
        switch (type.Kind)
        {
            case BtfKind.Struct or BtfKind.Union:
                writer.Body(type, 0, 0, 0);
                break;
            case BtfKind.Enum or BtfKind.Enum64:
                writer.EnumBody(type, 0);
                break;
            case BtfKind.Typedef:
                text.Append("typedef ").Append(writer.Declaration(type.Data, type.TargetId, type.Name, 0, 0, 0));
                break;
            case BtfKind.Func:
                text.Append(writer.Declaration(type.Data, type.TargetId, type.Name, 0, 0, 0));
                break;
            case BtfKind.Var:
                text.Append(writer.Declaration(type.Data, type.TargetId, type.Name, 0, 0, 0));
                break;
            default:
                text.Append(writer.Declaration(type.Data, type.Id, "", 0, 0, 0));
                break;
        }

        return text.Append(';').ToString();
    }

    /// <summary>The C name of a type in one line, such as <c>const struct file *</c>; an anonymous struct is <c>struct {…}</c>.</summary>
    public static string TypeName(BtfType type) => new Writer(null, false, new Budget()).Declaration(type.Data, type.Id, "", 0, 0, 0);

    /// <summary>What is left to write, shared by all nested parts: nested anonymous types can be made to grow exponentially.</summary>
    private sealed class Budget
    {
        private int _left = MaxChars;

        public bool Spent => _left <= 0;

        public void Spend(int chars) => _left = Math.Max(0, _left - chars);
    }

    private sealed class Writer(StringBuilder? text, bool withOffsets, Budget budget)
    {

        /// <summary>A declaration of <paramref name="name"/> as the type: C reads from the name outwards, so the name grows while the type is unwrapped.</summary>
        public string Declaration(BtfData data, uint id, string name, int depth, int indent, ulong bits)
        {
            string qualifiers = "";
            for (; ; depth++)
            {
                if (depth > MaxDepth || name.Length > 4096 || budget.Spent)
                    return "… " + name;
                BtfType type = data.GetType(id);
                switch (type.Kind)
                {
                    case BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict:
                        // An array and its element can both be const; C says it once.
                        string qualifier = type.Kind == BtfKind.Const ? "const " : type.Kind == BtfKind.Volatile ? "volatile " : "restrict ";
                        if (!qualifiers.Contains(qualifier, StringComparison.Ordinal))
                            qualifiers += qualifier;
                        break;
                    case BtfKind.TypeTag:
                        break;
                    case BtfKind.Ptr:
                        name = "*" + (qualifiers.Length != 0 || name.StartsWith('(') ? " " : "") + (name.Length == 0 ? qualifiers.TrimEnd() : qualifiers + name);
                        qualifiers = "";
                        break;
                    case BtfKind.Array:
                        name = Group(name) + "[" + type.ElementCount.ToString(CultureInfo.InvariantCulture) + "]";
                        break;
                    case BtfKind.FuncProto:
                        name = Group(name) + "(" + Parameters(type, depth) + ")";
                        qualifiers = "";
                        break;
                    case BtfKind.Func or BtfKind.Var or BtfKind.DeclTag:
                        break;
                    default:
                        string plain = qualifiers + Plain(type, depth, indent, bits);
                        return name.Length == 0 ? plain : plain + " " + name;
                }

                id = type.TargetId;
            }
        }

        public void Body(BtfType type, int depth, int indent, ulong bits)
        {
            text!.Append(Keyword(type)).Append(type.NameOffset == 0 ? "" : " " + type.Name).Append(" {");
            if (type.Length == 0)
            {
                text.Append('}');
                return;
            }

            text.Append('\n');
            for (int i = 0; i < type.Length; i++)
            {
                if (budget.Spent)
                {
                    text.Append('\t', indent + 1).Append("…\n");
                    break;
                }

                BtfMember member = type.Member(i);
                string line = Declaration(member.Data, member.TypeId, member.Name, depth + 1, indent + 1, bits + member.BitOffset);
                string width = member.BitfieldBits == 0 ? "" : ": " + member.BitfieldBits.ToString(CultureInfo.InvariantCulture);
                text.Append('\t', indent + 1).Append(line).Append(width).Append(';');
                if (withOffsets)
                    AppendOffset(member, bits + member.BitOffset);
                text.Append('\n');
                budget.Spend(line.Length + 16);
            }

            text.Append('\t', indent).Append('}');
        }

        public void EnumBody(BtfType type, int indent)
        {
            text!.Append(Keyword(type)).Append(type.NameOffset == 0 ? "" : " " + type.Name).Append(" {\n");
            for (int i = 0; i < type.Length && !budget.Spent; i++)
            {
                BtfEnumerator e = type.Enumerator(i);
                budget.Spend(e.Name.Length + 16);
                text.Append('\t', indent + 1).Append(e.Name).Append(" = ");
                if (e.IsSigned)
                    text.Append(CultureInfo.InvariantCulture, $"{e.Value},\n");
                else
                    text.Append(CultureInfo.InvariantCulture, $"{unchecked((ulong)e.Value)},\n");
            }

            text.Append('\t', indent).Append('}');
        }

        private string Plain(BtfType type, int depth, int indent, ulong bits)
        {
            if (type.IsVoid)
                return "void";
            if (type.Kind is BtfKind.Int or BtfKind.Float or BtfKind.Typedef)
                return type.Name;
            if (type.NameOffset != 0)
                return Keyword(type) + " " + type.Name;
            if (text is null)
                return Keyword(type) + " {…}";

            // An anonymous type has no other place to be spelled out.
            var nested = new StringBuilder();
            var inner = new Writer(nested, withOffsets, budget);
            if (type.Kind is BtfKind.Enum or BtfKind.Enum64)
                inner.EnumBody(type, indent);
            else if (type.Kind is BtfKind.Struct or BtfKind.Union && depth < MaxDepth)
                inner.Body(type, depth, indent, bits);
            else
                return Keyword(type) + " {…}";
            return nested.ToString();
        }

        private string Parameters(BtfType prototype, int depth)
        {
            if (prototype.Length == 0)
                return "void";
            var all = new StringBuilder();
            for (int i = 0; i < prototype.Length && all.Length < 4096; i++)
            {
                BtfParameter parameter = prototype.Parameter(i);
                all.Append(i == 0 ? "" : ", ").Append(parameter is { TypeId: 0, NameOffset: 0 } && i == prototype.Length - 1
                    ? "..." : new Writer(null, false, budget).Declaration(parameter.Data, parameter.TypeId, parameter.Name, depth + 1, 0, 0));
            }

            return all.ToString();
        }

        private void AppendOffset(BtfMember member, ulong bits)
        {
            text!.Append(CultureInfo.InvariantCulture, $" /* {bits / 8}");
            if (member.BitfieldBits != 0)
                text.Append(CultureInfo.InvariantCulture, $":{bits % 8}");
            else if (member.Data.TrySizeOf(member.TypeId, out int bytes))
                text.Append(CultureInfo.InvariantCulture, $" {bytes}");
            text.Append(" */");
        }

        private static string Group(string name) => name.StartsWith('*') ? "(" + name + ")" : name;

        private static string Keyword(BtfType type) => type.Kind switch
        {
            BtfKind.Struct => "struct",
            BtfKind.Union => "union",
            BtfKind.Enum or BtfKind.Enum64 => "enum",
            BtfKind.Fwd => type.KindFlag ? "union" : "struct",
            _ => type.Kind.ToString(),
        };
    }
}
