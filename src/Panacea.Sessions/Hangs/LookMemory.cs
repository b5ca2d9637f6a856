using Panacea.Kernel;
using Panacea.Kernel.Memory;
using Panacea.Target;

namespace Panacea.Sessions.Hangs;

/// <summary>Keeps pages of a running guest for the time of one look, above all those by which addresses are translated. Looks come several times a second for as long as a guest is guarded: the room is the same each time.</summary>
/// <param name="pages">Pages of 4 KiB that are kept.</param>
internal sealed class LookMemory(int pages)
{
    private EvidenceMemory? _memory;
    private IGuestMemory? _live;

    /// <summary>The kernel over memory of this moment: what was kept at the look before is gone, and a kernel of that look sees what this one reads.</summary>
    public LinuxKernel Over(LinuxKernel live)
    {
        if (_memory is null || !ReferenceEquals(_live, live.Space.Memory))
            (_live, _memory) = (live.Space.Memory, new EvidenceMemory(live.Space.Memory, pages));
        _memory.Clear();
        return live.Image.KernelOver(_memory);
    }
}
