using Panacea.Kernel.Image;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a 64-bit value is.</summary>
public enum AddressMeaning
{
    /// <summary>NULL, an offset from it, or simply a small number.</summary>
    Null,
    /// <summary>An ERR_PTR, or a small negative number.</summary>
    ErrorPointer,
    /// <summary>A poison value: list poison, slab and page poison, POISON_POINTER_DELTA.</summary>
    Poison,
    /// <summary>Text: all eight bytes are printable.</summary>
    Characters,
    /// <summary>Not canonical.</summary>
    NonCanonical,
    /// <summary>In the user half.</summary>
    User,
    /// <summary>Code or data of the kernel or of a module, by symbol.</summary>
    Symbol,
    /// <summary>A task_struct, or a place in one.</summary>
    Task,
    /// <summary>On a task's stack.</summary>
    TaskStack,
    /// <summary>In the guard page below a task's stack.</summary>
    StackGuard,
    /// <summary>On an IRQ or exception stack of a CPU.</summary>
    CpuStack,
    /// <summary>Per-CPU data.</summary>
    PerCpu,
    /// <summary>An object of a slab cache.</summary>
    SlabObject,
    /// <summary>In a slab, in none of its objects.</summary>
    SlabRest,
    /// <summary>KFENCE's pool of guarded objects.</summary>
    Kfence,
    /// <summary>Memory of the direct map that is no slab.</summary>
    Page,
    /// <summary>Free memory.</summary>
    FreePage,
    /// <summary>A struct page.</summary>
    StructPage,
    /// <summary>A vmalloc, vmap or ioremap area.</summary>
    VmallocArea,
    /// <summary>The guard page behind such an area.</summary>
    VmallocGuard,
    /// <summary>Room of vmalloc where nothing is now.</summary>
    GoneVmalloc,
    /// <summary>Room of modules where none is now.</summary>
    GoneModule,
    /// <summary>Another region of the kernel's address space.</summary>
    Region,
    /// <summary>Nothing is ever there.</summary>
    Nowhere,
}

/// <summary>How sure an explanation is.</summary>
public enum Certainty
{
    /// <summary>The value fits; it may be a coincidence.</summary>
    Possible,
    /// <summary>Another reading is possible but less likely.</summary>
    Likely,
    /// <summary>The kernel's own structures say so.</summary>
    Certain,
}

/// <summary>What a value is, in one line, with what the line was made from.</summary>
/// <param name="Value">The value.</param>
/// <param name="Meaning">What it is.</param>
/// <param name="Region">The region it lies in.</param>
/// <param name="Text">One line for a person; names in it come from the guest.</param>
/// <param name="Certainty">How sure.</param>
public sealed record AddressExplanation(ulong Value, AddressMeaning Meaning, AddressRegion Region, string Text, Certainty Certainty)
{
    /// <summary>The symbol, where it has one.</summary>
    public SymbolLocation? Symbol { get; init; }

    /// <summary>The task, of a task_struct or of a stack.</summary>
    public LinuxTask? Task { get; init; }

    /// <summary>The slab object.</summary>
    public SlabObject? Object { get; init; }

    /// <summary>The page.</summary>
    public PageInfo? Page { get; init; }

    /// <summary>The vmalloc area.</summary>
    public VmallocArea? Area { get; init; }
}
