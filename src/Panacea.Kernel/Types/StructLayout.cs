using Panacea.Formats.Btf;

namespace Panacea.Kernel.Types;

/// <summary>What lies at an offset of a struct: the way back from <see cref="TypeCatalog.Member"/>.</summary>
public static class StructLayout
{
    private const int MaxDepth = 16;

    /// <summary>The member of a struct or union that begins at an offset and is as wide as an access.</summary>
    /// <param name="type">The struct.</param>
    /// <param name="byteOffset">Bytes from its start.</param>
    /// <param name="bytes">Width of the access; 0 where it is not known: then the outermost member that begins there.</param>
    /// <param name="path">The member's path, <c>member[.member]</c>.</param>
    /// <param name="member">Its type.</param>
    /// <returns>False where nothing begins there.</returns>
    /// <remarks>Of a union's members the first that fits is taken; arrays give their element, with the index.</remarks>
    public static bool TryMemberAt(BtfType type, ulong byteOffset, int bytes, out string path, out BtfType member) => TryMemberAt(type, byteOffset, bytes, 0, out path, out member);

    private static bool TryMemberAt(BtfType type, ulong byteOffset, int bytes, int depth, out string path, out BtfType member)
    {
        (path, member) = ("", default);
        if (depth > MaxDepth || !type.IsComposite)
            return false;
        for (int i = 0; i < type.Length; i++)
        {
            BtfMember candidate = type.Member(i);
            ulong start = candidate.BitOffset / 8;
            if (candidate.BitfieldBits != 0 || start > byteOffset || !type.Data.TryResolve(candidate.TypeId, out BtfType its) || !type.Data.TrySizeOf(its.Id, out int size)
                || byteOffset - start >= (ulong)size)
                continue;
            ulong rest = byteOffset - start;
            if (rest == 0 && candidate.Name.Length > 0 && !its.IsComposite && its.Kind != BtfKind.Array && (bytes == 0 || bytes == size))
            {
                (path, member) = (candidate.Name, its);
                return true;
            }

            if (its.Kind == BtfKind.Array && type.Data.TryResolve(its.TargetId, out BtfType element) && type.Data.TrySizeOf(element.Id, out int each) && each > 0)
            {
                ulong index = rest / (ulong)each;
                if (element.IsComposite ? TryMemberAt(element, rest % (ulong)each, bytes, depth + 1, out string inElement, out member) : TryElement(rest % (ulong)each, each, bytes, element, out inElement, out member))
                {
                    path = $"{candidate.Name}[{index}]{(inElement.Length > 0 ? "." : "")}{inElement}";
                    return true;
                }

                continue;
            }

            if (its.IsComposite && TryMemberAt(its, rest, bytes, depth + 1, out string inner, out member))
            {
                path = candidate.Name.Length > 0 ? $"{candidate.Name}.{inner}" : inner;
                return true;
            }
        }

        return false;
    }

    private static bool TryElement(ulong rest, int each, int bytes, BtfType element, out string path, out BtfType member)
    {
        (path, member) = ("", element);
        return rest == 0 && (bytes == 0 || bytes == each);
    }
}
