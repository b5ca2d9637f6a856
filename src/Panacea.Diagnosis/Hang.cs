using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;

namespace Panacea.Diagnosis;

/// <summary>What was seen from outside of a CPU, a task or a disk that does not get on.</summary>
/// <param name="Kind"><see cref="CrashKind.HardLockup"/>: interrupts are off and its timer does not tick. <see cref="CrashKind.SoftLockup"/>: it ticks, and nothing else gets to run.
/// <see cref="CrashKind.HungTask"/>: the task sleeps for what it will never get. <see cref="CrashKind.StalledIo"/>: requests of a disk are lost. <see cref="CrashKind.LostTick"/>: the CPU runs, and its timer does not.</param>
/// <param name="Ran">Processor time that its vCPU has used on the host since it last got on; zero of a task, which uses none.</param>
/// <param name="Evidence">What was measured, for the record.</param>
public sealed record Hang(CrashKind Kind, TimeSpan Ran, IReadOnlyList<string> Evidence)
{
    /// <summary>What stands for the death point in records of hangs, which pass none.</summary>
    public const string Point = "hang";

    /// <summary>What the task sleeps for; null of a CPU.</summary>
    public LockWait? Wait { get; init; }

    /// <summary>The queue of a disk whose requests do not get on; null of a CPU or a task.</summary>
    public DiskStall? Stall { get; init; }

    /// <summary>The timer of a CPU that has lost its tick; null of anything else.</summary>
    public TickTimer? Timer { get; init; }

    /// <summary>Guest-virtual address of the spinlock that the CPU waits for, where no CPU can hold it; null where it waits for none, or somebody may hold it.</summary>
    public ulong? OrphanSpinlock { get; init; }

    /// <summary>What it sleeps for has come, and nobody has woken it.</summary>
    public bool HasCome { get; init; }

    /// <summary>What it sleeps for is held by somebody who is no task any more.</summary>
    public bool IsOwnerGone { get; init; }

    /// <summary>No function of the CPU's stack is to blame: it is where it is to call what helps.</summary>
    public bool IsOfNobody => Stall is not null || Timer is not null;

    /// <summary>The function that loops: the innermost activation that is on the stack at every moment. What it calls comes and goes.</summary>
    /// <param name="now">The stack.</param>
    /// <param name="earlier">The same CPU's stacks of before.</param>
    /// <returns>Its index in <paramref name="now"/>; null where nothing is common.</returns>
    public static int? Looping(Backtrace now, IReadOnlyList<Backtrace> earlier)
    {
        int depth = now.Frames.Count;
        foreach (Backtrace then in earlier)
            depth = Math.Min(depth, CommonDepth(now, then));
        return depth == 0 ? null : now.Frames.Count - depth;
    }

    /// <summary>Frames from the outermost one inwards that are the same activations in both: all but the innermost of them stand at the same call.</summary>
    private static int CommonDepth(Backtrace a, Backtrace b)
    {
        int depth = 0, limit = Math.Min(a.Frames.Count, b.Frames.Count);
        while (depth < limit)
        {
            StackFrame x = a.Frames[^(depth + 1)], y = b.Frames[^(depth + 1)];
            if ((x.Cfa ?? x.Sp) != (y.Cfa ?? y.Sp) || x.Reliability != FrameReliability.Exact || y.Reliability != FrameReliability.Exact)
                break;
            depth++;
            if (x.Ip != y.Ip)
                break;
        }

        return depth;
    }
}
