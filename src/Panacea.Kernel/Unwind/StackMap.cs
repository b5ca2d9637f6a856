using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>Which of the kernel's stacks (arch/x86/include/asm/stacktrace.h, enum stack_type).</summary>
public enum StackKind
{
    /// <summary>None that is known.</summary>
    Unknown,
    /// <summary>A task's own (task_struct.stack).</summary>
    Task,
    /// <summary>A CPU's interrupt stack: hard interrupts, and softirqs served on their way out.</summary>
    Irq,
    /// <summary>A CPU's entry trampoline stack (struct entry_stack).</summary>
    Entry,
    /// <summary>Double fault.</summary>
    DoubleFault,
    /// <summary>Non-maskable interrupt.</summary>
    Nmi,
    /// <summary>Debug exception.</summary>
    Debug,
    /// <summary>Machine check.</summary>
    MachineCheck,
    /// <summary>SEV-ES #VC.</summary>
    Vc,
}

/// <summary>A stack: [Start, End).</summary>
/// <param name="Start">Lowest address.</param>
/// <param name="End">First address above it.</param>
/// <param name="Kind">Which.</param>
/// <param name="Cpu">The CPU it belongs to; -1 for a task's.</param>
public readonly record struct StackBounds(ulong Start, ulong End, StackKind Kind, int Cpu = -1)
{
    /// <summary>True where all of [address, address + bytes) lies inside.</summary>
    public bool Contains(ulong address, ulong bytes) => address >= Start && address <= End && bytes <= End - address;
}

/// <summary>Tells stacks from other memory. Answered by whoever knows tasks and per-CPU data.</summary>
public interface IStackMap
{
    /// <summary>The stack that <paramref name="address"/> lies on.</summary>
    bool TryFind(ulong address, out StackBounds stack);
}

/// <summary>A handful of stacks, searched in order.</summary>
/// <param name="stacks">As a rule the current task's and those of the CPU that died.</param>
public sealed class StackMap(IReadOnlyList<StackBounds> stacks) : IStackMap
{
    /// <inheritdoc/>
    public bool TryFind(ulong address, out StackBounds stack)
    {
        foreach (StackBounds candidate in stacks)
        {
            stack = candidate;
            if (candidate.Contains(address, 1))
                return true;
        }

        stack = default;
        return false;
    }
}

/// <summary>Reads stacks of a guest, and nothing but stacks: a corrupted pointer must not lead elsewhere.</summary>
/// <param name="space">The kernel's address space; a capture of it caches.</param>
/// <param name="stacks">The stacks.</param>
public sealed class GuestStack(AddressSpace space, IStackMap stacks) : IStackReader
{
    /// <inheritdoc/>
    public bool TryReadUInt64(ulong address, out ulong value)
    {
        value = 0;
        return stacks.TryFind(address, out StackBounds stack) && stack.Contains(address, 8)
            && space.TryReadUInt64(new VirtualAddress(address), out value, out _);
    }
}

/// <summary>Tells text from other addresses. Answered by whoever holds the symbols and the module map.</summary>
public interface ITextMap
{
    /// <summary>True where <paramref name="address"/> lies in text of the kernel or of a loaded module.</summary>
    bool IsText(ulong address);

    /// <summary>The name of the tracer's trampoline that <paramref name="address"/> lies in (return_to_handler, arch_rethook_trampoline,
    /// a dynamically allocated ftrace trampoline), or null. Such a return address stands for another one that the tracer keeps elsewhere.</summary>
    string? TrampolineName(ulong address);
}
