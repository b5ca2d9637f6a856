using System.Collections.Concurrent;
using Panacea.Formats;
using Panacea.Formats.Btf;

namespace Panacea.Kernel.Types;

/// <summary>The types of a kernel or of a module, by name: what <see cref="LinuxKernel"/> asks for members. Answers are kept, so that at the crash a member costs one look-up.</summary>
/// <remarks>Safe for concurrent use.</remarks>
public sealed class TypeCatalog
{
    private readonly BtfData? _btf;
    private readonly ConcurrentDictionary<string, MemberInfo?> _members = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _sizes = new(StringComparer.Ordinal);

    private TypeCatalog(BtfData? btf) => _btf = btf;

    /// <summary>Knows nothing.</summary>
    public static TypeCatalog Empty { get; } = new(null);

    /// <summary>There are types.</summary>
    public bool IsPresent => _btf is not null;

    /// <summary>The BTF itself, null where there is none.</summary>
    public BtfData? Btf => _btf;

    /// <summary>Checks a guest's BTF and makes its indexes.</summary>
    /// <param name="blob">BTF bytes.</param>
    /// <param name="baseTypes">The kernel's types, for a module's split BTF.</param>
    /// <param name="typeIndex">Index to store.</param>
    /// <param name="nameIndex">Index to store.</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public static bool TryIndex(
        ReadOnlyMemory<byte> blob, TypeCatalog? baseTypes, out ReadOnlyMemory<byte> typeIndex, out ReadOnlyMemory<byte> nameIndex, out string whyNot)
    {
        bool ok = BtfData.TryBuild(blob, baseTypes?._btf, FormatLimits.Default, out BtfData data, out whyNot);
        if (ok && data.TypeOffsets.IsEmpty)
            (ok, whyNot) = (false, "it holds no types");
        typeIndex = ok ? data.TypeOffsets : default;
        nameIndex = ok ? data.NameIndexBlob : default;
        return ok;
    }

    /// <summary>Takes stored BTF with its indexes; <see cref="Empty"/> where it is absent.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static TypeCatalog Open(ReadOnlyMemory<byte> blob, ReadOnlyMemory<byte> typeIndex, ReadOnlyMemory<byte> nameIndex, TypeCatalog? baseTypes = null)
    {
        if (blob.IsEmpty)
            return Empty;
        string whyNot = "its indexes are missing";
        if (typeIndex.IsEmpty || nameIndex.IsEmpty || !BtfData.TryOpen(blob, typeIndex, nameIndex, baseTypes?._btf, out BtfData data, out whyNot))
            throw new InvalidDataException($"stored BTF can't be used: {whyNot}");
        return new TypeCatalog(data);
    }

    /// <summary>A member by path, <c>type.member[.member]</c>, with the path after the outermost type resolved through anonymous members.</summary>
    public bool TryMember(string path, out MemberInfo member)
    {
        MemberInfo? found = _members.GetOrAdd(path, Find);
        member = found.GetValueOrDefault();
        return found is not null;
    }

    /// <summary>As <see cref="TryMember"/>, or throws <see cref="KernelShapeException"/>.</summary>
    public MemberInfo Member(string path) =>
        TryMember(path, out MemberInfo member) ? member : throw new KernelShapeException($"this kernel's types have no {path}");

    /// <summary>Size of a struct, union or typedef in bytes.</summary>
    public bool TrySizeOf(string type, out int bytes)
    {
        bytes = _sizes.GetOrAdd(type, name => _btf is not null && _btf.TrySizeOf(name, out int size) ? size : -1);
        return bytes >= 0;
    }

    /// <summary>As <see cref="TrySizeOf"/>, or throws <see cref="KernelShapeException"/>.</summary>
    public int SizeOf(string type) => TrySizeOf(type, out int bytes) ? bytes : throw new KernelShapeException($"this kernel's types have no {type}");

    /// <summary>What a function returns, by its BTF prototype.</summary>
    /// <returns>False where there is no prototype of that name.</returns>
    public bool TryReturnType(string function, out ReturnType returns)
    {
        returns = default;
        if (_btf is null || !_btf.TryFindFunction(function, out BtfFunction found))
            return false;
        BtfType declared = found.ReturnType;
        string name = declared.Name;
        if (!_btf.TryResolve(declared, out BtfType type))
            return false;
        if (name.Length == 0)
            name = type.Name;
        returns = type.Kind switch
        {
            BtfKind.Void => new ReturnType(ReturnKind.Void, 0, "void"),
            BtfKind.Ptr => new ReturnType(ReturnKind.Pointer, 8, "a pointer"),
            BtfKind.Int when type.IntEncoding.HasFlag(BtfIntEncoding.Bool) => new ReturnType(ReturnKind.Bool, (int)type.Size, name),
            BtfKind.Int when type.IntEncoding.HasFlag(BtfIntEncoding.Signed) => new ReturnType(ReturnKind.SignedInteger, (int)type.Size, name),
            BtfKind.Int => new ReturnType(ReturnKind.UnsignedInteger, (int)type.Size, name),
            _ => new ReturnType(ReturnKind.Other, 0, name.Length == 0 ? type.Kind.ToString() : name),
        };
        return true;
    }

    /// <summary>Number of a function's parameters, by its BTF prototype; of a variadic one the ellipsis counts as one. Null where there is no prototype of that name.</summary>
    public int? ParameterCount(string function) => _btf is not null && _btf.TryFindFunction(function, out BtfFunction found) ? found.ParameterCount : null;

    private MemberInfo? Find(string path)
    {
        int dot = path.IndexOf('.');
        if (_btf is null || dot < 1 || !_btf.TryFindMember(path[..dot], path[(dot + 1)..], out BtfMemberLocation location))
            return null;
        return location.BitSize > int.MaxValue ? null : new MemberInfo(location.ByteOffset, location.ShiftInByte, (int)location.BitSize);
    }
}
