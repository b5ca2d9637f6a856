using System.Text;
using Panacea.Formats.Btf;

namespace Panacea.Kernel.Types;

/// <summary>Enums of a kernel by name: what a counter's place in an array or a flag's bit means in this very build.</summary>
public static class KernelEnums
{
    /// <summary>A kernel enum has hundreds of values at most (vm_event_item has about a hundred).</summary>
    private const int MaxEnumerators = 4096;

    /// <summary>The values of an enum in the order of its declaration; empty where BTF has no enum of that name.</summary>
    /// <param name="types">The kernel's types.</param>
    /// <param name="name">The enum's tag.</param>
    public static IReadOnlyList<KeyValuePair<string, long>> Enumerators(this TypeCatalog types, string name)
    {
        var found = new List<KeyValuePair<string, long>>();
        if (types.Btf is not { } btf || !TryFind(btf, name, out BtfType type))
            return found;
        for (int i = 0; i < type.Length && i < MaxEnumerators; i++)
        {
            BtfEnumerator value = type.Enumerator(i);
            found.Add(new KeyValuePair<string, long>(value.Name, value.Value));
        }

        return found;
    }

    /// <summary>One value of an enum.</summary>
    /// <returns>False where this kernel has no such enum, or the enum no such name.</returns>
    public static bool TryEnumerator(this TypeCatalog types, string name, string enumerator, out long value)
    {
        value = 0;
        if (types.Btf is not { } btf || !TryFind(btf, name, out BtfType type))
            return false;
        ReadOnlySpan<byte> wanted = Encoding.UTF8.GetBytes(enumerator);
        for (int i = 0; i < type.Length && i < MaxEnumerators; i++)
        {
            BtfEnumerator candidate = type.Enumerator(i);
            if (!type.Data.GetStringBytes(candidate.NameOffset).SequenceEqual(wanted))
                continue;
            value = candidate.Value;
            return true;
        }

        return false;
    }

    private static bool TryFind(BtfData btf, string name, out BtfType type) =>
        btf.TryFind(name, BtfKind.Enum, out type) || btf.TryFind(name, BtfKind.Enum64, out type);
}
