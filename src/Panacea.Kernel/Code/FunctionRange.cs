using System.Diagnostics.CodeAnalysis;

namespace Panacea.Kernel.Code;

/// <summary>A contiguous run of a function's text: [Start, End).</summary>
/// <param name="Start">Guest-virtual address of the first instruction.</param>
/// <param name="End">First address past it; as a rule the next symbol, so padding may be included.</param>
/// <param name="Name">Symbol name.</param>
public readonly record struct FunctionRange(ulong Start, ulong End, string Name)
{
    /// <summary>Bytes.</summary>
    public ulong Length => End > Start ? End - Start : 0;

    /// <summary>True where <paramref name="address"/> lies inside.</summary>
    public bool Contains(ulong address) => address >= Start && address < End;
}

/// <summary>A whole function: its entry part and the parts that the compiler moved away from it (<c>name.cold</c>).</summary>
/// <param name="Main">The part that begins with the entry point.</param>
/// <param name="Fragments">Parts that are only reached by jumps from the others; empty for most functions.</param>
public readonly record struct FunctionParts(FunctionRange Main, IReadOnlyList<FunctionRange>? Fragments = null)
{
    /// <summary>True where <paramref name="address"/> lies in any part.</summary>
    public bool Contains(ulong address) => TryFindPart(address, out _);

    /// <summary>The part that holds <paramref name="address"/>.</summary>
    public bool TryFindPart(ulong address, out FunctionRange part)
    {
        part = Main;
        if (Main.Contains(address))
            return true;
        if (Fragments is not null)
        {
            foreach (FunctionRange fragment in Fragments)
            {
                part = fragment;
                if (fragment.Contains(address))
                    return true;
            }
        }

        part = default;
        return false;
    }
}

/// <summary>Finds the function an address lies in. Answered by whoever holds the symbols.</summary>
public interface IFunctionLookup
{
    /// <summary>The whole function around <paramref name="address"/>, the parent included where the address lies in a <c>.cold</c> part.</summary>
    /// <returns>False where no symbol covers the address or the parent of a fragment can't be told.</returns>
    bool TryFindFunction(ulong address, out FunctionParts function);
}

/// <summary>What is known about control flow beyond what the instructions themselves say. Every answer may be "nothing known".</summary>
public interface IControlFlowHints
{
    /// <summary>A call of <paramref name="target"/> does not come back (panic, __stack_chk_fail, do_exit …).</summary>
    bool IsNoReturn(ulong target);

    /// <summary>The trap instruction at <paramref name="instruction"/> is a WARN: the kernel goes on behind it (struct bug_entry, BUGFLAG_WARNING).</summary>
    bool ContinuesAfterTrap(ulong instruction);

    /// <summary>Places inside the same function where control may also go from <paramref name="instruction"/>:
    /// a jump label's target (__jump_table), an exception fixup (__ex_table).</summary>
    IReadOnlyList<ulong> ExtraTargets(ulong instruction);
}

/// <summary>Nothing is known.</summary>
public sealed class NoHints : IControlFlowHints
{
    /// <summary>The instance.</summary>
    public static NoHints Instance { get; } = new();

    /// <inheritdoc/>
    public bool IsNoReturn(ulong target) => false;

    /// <inheritdoc/>
    public bool ContinuesAfterTrap(ulong instruction) => false;

    /// <inheritdoc/>
    public IReadOnlyList<ulong> ExtraTargets(ulong instruction) => [];
}
