using Panacea.Target;

namespace Panacea.Kernel.Structures;

/// <summary>As much of a structure as holds together.</summary>
/// <param name="Items">The elements up to the first that could not be reached.</param>
/// <param name="Broken">Why there are no more, a sentence with the address; null where the structure is whole.</param>
/// <typeparam name="T">Element.</typeparam>
public sealed record Walked<T>(IReadOnlyList<T> Items, string? Broken)
{
    /// <summary>Every element is there.</summary>
    public bool IsWhole => Broken is null;
}

/// <summary>What walks have in common.</summary>
public static class Walk
{
    /// <summary>LIST_POISON1 and LIST_POISON2 with x86-64's POISON_POINTER_DELTA (include/linux/poison.h, CONFIG_ILLEGAL_POINTER_VALUE).</summary>
    public const ulong ListPoison1 = 0xdead_0000_0000_0100, ListPoison2 = 0xdead_0000_0000_0122;

    /// <summary>Takes what a walk yields until it ends or breaks: for reports, which say what there is. What must be whole is enumerated without this.</summary>
    public static Walked<T> Collect<T>(IEnumerable<T> walk)
    {
        var items = new List<T>();
        try
        {
            foreach (T item in walk)
                items.Add(item);
            return new Walked<T>(items, null);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return new Walked<T>(items, e.Message);
        }
    }

    /// <summary>The object that a member is embedded in: the kernel's container_of.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="member">Guest-virtual address of the member.</param>
    /// <param name="path">The member, <c>type.member[.member]</c>.</param>
    /// <exception cref="KernelShapeException">BTF has no such member.</exception>
    public static ulong ContainerOf(LinuxKernel kernel, ulong member, string path) => unchecked(member - kernel.Offset(path));

    /// <summary>Refuses links that lead to no element.</summary>
    internal static void CheckLink(ulong link, ulong at, string what)
    {
        if (link == 0)
            throw new StructureException(StructureFault.Null, at, $"{what}: the link at 0x{at:x} is NULL");
        if (link is ListPoison1 or ListPoison2)
            throw new StructureException(StructureFault.Poison, at, $"{what}: the element at 0x{at:x} was removed: its link is poison");
    }

    internal static StructureException NotBack(ulong at, ulong says, ulong before, string what) =>
        new(StructureFault.BackPointer, at, $"{what}: the element at 0x{at:x} points back to 0x{says:x}, not to 0x{before:x}");
}

/// <summary>Bounds a chain and finds that it runs in circles, in constant space (Brent's algorithm).</summary>
/// <param name="what">What is walked, for the message.</param>
/// <param name="max">Elements at most.</param>
internal struct ChainGuard(string what, int max)
{
    private ulong _mark;
    private int _since, _span = 1, _count;

    /// <summary>Counts an element.</summary>
    public void Step(ulong address)
    {
        if (_count > 0 && address == _mark)
            throw new StructureException(StructureFault.Cycle, address, $"{what}: the chain returns to 0x{address:x} and does not end");
        if (++_count > max)
            throw new StructureException(StructureFault.TooLong, address, $"{what}: more than {max} elements");
        if (_count == 1 || ++_since == _span)
        {
            _mark = address;
            _since = 0;
            _span = Math.Min(_span, int.MaxValue / 2) * 2;
        }
    }
}
