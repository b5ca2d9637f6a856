using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>A guest's memory for somebody who reads it beside the session: it can be taken away at any time, before the mapping under it goes. Every read ends within microseconds, so taking it
/// away does too; after that reads fail.</summary>
/// <param name="memory">The memory.</param>
internal sealed class RevocableMemory(IGuestMemory memory) : IGuestMemory
{
    private readonly Lock _reading = new();
    private bool _isRevoked;

    public IReadOnlyList<PhysicalRange> Ranges => memory.Ranges;

    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        lock (_reading)
        {
            if (!_isRevoked)
                return memory.TryRead(address, destination, out fault);
            fault = new MemoryFault(MemoryFaultKind.NotCaptured, address.Value, IsPhysical: true);
            return false;
        }
    }

    /// <summary>No read is under way any more, and none will be.</summary>
    public void Revoke()
    {
        lock (_reading)
            _isRevoked = true;
    }
}
