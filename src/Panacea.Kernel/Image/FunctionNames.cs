namespace Panacea.Kernel.Image;

/// <summary>A function that somebody named.</summary>
/// <param name="Name">Its symbol.</param>
/// <param name="Module">The module it is of; null for the kernel's own.</param>
/// <param name="Entry">Guest-virtual address.</param>
public sealed record NamedFunction(string Name, string? Module, ulong Entry);

/// <summary>Finds functions by what people write: <c>name</c>, or <c>module:name</c>.</summary>
public static class FunctionNames
{
    /// <summary>The function of that name.</summary>
    /// <param name="image">The kernel.</param>
    /// <param name="text">What was written.</param>
    /// <param name="function">The function.</param>
    /// <returns>Why there is none, or more than one, and what to write; null where there is one.</returns>
    public static string? Find(RepairImage image, string text, out NamedFunction function)
    {
        (string? asked, string name) = Split(text);
        function = new NamedFunction(name, asked, 0);
        IReadOnlyList<(ulong Address, char Type, string? Module)> all = image.FindAll(name);
        List<(ulong Address, char Type, string? Module)> found = [.. all.Where(s => IsFunction(image, s.Address, s.Type) && (asked is null || s.Module == asked)).DistinctBy(s => s.Address)];
        switch (found.Count)
        {
            case 0:
                return $"there is no function {text} in this guest{(all.Count > 0 && asked is null ? ": it is no code" : "")}";
            case 1:
                function = new NamedFunction(name, found[0].Module, found[0].Address);
                return null;
            default:
                return found.Select(f => f.Module).Distinct().Count() == found.Count
                    ? $"there are {found.Count} functions {name}, in {string.Join(" and ", found.Select(f => f.Module ?? "the kernel"))}: write module:{name}"
                    : $"there are {found.Count} functions {name} in {found[0].Module ?? "the kernel"}: which one is meant can't be told";
        }
    }

    /// <summary>Module and name; null for no module.</summary>
    public static (string? Module, string Name) Split(string text) => text.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon ? (text[..colon], text[(colon + 1)..]) : (null, text);

    /// <summary>Every function of the kernel or of a module, by address; one for each address. Parts that were moved away from their functions and what the kernel patches itself are not among them.</summary>
    /// <param name="image">The kernel.</param>
    /// <param name="module">The module; null for the kernel's own.</param>
    public static IReadOnlyList<NamedFunction> All(RepairImage image, string? module) =>
        [.. image.EnumerateSymbols(module).Where(s => IsFunction(image, s.Address, s.Type) && !IsPart(s.Name)).DistinctBy(s => s.Address).OrderBy(s => s.Address).Select(s => new NamedFunction(s.Name, module, s.Address))];

    /// <summary>Every function, of the kernel and of its modules, whose name begins as a pattern does.</summary>
    /// <param name="image">The kernel.</param>
    /// <param name="pattern">The beginning of the names and <c>*</c>.</param>
    public static IReadOnlyList<NamedFunction> Matching(RepairImage image, string pattern) =>
        [.. ((string?[])[null, .. image.Meta.Modules.Select(m => m.Name)]).SelectMany(module => All(image, module)).Where(f => f.Name.StartsWith(pattern.AsSpan(0, pattern.Length - 1), StringComparison.Ordinal))];

    private static bool IsFunction(RepairImage image, ulong address, char type) => type is 't' or 'T' or 'w' or 'W' && image.IsText(address);

    private static bool IsPart(string name) => name.EndsWith(".cold", StringComparison.Ordinal) || name.StartsWith("__pfx_", StringComparison.Ordinal) || name.StartsWith("__cfi_", StringComparison.Ordinal)
        || name.StartsWith("__SCT__", StringComparison.Ordinal);
}
