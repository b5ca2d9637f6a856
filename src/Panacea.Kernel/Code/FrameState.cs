using System.Runtime.CompilerServices;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>What a value is known to be.</summary>
internal enum SymbolKind : byte
{
    /// <summary>Nothing is known.</summary>
    Unknown,

    /// <summary>What a register held when the function was entered.</summary>
    Entry,

    /// <summary>A stack address: a base and an offset.</summary>
    Frame,

    /// <summary>The lower half of what a register held when the function was entered; the upper half is zero, or its sign.</summary>
    EntryLow,
}

/// <summary>What a stack address is counted from.</summary>
public enum FrameBase : byte
{
    /// <summary>The canonical frame address: the caller's stack pointer, 8 above the return address.</summary>
    Cfa,

    /// <summary>The stack pointer as an alignment instruction left it: a constant but unknown distance below the CFA.</summary>
    Aligned,

    /// <summary>The top of another stack that the function has switched to.</summary>
    OtherStack,
}

/// <summary>A symbolic 64-bit value.</summary>
internal readonly record struct Symbol(SymbolKind Kind, byte Which, int Offset)
{
    public static Symbol Unknown => default;

    public static Symbol Entry(Gpr register) => new(SymbolKind.Entry, (byte)register, 0);

    public static Symbol EntryLow(Gpr register) => new(SymbolKind.EntryLow, (byte)register, 0);

    public static Symbol Frame(FrameBase from, int offset) => new(SymbolKind.Frame, (byte)from, offset);

    public FrameBase Base => (FrameBase)Which;

    public bool IsFrame => Kind == SymbolKind.Frame;

    /// <summary>The stack address <paramref name="bytes"/> further on; unknown where this is none or leaves every plausible stack.</summary>
    public Symbol Plus(long bytes)
    {
        const int Farthest = 1 << 20;
        if (!IsFrame || bytes is < -Farthest or > Farthest || Offset + bytes is < -Farthest or > Farthest)
            return Unknown;
        return this with { Offset = (int)(Offset + bytes) };
    }
}

/// <summary>Eight bytes of stack that hold something known.</summary>
internal readonly record struct Slot(FrameBase Base, int Offset, Symbol Value);

[InlineArray(16)]
internal struct SymbolFile
{
    private Symbol _element0;
}

/// <summary>
/// What every general register and stack slot holds at one point of a function, in terms of the function's entry. Two states meet by keeping what both
/// say (a must-analysis): what survives is true on every path.
/// </summary>
internal sealed class FrameState
{
    private SymbolFile _registers;
    private readonly List<Slot> _slots;

    private FrameState(in SymbolFile registers, List<Slot> slots)
    {
        _registers = registers;
        _slots = slots;
    }

    /// <summary>The state at a function's first instruction: RSP points at the return address.</summary>
    public static FrameState AtEntry()
    {
        SymbolFile registers = default;
        for (int i = 0; i < 16; i++)
            registers[i] = Symbol.Entry((Gpr)i);
        registers[(int)Gpr.Rsp] = Symbol.Frame(FrameBase.Cfa, -8);
        return new FrameState(registers, []);
    }

    /// <summary>Slots in the order in which they were filled.</summary>
    public IReadOnlyList<Slot> Slots => _slots;

    public Symbol this[Gpr register]
    {
        get => _registers[(int)register];
        set => _registers[(int)register] = value;
    }

    public FrameState Clone() => new(_registers, [.. _slots]);

    /// <summary>Keeps what <paramref name="other"/> also says.</summary>
    /// <returns>True where anything was lost by it.</returns>
    public bool Meet(FrameState other)
    {
        bool changed = false;
        for (int i = 0; i < 16; i++)
        {
            if (_registers[i].Kind != SymbolKind.Unknown && _registers[i] != other._registers[i])
            {
                _registers[i] = Symbol.Unknown;
                changed = true;
            }
        }

        int kept = _slots.RemoveAll(slot => !other._slots.Contains(slot));
        return changed || kept > 0;
    }

    /// <summary>Keeps of registers and of kept arguments what another way says too, which may be none: what was saved stays saved, and so does what has not been saved and not been changed, for who changes a callee-saved register
    /// saves it. What counts stack addresses the unwind data vouches for.</summary>
    /// <returns>True where anything was lost by it.</returns>
    public bool MeetRegisters(FrameState other)
    {
        bool changed = _slots.RemoveAll(slot => slot.Value.Kind is SymbolKind.Entry or SymbolKind.EntryLow && !KnownRegisters.CalleeSaved.Contains((Gpr)slot.Value.Which) && !other._slots.Contains(slot)) > 0;
        for (int i = 0; i < 16; i++)
        {
            var register = (Gpr)i;
            Symbol known = _registers[i];
            bool isKept = (known.IsFrame && register is Gpr.Rsp or Gpr.Rbp or Gpr.R10 or Gpr.R13)
                || (known == Symbol.Entry(register) && KnownRegisters.CalleeSaved.Contains(register) && !TryFindSaved(register, out _));
            if (known.Kind == SymbolKind.Unknown || known == other._registers[i] || isKept)
                continue;
            _registers[i] = Symbol.Unknown;
            changed = true;
        }

        return changed;
    }

    /// <summary>Moves the stack pointer. What then lies below it is no longer kept: an interrupt may overwrite it.</summary>
    public void MoveStackPointer(Symbol to)
    {
        Symbol from = this[Gpr.Rsp];
        this[Gpr.Rsp] = to;
        if (!to.IsFrame)
            return;

        // Going back to the CFA's base leaves whatever hangs on another one: it lies below, or on another stack.
        bool leavesOthers = to.Base == FrameBase.Cfa && !(from.IsFrame && from.Base == FrameBase.Cfa);
        _slots.RemoveAll(slot => slot.Base == to.Base ? slot.Offset < to.Offset : leavesOthers && slot.Base != FrameBase.Cfa);
    }

    /// <summary>A store of <paramref name="size"/> bytes at a known stack address.</summary>
    public void Store(Symbol address, int size, Symbol value)
    {
        if (!address.IsFrame)
            return;
        _slots.RemoveAll(slot => slot.Base == address.Base && slot.Offset < address.Offset + (long)size && address.Offset < slot.Offset + 8L);
        if (size == 8 && value.Kind != SymbolKind.Unknown)
            _slots.Add(new Slot(address.Base, address.Offset, value));
    }

    /// <summary>What the eight bytes at a stack address hold.</summary>
    public Symbol Load(Symbol address)
    {
        if (address.IsFrame)
        {
            foreach (Slot slot in _slots)
            {
                if (slot.Base == address.Base && slot.Offset == address.Offset)
                    return slot.Value;
            }
        }

        return Symbol.Unknown;
    }

    /// <summary>The first filled slot that holds what <paramref name="register"/> held at entry.</summary>
    public bool TryFindSaved(Gpr register, out Slot found)
    {
        Symbol wanted = Symbol.Entry(register);
        foreach (Slot slot in _slots)
        {
            if (slot.Value == wanted)
            {
                found = slot;
                return true;
            }
        }

        found = default;
        return false;
    }

    /// <summary>Forgets what an ordinary call may change.</summary>
    public void ForgetCallerSaved()
    {
        foreach (Gpr register in (ReadOnlySpan<Gpr>)[Gpr.Rax, Gpr.Rcx, Gpr.Rdx, Gpr.Rsi, Gpr.Rdi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11])
            this[register] = Symbol.Unknown;
    }

    /// <summary>Forgets everything.</summary>
    public void ForgetAll()
    {
        _registers = default;
        _slots.Clear();
    }
}
