using System.Collections.Concurrent;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;

namespace Panacea.Kernel.Image;

/// <summary>Answers the code and unwind rooms' questions from a repair image: where functions are, what is text, which calls do not come back.</summary>
/// <remarks>Says the same for ever; safe for concurrent use.</remarks>
public sealed class CodeMap : IFunctionLookup, ITextMap, IControlFlowHints
{
    /// <summary>Return addresses that stand for others: kernel/trace/fgraph.c, arch/x86/kernel/rethook.c, kprobes before 5.18 (commit f3a112c0c40d, "x86,rethook,kprobes: Replace kretprobe with rethook on x86").</summary>
    private static readonly string[] Trampolines = ["return_to_handler", "arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline"];

    private readonly RepairImage _image;
    private readonly HashSet<ulong> _noReturn = [];
    private readonly List<(ulong Start, ulong End, string Name)> _trampolines = [];

    /// <summary>Whole functions that were asked for, by their first address, and how many are kept.</summary>
    private readonly ConcurrentDictionary<ulong, FunctionParts?> _functions = [];
    private const int MaxFunctions = 8192;

    /// <summary>A map over one image.</summary>
    public CodeMap(RepairImage image)
    {
        _image = image;
        foreach (string name in ControlFlowTable.NoReturnNames)
        {
            if (image.TryFindSymbol(name, out ulong address))
                _noReturn.Add(address);
        }

        foreach (string name in Trampolines)
        {
            if (image.TryFindSymbol(name, out ulong address) && image.Symbolize(address) is { } location)
                _trampolines.Add((address, address + location.Size, name));
        }
    }

    /// <inheritdoc/>
    public bool IsText(ulong address) => _image.IsText(address);

    /// <inheritdoc/>
    public string? TrampolineName(ulong address)
    {
        foreach ((ulong start, ulong end, string name) in _trampolines)
        {
            if (address >= start && address < end)
                return name;
        }

        return null;
    }

    /// <inheritdoc/>
    public bool IsNoReturn(ulong target) => _noReturn.Contains(target);

    /// <inheritdoc/>
    public bool ContinuesAfterTrap(ulong instruction) => _image.ControlFlowAt(instruction)?.ContinuesAfterTrap(instruction) ?? false;

    /// <inheritdoc/>
    public IReadOnlyList<ulong> ExtraTargets(ulong instruction) => _image.ControlFlowAt(instruction)?.ExtraTargets(instruction) ?? [];

    /// <inheritdoc/>
    /// <remarks>GCC names what it moves away <c>name.cold</c>. Where a name stands for more than one function (static ones of one name), which cold part belongs to which can't be told:
    /// a cold address is then not found, and a main part is given without it.</remarks>
    public bool TryFindFunction(ulong address, out FunctionParts function)
    {
        function = default;
        if (!_image.TryFindFunction(address, out FunctionRange range))
            return false;
        if (!_functions.TryGetValue(range.Start, out FunctionParts? known))
        {
            known = TryAssemble(range, out FunctionParts found) ? found : null;
            if (_functions.Count < MaxFunctions)
                _functions[range.Start] = known;
        }

        function = known.GetValueOrDefault();
        return known is not null;
    }

    private bool TryAssemble(in FunctionRange range, out FunctionParts function)
    {
        function = default;
        const string Cold = ".cold";
        bool isCold = range.Name.EndsWith(Cold, StringComparison.Ordinal);
        string mainName = isCold ? range.Name[..^Cold.Length] : range.Name;
        bool hasMain = TryUnique(mainName, out FunctionRange main), hasCold = TryUnique(mainName + Cold, out FunctionRange cold);
        if (isCold)
        {
            if (!hasMain || !hasCold)
                return false;
            function = new FunctionParts(main, [cold]);
            return true;
        }

        function = hasMain && hasCold ? new FunctionParts(range, [cold]) : new FunctionParts(range);
        return true;
    }

    private bool TryUnique(string name, out FunctionRange range)
    {
        range = default;
        // A variable may have the same name (kernel/hung_task.c: watchdog; kernel/watchdog.c).
        ulong[] all = [.. _image.FindAll(name).Select(s => s.Address).Where(_image.IsText)];
        return all.Length == 1 && _image.TryFindFunction(all[0], out range);
    }
}
