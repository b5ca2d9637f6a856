using System.Diagnostics.CodeAnalysis;
using Panacea.Kernel.Subsystems;

namespace Panacea.Kernel.Image;

/// <summary>Whose memory an address lies in. It is asked for every word of a stack and every instruction of a module.</summary>
/// <remarks>Where a guest says that modules share memory, one of them is found.</remarks>
internal sealed class ModuleMap
{
    private readonly ulong[] _starts;
    private readonly (ModuleMemory Memory, ImageModule Module)[] _places;

    public ModuleMap(IReadOnlyList<ImageModule> modules)
    {
        _places = [.. modules.SelectMany(module => module.Memory.Select(memory => (memory, module)))];
        _starts = [.. _places.Select(p => p.Memory.Start)];
        Array.Sort(_starts, _places);
    }

    /// <summary>The module and the run of its memory that hold an address.</summary>
    public bool TryFind(ulong address, [NotNullWhen(true)] out ImageModule? module, out ModuleMemory memory)
    {
        (module, memory) = (null, default);
        int at = Array.BinarySearch(_starts, address);
        if (at < 0)
            at = ~at - 1;
        if (at < 0 || unchecked(address - _places[at].Memory.Start) >= _places[at].Memory.Size)
            return false;
        (memory, module) = _places[at];
        return true;
    }
}
