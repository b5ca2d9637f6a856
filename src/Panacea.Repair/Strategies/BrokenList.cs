using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The kernel's check of a linked list (lib/list_debug.c) has found neighbours that do not agree, or has run into what is no address. Where a single pointer of the whole ring is wrong, the other
/// direction says what it was: it is mended, what was to be added or deleted is, and the check returns false, upon which its caller leaves the list alone (include/linux/list.h). Nothing is lost. A ring in which
/// more than one pointer is wrong has been used in a way that no pointer can tell, and is not touched.
/// </summary>
internal static class BrokenList
{
    /// <summary>Elements that are followed within the stop.</summary>
    private const int MaxElements = 1024;

    /// <summary>Names up to 6.6, and from there on (commit b16c42c8fde8, "list_debug: Introduce inline wrappers for debug checks").</summary>
    private static readonly string[] Deleting = ["__list_del_entry_valid", "__list_del_entry_valid_or_report"], Adding = ["__list_add_valid", "__list_add_valid_or_report"];

    /// <summary>A list_head.</summary>
    private readonly record struct Element(ulong At, ulong Next, ulong Prev);

    /// <summary>A ring without its one wrong pointer.</summary>
    /// <param name="Last">The element whose next, and</param>
    /// <param name="First">the element whose prev: they are neighbours, and one of the two pointers says otherwise.</param>
    /// <param name="IsNext">It is the next of <paramref name="Last"/>.</param>
    /// <param name="Was">What it says.</param>
    /// <param name="Count">Elements of the ring.</param>
    private sealed record Break(ulong Last, ulong First, bool IsNext, ulong Was, int Count);

    /// <summary>A plan for a crash in such a check; null where it is none.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        if (evidence.Point.Symbol != "oops_end" || frames.Count < 2 || frames[0].Reliability != FrameReliability.Exact || frames[1].Reliability != FrameReliability.Exact || frames[1].IsTrap)
            return null;
        string check = Boundaries.WithoutSuffix(evidence.LocationOf(frames[0])?.Name ?? "");
        bool adds = Array.IndexOf(Adding, check) >= 0;
        if (!adds && Array.IndexOf(Deleting, check) < 0)
            return null;
        ulong?[] arguments = [.. Enumerable.Range(0, adds ? 3 : 1).Select(i => Argument(evidence, i))];
        LinuxKernel kernel = evidence.Kernel;
        if (arguments[0] is not { } entry)
            return StrategyVerdict.Declines("which element of which list it was can't be told");

        // Of an addition (new, prev, next) either neighbour leads into the ring; the other one may have come from the wrong pointer.
        Break? found = null;
        string whyNot = "which list it was can't be told";
        foreach (ulong? inside in adds ? arguments[1..] : arguments)
            found ??= inside is { } known ? Find(kernel, known, out whyNot) : null;
        if (found is null)
            return StrategyVerdict.Declines(whyNot);
        var pointers = new SortedDictionary<ulong, ulong>();
        void Set(ulong element, bool isNext, ulong value) => pointers[isNext ? element : element + 8] = value;
        Set(found.IsNext ? found.Last : found.First, found.IsNext, found.IsNext ? found.First : found.Last);
        if (adds)
        {
            // It goes where the ring is broken, or the check would not have failed.
            bool Fits(ulong? argument, ulong neighbour) => argument is not { } value || value == neighbour || value == found.Was;
            if (!Fits(arguments[1], found.Last) || !Fits(arguments[2], found.First) || (arguments[1] != found.Last && arguments[2] != found.First))
                return StrategyVerdict.Declines("where the element is to be added is not where the list is broken");
            if (entry == found.Last || entry == found.First || Read(kernel, entry) is null)
                return StrategyVerdict.Declines($"the element at 0x{entry:x} can't be added there");
            Set(found.Last, true, entry);
            Set(found.First, false, entry);
            Set(entry, true, found.First);
            Set(entry, false, found.Last);
        }
        else
        {
            if (entry != found.Last && entry != found.First)
                return StrategyVerdict.Declines("the element to be deleted is not where the list is broken");
            Element own = Read(kernel, entry)!.Value;
            ulong ahead = entry == found.Last ? found.First : own.Next, behind = entry == found.First ? found.Last : own.Prev;
            Set(behind, true, ahead);
            Set(ahead, false, behind);
        }

