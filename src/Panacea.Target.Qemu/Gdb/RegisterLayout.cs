namespace Panacea.Target.Qemu.Gdb;

/// <summary>One register of a stub's target description.</summary>
/// <param name="Name">Its name there: rax, eflags, k_gs_base, …</param>
/// <param name="Number">gdb's register number, for <c>P</c>.</param>
/// <param name="Offset">Byte offset in the <c>g</c> packet.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct GdbRegister(string Name, int Number, int Offset, int Size);

/// <summary>The registers of a stub, in the order of its <c>g</c> packet, as its own XML description says (gdb manual, "Target Description Format").</summary>
public sealed class RegisterLayout
{
    private const int MaxRegisters = 4096;
    private readonly Dictionary<string, GdbRegister> _byName = [];

    private RegisterLayout(List<GdbRegister> registers, string architecture)
    {
        Registers = registers;
        Architecture = architecture;
        foreach (GdbRegister register in registers)
            _byName.TryAdd(register.Name, register);
    }

    /// <summary>All registers by number.</summary>
    public IReadOnlyList<GdbRegister> Registers { get; }

    /// <summary>gdb's name of the architecture, e.g. <c>i386:x86-64</c>; empty where not said.</summary>
    public string Architecture { get; }

    /// <summary>Finds a register by name.</summary>
    public bool TryFind(string name, out GdbRegister register) => _byName.TryGetValue(name, out register);

    /// <summary>Finds a register or says which is missing.</summary>
    /// <exception cref="GdbException">The stub has no such register, or one of another size.</exception>
    public GdbRegister Require(string name, int maxSize = 8) =>
        TryFind(name, out GdbRegister register) && register.Size <= maxSize
            ? register
            : throw new GdbException($"the gdb stub describes no register {name}: not an x86-64 guest?", GdbFailure.Refused);

    /// <summary>Reads a description: <paramref name="readAnnex"/> yields the text of <c>target.xml</c> and of every file that it includes.</summary>
    /// <exception cref="GdbException">It is malformed, endless or describes no registers.</exception>
    public static RegisterLayout Read(Func<string, string> readAnnex)
    {
        var found = new List<(string Name, int Number, int Bits)>();
        string architecture = "";
        int files = 0, next = 0;
        Include("target.xml");
        if (found.Count == 0)
            throw new GdbException("the gdb stub describes no registers", GdbFailure.Protocol);
        found.Sort((a, b) => a.Number.CompareTo(b.Number));
        var registers = new List<GdbRegister>(found.Count);
        int offset = 0;
        for (int i = 0; i < found.Count; i++)
        {
            // A gap or a double would make every later offset a guess.
            if (found[i].Number != found[0].Number + i || found[0].Number != 0)
                throw new GdbException($"the gdb stub's register numbers are not consecutive at {found[i].Name}", GdbFailure.Protocol);
            int size = found[i].Bits / 8;
            registers.Add(new GdbRegister(found[i].Name, found[i].Number, offset, size));
            offset += size;
        }

        return new RegisterLayout(registers, architecture);

        void Include(string annex)
        {
            if (++files > 64)
                throw new GdbException("the gdb stub's target description includes too many files", GdbFailure.Protocol);
            string text = readAnnex(annex);
            foreach (XmlTag tag in XmlTag.Scan(text))
            {
                if (tag.Name == "xi:include" && tag.Attribute("href") is { Length: > 0 and < 256 } href)
                {
                    Include(href);
                }
                else if (tag.Name == "architecture")
                {
                    architecture = tag.TextAfter.Trim();
                }
                else if (tag.Name == "reg")
                {
                    if (!int.TryParse(tag.Attribute("bitsize"), out int bits) || bits is <= 0 or > 65536 || bits % 8 != 0 || found.Count == MaxRegisters)
                        throw new GdbException("the gdb stub's target description has a malformed register", GdbFailure.Protocol);
                    if (tag.Attribute("regnum") is { } number && !(int.TryParse(number, out next) && next is >= 0 and < 1 << 20))
                        throw new GdbException("the gdb stub's target description has a malformed register number", GdbFailure.Protocol);
                    found.Add((tag.Attribute("name") ?? "", next++, bits));
                }
            }
        }
    }

    /// <summary>A start tag. An XML parser proper would refuse QEMU's description: its <c>xi:</c> prefix is declared nowhere.</summary>
    private readonly record struct XmlTag(string Name, string Body, string TextAfter)
    {
        public static IEnumerable<XmlTag> Scan(string text)
        {
            int at = 0;
            while ((at = text.IndexOf('<', at)) >= 0)
            {
                if (string.CompareOrdinal(text, at, "<!--", 0, 4) == 0)
                {
                    int close = text.IndexOf("-->", at + 4, StringComparison.Ordinal);
                    if (close < 0)
                        yield break;
                    at = close + 3;
                    continue;
                }

                int end = at + 1;
                char quote = '\0';
                for (; end < text.Length && (quote != '\0' || text[end] != '>'); end++)
                {
                    if (quote != '\0')
                        quote = text[end] == quote ? '\0' : quote;
                    else if (text[end] is '"' or '\'')
                        quote = text[end];
                }

                if (end >= text.Length)
                    yield break;
                string body = text[(at + 1)..end];
                int nameEnd = body.AsSpan().IndexOfAny(" \t\r\n/");
                int nextTag = text.IndexOf('<', end);
                yield return new XmlTag(
                    nameEnd < 0 ? body : body[..nameEnd], nameEnd < 0 ? "" : body[nameEnd..], text[(end + 1)..(nextTag < 0 ? text.Length : nextTag)]);
                at = end + 1;
            }
        }

        public string? Attribute(string name)
        {
            int at = 0;
            while ((at = Body.IndexOf(name, at, StringComparison.Ordinal)) >= 0)
            {
                int after = at + name.Length;
                bool starts = at > 0 && char.IsWhiteSpace(Body[at - 1]);
                while (after < Body.Length && char.IsWhiteSpace(Body[after]))
                    after++;
                if (starts && after < Body.Length && Body[after] == '=')
                {
                    int open = after + 1;
                    while (open < Body.Length && char.IsWhiteSpace(Body[open]))
                        open++;
                    if (open < Body.Length && Body[open] is '"' or '\'')
                    {
                        int close = Body.IndexOf(Body[open], open + 1);
                        return close < 0 ? null : Body[(open + 1)..close];
                    }
                }

                at += name.Length;
            }

            return null;
        }
    }
}
