using Panacea.Kernel.Image;

namespace Panacea.Kernel.Subsystems;

/// <summary>Names of static per-CPU variables by their offset from a CPU's base.</summary>
internal sealed class PerCpuSymbols
{
    private readonly ulong _start, _end;
    private readonly (ulong Offset, string Name)[] _symbols;

    public PerCpuSymbols(RepairImage image)
    {
        // Zero-based and absolute up to 6.14, then ordinary addresses of the image (commit 9d7de2aa8b41): in both, between these two symbols.
        if (!image.TryFindPerCpuSymbol("__per_cpu_start", out _start) || !image.TryFindPerCpuSymbol("__per_cpu_end", out _end) || _end <= _start || _end - _start > 16 << 20)
        {
            _symbols = [];
            return;
        }

        _symbols = [.. image.EnumerateSymbols().Where(s => s.Address >= _start && s.Address < _end && s.Name is not ("__per_cpu_start" or "__per_cpu_end"))
            .Select(s => (s.Address, s.Name)).OrderBy(s => s.Address)];
    }

    /// <summary>The variable at or before an offset, with the distance; null outside the static part.</summary>
    public string? Find(ulong offset)
    {
        if (_symbols.Length == 0 || offset < _start || offset >= _end)
            return null;
        int at = Array.BinarySearch(_symbols, (offset, "\uffff"), Comparer<(ulong Offset, string)>.Create((a, b) => a.Offset.CompareTo(b.Offset)));
        if (at < 0)
            at = ~at - 1;
        return at < 0 ? null : offset == _symbols[at].Offset ? _symbols[at].Name : $"{_symbols[at].Name}+0x{offset - _symbols[at].Offset:x}";
    }
}
