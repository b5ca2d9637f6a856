namespace Panacea.Target;

/// <summary>Why an address of a guest could not be read or written.</summary>
public enum MemoryFaultKind
{
    /// <summary>No RAM stands behind the guest-physical address.</summary>
    NotBacked,

    /// <summary>The page tables map nothing there.</summary>
    NotPresent,

    /// <summary>A page-table entry has reserved bits set or a malformed large page.</summary>
    MalformedPageTable,

    /// <summary>The address is not canonical for the paging mode.</summary>
    NonCanonical,

    /// <summary>The guest or its host process is gone.</summary>
    Gone,

    /// <summary>The page was not captured while the guest was stopped, or was left out of the dump.</summary>
    NotCaptured,

    /// <summary>More was asked for than <see cref="TargetLimits"/> allows.</summary>
    BeyondLimit,
}

/// <summary>One failed access: the first address that failed, and why.</summary>
/// <param name="Kind">Why.</param>
/// <param name="Address">The first address that failed.</param>
/// <param name="IsPhysical">True where <paramref name="Address"/> is guest-physical, false where it is guest-virtual.</param>
public readonly record struct MemoryFault(MemoryFaultKind Kind, ulong Address, bool IsPhysical)
{
    /// <inheritdoc/>
    public override string ToString() => $"{(IsPhysical ? "guest-physical" : "guest-virtual")} 0x{Address:x}: {Kind switch
    {
        MemoryFaultKind.NotBacked => "no RAM there",
        MemoryFaultKind.NotPresent => "not mapped",
        MemoryFaultKind.MalformedPageTable => "malformed page table",
        MemoryFaultKind.NonCanonical => "not canonical",
        MemoryFaultKind.Gone => "the guest is gone",
        MemoryFaultKind.NotCaptured => "not captured",
        MemoryFaultKind.BeyondLimit => "larger than the limit",
        _ => Kind.ToString(),
    }}";
}

/// <summary>Guest memory that could not be accessed where the caller had no way to go on.</summary>
public sealed class GuestMemoryException(MemoryFault fault, string what)
    : IOException($"cannot access {what} at {fault}")
{
    /// <summary>The first address that failed, and why.</summary>
    public MemoryFault Fault { get; } = fault;
}

/// <summary>
/// A guest's physical memory, to read. The one way to read a guest: everything above is built on it.
/// Unreadable memory is a typed failure, never a zero.
/// </summary>
public interface IGuestMemory
{
    /// <summary>The guest-physical ranges backed by RAM, ascending and disjoint.</summary>
    IReadOnlyList<PhysicalRange> Ranges { get; }

    /// <summary>Reads exactly <paramref name="destination"/>.Length bytes, or nothing that may be relied on.</summary>
    /// <param name="address">First guest-physical address.</param>
    /// <param name="destination">Receives the bytes; its content is unspecified after a failure.</param>
    /// <param name="fault">The first address that failed, where the result is false.</param>
    /// <returns>True when every byte was read.</returns>
    bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault);
}

/// <summary>What a capture of a guest (a dump) tells beside its memory: all that can be used to find the kernel in it.</summary>
public interface IGuestCapture
{
    /// <summary>Guest-physical memory as it was.</summary>
    IGuestMemory Memory { get; }

    /// <summary>Registers of the CPUs, in the order of the capture; of each, only some may be known (<see cref="VcpuRegisters.Known"/>). Empty where there are none.</summary>
    IReadOnlyList<VcpuRegisters> Vcpus { get; }

    /// <summary>The kernel's VMCOREINFO text; empty where there is none.</summary>
    ReadOnlyMemory<byte> VmcoreInfo { get; }

    /// <summary>Nothing but memory was captured: what else is needed has to be searched in it.</summary>
    bool IsBareMemory { get; }

    /// <summary>What the capture lacks, in sentences; grows as damaged parts are come across.</summary>
    IReadOnlyList<string> Missing { get; }
}
