using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One line of /proc/iomem.</summary>
/// <param name="Start">First guest-physical address.</param>
/// <param name="End">Last guest-physical address.</param>
/// <param name="Depth">0 for what hangs off the root.</param>
/// <param name="Name">Name; empty where it has none.</param>
/// <param name="IsSystemRam">IORESOURCE_SYSTEM_RAM.</param>
public sealed record MemoryResource(PhysicalAddress Start, PhysicalAddress End, int Depth, string Name, bool IsSystemRam);

/// <summary>The physical address map as the kernel keeps it: the tree under <c>iomem_resource</c> (kernel/resource.c).</summary>
public static class PhysicalMemory
{
    /// <summary>Nesting that a tree of resources has at most.</summary>
    private const int MaxDepth = 32;

    /// <summary>IORESOURCE_SYSTEM_RAM is IORESOURCE_MEM with IORESOURCE_SYSRAM (include/linux/ioport.h).</summary>
    private const ulong SystemRam = 0x0100_0200;

    /// <summary>All resources in the order of /proc/iomem.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The tree is deeper or larger than the limits, or the kernel lacks it.</exception>
    public static List<MemoryResource> Resources(LinuxKernel kernel, TargetLimits limits)
    {
        var all = new List<MemoryResource>();
        var path = new Stack<ulong>();
        ulong at = kernel.Read(kernel.Symbol("iomem_resource"), "resource.child");
        while (at != 0 || path.Count > 0)
        {
            if (at == 0)
            {
                at = kernel.Read(path.Pop(), "resource.sibling");
                continue;
            }

            if (all.Count >= limits.MaxChain || path.Count >= MaxDepth)
                throw new KernelShapeException($"the tree of resources has more than {limits.MaxChain} nodes or is more than {MaxDepth} deep");
            all.Add(new MemoryResource(
                new PhysicalAddress(kernel.Read(at, "resource.start")), new PhysicalAddress(kernel.Read(at, "resource.end")), path.Count,
                kernel.ReadString(kernel.Read(at, "resource.name"), "resource.name", 256), (kernel.Read(at, "resource.flags") & SystemRam) == SystemRam));
            path.Push(at);
            at = kernel.Read(at, "resource.child");
        }

        return all;
    }
}
