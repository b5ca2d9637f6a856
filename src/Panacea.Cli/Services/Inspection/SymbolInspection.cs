using System.Globalization;
using Panacea.Formats.Btf;
using Panacea.Kernel.Image;
using Panacea.Kernel.Types;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Symbols and types of a kernel.</summary>
internal sealed class SymbolInspection(KernelLook look) : ISymbolInspection
{
    public IReadOnlyList<SymbolRow> Find(string name)
    {
        RepairImage image = look.Image;
        if (name.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            && ulong.TryParse(name.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong address))
        {
            return image.Symbolize(address) is { } hit
                ? [new SymbolRow($"{hit.Name}+0x{hit.Offset:x}", address, checked((long)hit.Size), image.IsText(address) ? "t" : "d", hit.Module)]
                : [];
        }

        return [.. image.FindAll(name).Select(s => new SymbolRow(
            name, s.Address, image.Symbolize(s.Address) is { Offset: 0 } at ? checked((long)at.Size) : 0, s.Type.ToString(), s.Module))];
    }

    public TypeText? FindType(string name) => KernelTypes.Find(look.Image, name) is { } type
        ? new TypeText(BtfFormatter.TypeName(type), type.Data.TrySizeOf(type.Id, out int bytes) ? bytes : 0, BtfFormatter.Format(type, withOffsets: true))
        : null;

    public IReadOnlyList<string> Names()
    {
        IEnumerable<string?> owners = [null, .. look.Image.Meta.Modules.Select(m => m.Name)];
        return Sorted(owners.SelectMany(look.Image.EnumerateSymbols).Select(s => s.Name));
    }

    public IReadOnlyList<string> TypeNames() => Sorted(KernelTypes.Catalogs(look.Image).SelectMany(NamesIn));

    private static IEnumerable<string> NamesIn(TypeCatalog catalog)
    {
        BtfData btf = catalog.Btf!;
        for (uint id = Math.Max(1, btf.StartId); id < btf.EndId; id++)
        {
            if (btf.TryGetType(id, out BtfType type) && type.NameOffset != 0 && type.Kind is BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Typedef)
                yield return type.Name;
        }
    }

    private static string[] Sorted(IEnumerable<string> names)
    {
        string[] all = [.. names.Distinct(StringComparer.Ordinal)];
        Array.Sort(all, StringComparer.Ordinal);
        return all;
    }
}

/// <summary>Types of a kernel and of its modules, by name.</summary>
internal static class KernelTypes
{
    /// <summary>A type, <c>task_struct</c> or with its keyword; the kernel's before those of modules. Null where there is none of that name.</summary>
    /// <exception cref="CliException">The kernel has no type information at all.</exception>
    public static BtfType? Find(RepairImage image, string name)
    {
        string[] words = name.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        BtfKind[] kinds = words is [var keyword, _] ? keyword switch
        {
            "struct" => [BtfKind.Struct],
            "union" => [BtfKind.Union],
            "enum" => [BtfKind.Enum, BtfKind.Enum64],
            _ => [BtfKind.Int],
        }
        : words.Length == 1 ? [BtfKind.Struct, BtfKind.Union, BtfKind.Enum, BtfKind.Enum64, BtfKind.Typedef, BtfKind.Func, BtfKind.Int] : [BtfKind.Int];

        // Of integers, all words are the name: long unsigned int.
        string wanted = kinds is [BtfKind.Int] ? string.Join(' ', words) : words[^1];
        List<TypeCatalog> catalogs = [.. Catalogs(image)];
        if (catalogs.Count == 0)
            throw new CliException(ExitCodes.Target, "this kernel has no type information (CONFIG_DEBUG_INFO_BTF is off)");
        foreach (TypeCatalog types in catalogs)
        {
            foreach (BtfKind kind in kinds)
            {
                if (types.Btf!.TryFind(wanted, kind, out BtfType type))
                    return type;
            }
        }

        return null;
    }

    /// <summary>The kernel's types and those of each module that has any.</summary>
    public static IEnumerable<TypeCatalog> Catalogs(RepairImage image)
    {
        if (image.Types.IsPresent)
            yield return image.Types;
        foreach (ImageModule module in image.Meta.Modules)
        {
            if (image.TryTypesFor(module.Name, out TypeCatalog types))
                yield return types;
        }
    }
}
