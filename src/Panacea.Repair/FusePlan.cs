using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Repair;

/// <summary>
/// Plans for fuses: a function that crashes again and again is made to return at once. What it loses is what its repair has lost each time; what it saves is the crash. Written while the guest stands
/// still, like every other change. See docs/fuses.md.
/// </summary>
public static class FusePlan
{
    private const int Eio = 5;

    /// <summary>Why a function can't have a fuse, whatever it returns; null where it can.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="function">Its symbol.</param>
    /// <param name="entry">Its address.</param>
    public static string? WhyNot(LinuxKernel kernel, string function, ulong entry)
    {
        if (kernel.Image.Meta.DeathPoints.Any(p => p.Symbol == function) || function is "do_exit" or "make_task_dead")
            return $"{function} is on a dying kernel's way, which has to be gone";
        if (Boundaries.Find(function) is { } boundary)
            return $"{function} calls every function of its kind ({boundary.Callee}): none of them would run any more";
        if (Expendables.Find(function) is { } expendable)
            return $"{function} can go without its work once, not for good: it would lose {expendable.Lost} each time";
        if (Boundaries.HasToRun(function))
            return $"{function} is called again until it has done its work: it would be called for ever";
        return WhyNotEntry(kernel, function, entry);
    }

    /// <summary>Why the entry of a function can't be changed while the kernel runs; null where it can: it has the NOP of traceable functions, and nobody uses it.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="function">Its symbol.</param>
    /// <param name="entry">Its address.</param>
    public static string? WhyNotEntry(LinuxKernel kernel, string function, ulong entry)
    {
        Span<byte> code = stackalloc byte[FuseCode.EntryBytes];
        if (!kernel.Space.TryRead(new VirtualAddress(entry), code, out _))
            return $"the code of {function} can't be read";
        ReadOnlySpan<byte> place = code[FuseCode.OffsetOfNop(code)..];
        return FuseCode.IsNop(place) ? null
            : place[0] switch
            {
                0xe8 => $"{function} is being traced: end the tracing first",
                0xcc => $"a probe is set at the entry of {function}: remove it first",
                0xe9 when Fuses.Of(kernel, entry) is { } fuse => $"{function} has a fuse already, which returns {Fuses.Shown(fuse.Value)}",
                0xe9 => $"the entry of {function} is patched already: by a live patch or a probe",
                _ => $"{function} does not begin with the NOP of traceable functions, which alone can be replaced under a running kernel",
            };
    }

    /// <summary>The error that a function returns where nobody says another.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="function">Its symbol.</param>
    /// <param name="module">The module it is of; null for the kernel's own.</param>
    /// <param name="value">The value.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static bool TryError(LinuxKernel kernel, string function, string? module, out int value, out string whyNot)
    {
        value = 0;
        whyNot = "";
        if (!kernel.Image.TryTypesFor(module, out TypeCatalog types) || !types.TryReturnType(function, out ReturnType returns))
        {
            whyNot = $"BTF has no prototype of {function}, so what it returns is unknown";
            return false;
        }

        switch (returns)
        {
            case { Kind: ReturnKind.SignedInteger, Bytes: 4 or 8 }:
                value = -Eio;
                return true;
            case { Kind: ReturnKind.Bool }:
                return true;
            default:
                whyNot = returns.Kind == ReturnKind.Void ? $"{function} returns nothing: its callers would never learn that its work was not done"
                    : $"{function} returns {returns.Name}, of which no value is always an error";
                return false;
        }
    }

    /// <summary>A function may return that value.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="function">Its symbol.</param>
    /// <param name="module">The module it is of; null for the kernel's own.</param>
    /// <param name="value">The value; null for nothing.</param>
    /// <returns>Why not; null where it may, or nothing is known of what it returns.</returns>
    public static string? WhyNotValue(LinuxKernel kernel, string function, string? module, int? value)
    {
        if (!kernel.Image.TryTypesFor(module, out TypeCatalog types) || !types.TryReturnType(function, out ReturnType returns))
            return null;
        bool fits = returns.Kind switch
        {
            ReturnKind.Void => value is null,
            ReturnKind.Bool => value is 0 or 1,
            ReturnKind.Pointer => value is 0 or (< 0 and >= -4095),
            ReturnKind.UnsignedInteger => value is >= 0,
            ReturnKind.SignedInteger => value is not null,
            _ => returns.Bytes is > 0 and <= 8 && value is not null,
        };
        return fits ? null : $"{function} returns {returns.Name}, which {(value is { } v ? Fuses.Shown(v) : "nothing")} is no value of";
    }

    /// <summary>The writes that set a fuse.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="function">Its symbol.</param>
    /// <param name="module">The module it is of; null for the kernel's own.</param>
    /// <param name="entry">Its address.</param>
    /// <param name="value">What it is to return; anything where it returns nothing.</param>
    /// <param name="fuse">The fuse.</param>
    /// <param name="writes">The writes, in order: first the code, then the jump to it.</param>
    /// <param name="whyNot">Why it can't be set.</param>
    public static bool TrySet(LinuxKernel kernel, string function, string? module, ulong entry, int value, out Fuse fuse, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        (fuse, writes) = (null!, []);
        whyNot = WhyNot(kernel, function, entry) ?? "";
        if (whyNot.Length > 0)
            return false;
        Span<byte> code = stackalloc byte[FuseCode.EntryBytes];
        ulong room = Fuses.FindRoom(kernel, value);
        if (room == 0 || !kernel.Space.TryRead(new VirtualAddress(entry), code, out _))
        {
            whyNot = "the kernel's text has no room left for the code of a fuse";
            return false;
        }

        ulong place = entry + (ulong)FuseCode.OffsetOfNop(code);
        if (!FuseCode.TryJump(place, room, out byte[] jump))
        {
            whyNot = $"{function} lies too far from the kernel's text";
            return false;
        }

        fuse = new Fuse(function, module, entry, place, room, value);
        writes =
        [
            new PlannedWrite(new VirtualAddress(room), FuseCode.Stub(value), $"code that returns {Fuses.Shown(value)}"),
            new PlannedWrite(new VirtualAddress(place), jump, $"fuse of {function}: a jump there, in place of its NOP"),
        ];
        return true;
    }

    /// <summary>The writes that take a fuse away: the jump alone. Somebody may have been interrupted within the code that it led to, for as long as it likes: so that stays, and the next fuse of the
    /// same value uses it again.</summary>
    public static IReadOnlyList<PlannedWrite> Clear(Fuse fuse) => [new PlannedWrite(new VirtualAddress(fuse.Jump), FuseCode.Nop, $"the NOP of {fuse.Function}, in place of its fuse")];
}
