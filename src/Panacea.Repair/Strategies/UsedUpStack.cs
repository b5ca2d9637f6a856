using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A crash that left no room on its stack: as a rule a function has called itself, or others each other, until the guard page was hit.</summary>
internal static class UsedUpStack
{
    /// <summary>Activations of one function on a stack that are a recursion: file systems on top of one another are a few.</summary>
    private const int MinActivations = 4;

    /// <summary>Room that functions of the kernel need which a repair sends the CPU to: half a stack of 16 KiB.</summary>
    private const ulong Room = 8192;

    /// <summary>STACK_END_MAGIC (include/uapi/linux/magic.h).</summary>
    private const ulong EndMagic = 0x57ac_6e9d;

    /// <summary>Room that an ordinary return needs.</summary>
    private const ulong Margin = 2048;

    /// <summary>Nothing can be called where it crashed.</summary>
    public static bool Is(CrashEvidence evidence) => evidence.IsDoubleFault || evidence.IsGuardHit;

    /// <summary>Index of the frame that is at fault as a whole: the outermost activation of what recurs, the faulty frame where nothing does.</summary>
    /// <param name="evidence">The crash, with a faulty frame.</param>
    public static int Outermost(CrashEvidence evidence)
    {
        int faulty = evidence.FaultyFrame!.Value;
        if (!Is(evidence))
            return faulty;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        var functions = new List<ulong>();
        var counts = new Dictionary<ulong, int>();
        for (int i = faulty; i < frames.Count && IsOfIt(frames, faulty, i); i++)
        {
            ulong start = evidence.Analysis.Functions.TryFindFunction(frames[i].Point.LookupAddress, out FunctionParts function) ? function.Main.Start : 0;
            functions.Add(start);
            if (start != 0)
                counts[start] = counts.GetValueOrDefault(start) + 1;
        }

        // Functions that call each other take turns: each is there as often as the others, or nearly.
        int least = Math.Max(MinActivations, counts.Values.DefaultIfEmpty().Max() / 2);
        return faulty + Math.Max(0, functions.FindLastIndex(f => f != 0 && counts[f] >= least));
    }

    /// <summary>The last word of a task's stack is STACK_END_MAGIC (kernel/fork.c, set_task_stack_end_magic), which whatever used it up has written over: the scheduler panics where it is not
    /// (CONFIG_SCHED_STACK_END_CHECK; kernel/sched/core.c, schedule_debug).</summary>
    public static IEnumerable<PlannedWrite> Mend(CrashEvidence evidence)
    {
        if (!Is(evidence))
            yield break;
        foreach (KernelStack stack in Stacks.Of(evidence.Kernel, null, evidence.Task?.Address ?? 0))
        {
            byte[] magic = new byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(magic, EndMagic);
            if (evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(stack.Start), out ulong last, out _) && last != EndMagic)
                yield return new PlannedWrite(new VirtualAddress(stack.Start), magic, "the mark at the end of the stack");
        }
    }

    /// <summary>There is room to go on: interrupts, and the functions that are called next.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="sp">A stack pointer of the crashed context.</param>
    public static bool HasRoom(CrashEvidence evidence, ulong sp) =>
        !Is(evidence) || Stacks.Of(evidence.Kernel, evidence.Cpu, evidence.Task?.Address ?? 0).Exists(s => s.Contains(unchecked(sp - 1)) && sp - s.Start >= Margin);

    /// <summary>The innermost frame below which there is room to call functions: what lies further in is given up.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="frame">The frame; what it called returns to its IP with its SP.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static bool TryRoom(CrashEvidence evidence, out StackFrame frame, out string whyNot)
    {
        frame = null!;
        whyNot = "";
        List<KernelStack> stacks = Stacks.Of(evidence.Kernel, evidence.Cpu, evidence.Task?.Address ?? 0);
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = 1; i < frames.Count && IsOfIt(frames, 0, i); i++)
        {
            ulong sp = frames[i].Sp;
            if (!stacks.Exists(s => s.Kind == frames[i].Stack && s.Contains(sp) && sp - s.Start >= Room))
                continue;
            frame = frames[i];
            return true;
        }

        whyNot = "no function further out has left room on the stack";
        return false;
    }

    /// <summary>A stack pointer for a task that starts over at the top of its stack: there is room below it, and the registers of its user space lie above.</summary>
    public static bool TryInTask(CrashEvidence evidence, out ulong sp)
    {
        sp = 0;
        foreach (KernelStack stack in Stacks.Of(evidence.Kernel, null, evidence.Task?.Address ?? 0))
            sp = unchecked(stack.Start + Room);
        return sp != 0;
    }

    /// <summary>It belongs to the crashed context: beyond a trap, an interrupt or a change of stacks lies what was interrupted.</summary>
    private static bool IsOfIt(IReadOnlyList<StackFrame> frames, int first, int index) =>
        index == first || (frames[index] is { IsTrap: false, Reliability: FrameReliability.Exact } && frames[index].Stack == frames[first].Stack);
}
