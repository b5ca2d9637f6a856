using Panacea.Repair;

namespace Panacea.Injection;

/// <summary>A place in the kernel's code.</summary>
/// <param name="Function">Symbol of the function.</param>
/// <param name="Module">The module it is of; null for the kernel's own.</param>
/// <param name="Offset">Bytes from the function's first.</param>
public sealed record FaultPlace(string Function, string? Module, long Offset)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Function}{(Offset == 0 ? "" : Offset < 0 ? $"-0x{-Offset:x}" : $"+0x{Offset:x}")}{(Module is null ? "" : $" [{Module}]")}";
}

/// <summary>Bytes of a guest that a fault changes.</summary>
/// <param name="Address">Guest-virtual address, hex.</param>
/// <param name="Before">What was there, hex.</param>
/// <param name="After">What is there then, hex; as long as <paramref name="Before"/>.</param>
/// <param name="What">What the bytes are.</param>
public sealed record FaultChange(string Address, string Before, string After, string What);

/// <summary>A fault as it is on record: all that is needed to say what was done, to do it again, and to take it back.</summary>
public sealed record Fault
{
    /// <summary>Its kind.</summary>
    public required FaultType Type { get; init; }

    /// <summary>The seed it was chosen by. With the kind and the function it gives the same fault in the same kernel.</summary>
    public required ulong Seed { get; init; }

    /// <summary>The instruction or function that is changed; null where no code is.</summary>
    public FaultPlace? Place { get; init; }

    /// <summary>What is done, in a sentence.</summary>
    public required string Explanation { get; init; }

    /// <summary>The code before, in AT&amp;T syntax; null where no code is changed.</summary>
    public string? CodeBefore { get; init; }

    /// <summary>The code after.</summary>
    public string? CodeAfter { get; init; }

    /// <summary>Address of the first instruction that is different, hex: who gets there runs into the fault. Null where no code is changed.</summary>
    public string? Trigger { get; init; }

    /// <summary>Memory that is changed.</summary>
    public IReadOnlyList<FaultChange> Changes { get; init; } = [];

    /// <summary>The register that is changed, as <c>vcpu0.rax</c>; null where none is.</summary>
    public string? Register { get; init; }

    /// <summary>The kernel it was chosen in, of <c>uname -r</c>.</summary>
    public required string Release { get; init; }
}

/// <summary>A fault, and what is to be written for it.</summary>
/// <param name="Fault">For the record.</param>
/// <param name="Writes">Memory.</param>
/// <param name="Registers">Registers.</param>
public sealed record FaultPlan(Fault Fault, IReadOnlyList<PlannedWrite> Writes, IReadOnlyList<PlannedRegister> Registers);