        StrategyVerdict verdict = ReturnCandidate.Plan(evidence, 0, new ReturnResult(new ReturnedFunction(check, null, 0, 0), 0, "false", null), RepairKind.Heal, acceptsDoubt: true);
        if (verdict.Plan is not { } plan)
            return verdict;
        string what = $"the {(found.IsNext ? "next" : "prev")} of the list element at 0x{(found.IsNext ? found.Last : found.First):x}, which was 0x{found.Was:x}, is mended from the other direction of the list ({found.Count} elements, head included)";
        return StrategyVerdict.Applies(plan with
        {
            // Nothing is wrong with the function: it is to run the next time.
            Returned = null,
            Explanation = $"{what}, and the element at 0x{entry:x} is {(adds ? "added" : "deleted")}; nothing is lost",
            Writes = [.. pointers.Select(p => new PlannedWrite(new VirtualAddress(p.Key), Bytes(p.Value), "list_head: pointer to the neighbour")), .. plan.Writes],
            Lost = [],
            Risks = ["what has overwritten the pointer may have overwritten more"],
        });
    }

    /// <summary>Follows the ring in both directions as far as neighbours agree: with one wrong pointer, the two ends are its two sides.</summary>
    private static Break? Find(LinuxKernel kernel, ulong inside, out string whyNot)
    {
        whyNot = "";
        if (Read(kernel, inside) is not { } start)
        {
            whyNot = $"the list element at 0x{inside:x} can't be read";
            return null;
        }

        var seen = new HashSet<ulong> { inside };
        Element last = Follow(kernel, start, ahead: true, seen), first = Follow(kernel, start, ahead: false, seen);
        if (seen.Count > MaxElements)
        {
            whyNot = $"the list has more than {MaxElements} elements";
            return null;
        }

        bool isPrev = last.Next == first.At, isNext = first.Prev == last.At;
        if (seen.Count < 2 || isPrev == isNext)
        {
            whyNot = isPrev && isNext ? "the list is whole: what was checked is no part of it" : "more than one pointer of the list is wrong";
            return null;
        }

        // One that leads to an element of the list, or to one that leads there, may be what somebody else is changing without the lock.
        ulong was = isNext ? last.Next : first.Prev;
        if (seen.Contains(was) || (Read(kernel, was) is { } other && (other.Next == first.At || other.Prev == last.At)))
        {
            whyNot = $"the element at 0x{was:x} is being added to the list, or deleted from it";
            return null;
        }

        return new Break(last.At, first.At, isNext, was, seen.Count);
    }

    /// <summary>The last element, in one direction, that its neighbour behind agrees upon.</summary>
    private static Element Follow(LinuxKernel kernel, Element at, bool ahead, HashSet<ulong> seen)
    {
        while (seen.Count <= MaxElements && Read(kernel, ahead ? at.Next : at.Prev) is { } next && (ahead ? next.Prev : next.Next) == at.At && seen.Add(next.At))
            at = next;
        return at;
    }

    private static Element? Read(LinuxKernel kernel, ulong at)
    {
        Span<byte> raw = stackalloc byte[16];
        if ((at & 7) != 0 || at is Walk.ListPoison1 or Walk.ListPoison2 || !new VirtualAddress(at).IsKernelHalf || !kernel.Space.TryRead(new VirtualAddress(at), raw, out _))
            return null;
        return new Element(at, BinaryPrimitives.ReadUInt64LittleEndian(raw), BinaryPrimitives.ReadUInt64LittleEndian(raw[8..]));
    }

    /// <summary>An argument of the call of the check.</summary>
    private static ulong? Argument(CrashEvidence evidence, int index)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        if (!evidence.Analysis.Functions.TryFindFunction(frames[1].Point.LookupAddress, out FunctionParts function)
            || !CallSites.TryFindCallBefore(evidence.Analysis.Code, function, frames[1].Ip, out CallSite call))
            return null;
        ulong? Word(ulong at) => evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _) ? value : null;
        FrameRegisters.TryRecover(evidence.Analysis, frames, 1, out KnownRegisters registers, out _);
        return LockArguments.TryFind(evidence.Analysis, function, frames[1].Point, registers, new Holding(HoldingKind.Other, call.Address, "", index), Word, out ulong value) ? value : null;
    }

    private static byte[] Bytes(ulong value)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }
}
