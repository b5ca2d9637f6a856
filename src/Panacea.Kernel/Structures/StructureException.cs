namespace Panacea.Kernel.Structures;

/// <summary>What is wrong with a structure of links.</summary>
public enum StructureFault
{
    /// <summary>The chain returns to an element that is not its head.</summary>
    Cycle,

    /// <summary>An element does not point back to where the walk came from.</summary>
    BackPointer,

    /// <summary>More elements than the limits allow.</summary>
    TooLong,

    /// <summary>A link is NULL where none may be.</summary>
    Null,

    /// <summary>A link is the poison that the kernel leaves in removed elements.</summary>
    Poison,

    /// <summary>A number that the structure keeps of itself makes no sense.</summary>
    Shape,
}

/// <summary>A structure of links (a list, a tree, an array) does not hold together. Over a running guest that is as a rule the guest's doing while it was being read: read again; over
/// memory that stands still it is damage.</summary>
/// <param name="fault">What is wrong.</param>
/// <param name="address">Guest-virtual address of the element that shows it.</param>
/// <param name="message">A sentence that names both.</param>
public sealed class StructureException(StructureFault fault, ulong address, string message) : KernelShapeException(message)
{
    /// <summary>What is wrong.</summary>
    public StructureFault Fault { get; } = fault;

    /// <summary>Guest-virtual address of the element that shows it.</summary>
    public ulong Address { get; } = address;
}
