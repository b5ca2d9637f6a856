using System.Buffers.Binary;
using Panacea.Diagnosis.Rendering;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>What the registers and stack words of a crash are, and what surrounds its task.</summary>
/// <param name="kernel">The kernel over memory that values are explained by: that of the crash, or of the guest since it went on.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class CrashDetailsReader(LinuxKernel kernel, TargetLimits limits)
{
    /// <summary>Words of all stacks together that are looked at: four stacks of 16 KiB.</summary>
    public const int MaxWords = 8192;

    /// <summary>Explained words that a report keeps.</summary>
    public const int MaxShown = 1024;

    private readonly AddressExplainer _explainer = new(kernel, limits);

    /// <summary>Explains every register, and every word between the crash's stack pointer and the end of each stack that its frames lie on.</summary>
    public CrashValues Values(CrashEvidence evidence)
    {
        List<ExplainedValue> registers = [.. Enum.GetValues<Gpr>().Select(r => (Name: r.ToString().ToLowerInvariant(), Value: evidence.Crash.Gpr[r])).Prepend(("rip", evidence.Crash.Ip))
            .Select(r => Explain(r.Item1, r.Item2))];
        var shown = new List<ExplainedValue>();
        int words = 0;
        foreach ((ulong start, ulong end) in StackRanges(evidence))
        {
            for (ulong at = start; at < end && words < MaxWords; at += 8, words++)
            {
                if (!evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _))
                    break;
                AddressExplanation told = _explainer.Explain(value);
                if (IsWorthShowing(told) && shown.Count < MaxShown)
                    shown.Add(Explained($"0x{at:x}", told));
            }
        }

        return new CrashValues(registers, shown, words, _explainer.Without);
    }

    /// <summary>Locks that lie in slab objects to which registers and stack of the crash point, and that its task owns.</summary>
    public IEnumerable<(HeldLock Lock, SlabObject Object)> LocksInReach(CrashEvidence evidence, HeldLocks locks)
    {
        if (evidence.Task is not { } task)
            yield break;
        var seen = new HashSet<ulong>();
        IEnumerable<ulong> values = Enum.GetValues<Gpr>().Select(r => evidence.Crash.Gpr[r]).Concat(StackRanges(evidence).SelectMany(r => Words(evidence, r.Start, r.End)).Take(MaxWords));
        foreach (ulong value in values)
        {
            if (_explainer.Layout is not { } layout || layout.RegionOf(value) != AddressRegion.DirectMap || _explainer.Explain(value).Object is not { IsInside: true } found || !seen.Add(found.Start))
                continue;
            foreach (HeldLock held in locks.In(found.Start, found.Cache.ObjectSize).Where(h => h.Lock.Owner == task.Address))
                yield return (held, found);
        }
    }

    /// <summary>Parents, groups and namespaces of a task.</summary>
    public TaskSurroundings? Surroundings(CrashEvidence evidence)
    {
        if (evidence.Task is not { } crashed || Sections.Try<LinuxTask?>(() => Tasks.ReadTask(kernel, crashed.Address), null) is not { } task || task.Pid != crashed.Pid)
            return null;
        TaskCredentials? who = Sections.Try<TaskCredentials?>(() => TaskEnvironment.Credentials(kernel, task), null);
        return new TaskSurroundings(
            who?.EffectiveUid, who?.EffectiveGid, [.. TaskEnvironment.Ancestors(kernel, task).Select(t => new TaskLabel(t.Pid, t.Comm))],
            Sections.Try<IReadOnlyList<string>>(() => [.. TaskEnvironment.Cgroups(kernel, task, limits).Select(g => g.Controllers.Length == 0 ? g.Path : $"{g.Controllers}:{g.Path}")], []),
            Sections.Try<string?>(() => TaskEnvironment.HostName(kernel, task), null), OtherNamespaces(task));
    }

    private Dictionary<string, long> OtherNamespaces(LinuxTask task) => Sections.Try(
        () =>
        {
            IReadOnlyDictionary<string, uint> own = TaskEnvironment.Namespaces(kernel, task);
            IReadOnlyDictionary<string, uint> first = TaskEnvironment.Namespaces(kernel, Tasks.ReadTask(kernel, kernel.Symbol("init_task")));
            return own.Where(n => !first.TryGetValue(n.Key, out uint inode) || inode != n.Value).ToDictionary(n => n.Key, n => (long)n.Value);
        },
        []);

    private static List<(ulong Start, ulong End)> StackRanges(CrashEvidence evidence)
    {
        List<KernelStack> stacks = Stacks.Of(evidence.Kernel, evidence.Cpu, evidence.Task?.Address ?? 0);
        var ranges = new List<(ulong, ulong)>();
        foreach (KernelStack stack in stacks.OrderBy(s => FirstFrame(evidence, s)))
        {
            List<ulong> pointers = [.. evidence.Stack.Frames.Select(f => f.Sp).Append(evidence.Crash.Gpr[Gpr.Rsp]).Where(stack.Contains)];
            if (pointers.Count > 0)
                ranges.Add((pointers.Min() & ~7UL, stack.End));
        }

        return ranges;
    }

    private static int FirstFrame(CrashEvidence evidence, KernelStack stack)
    {
        for (int i = 0; i < evidence.Stack.Frames.Count; i++)
        {
            if (stack.Contains(evidence.Stack.Frames[i].Sp))
                return i;
        }

        return int.MaxValue;
    }

    private static IEnumerable<ulong> Words(CrashEvidence evidence, ulong start, ulong end)
    {
        byte[] raw = new byte[8];
        for (ulong at = start; at < end && evidence.Kernel.Space.TryRead(new VirtualAddress(at), raw, out _); at += 8)
            yield return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }

    private ExplainedValue Explain(string where, ulong value) => Explained(where, _explainer.Explain(value));

    private static ExplainedValue Explained(string where, AddressExplanation told) => new(
        where, told.Value, MarkdownReport.Kebab(told.Meaning), told.Text, told.Certainty switch { Certainty.Certain => Confidence.High, Certainty.Likely => Confidence.Medium, _ => Confidence.Low });

    /// <summary>Numbers, user-space addresses and bit patterns are on every stack.</summary>
    private static bool IsWorthShowing(AddressExplanation told) =>
        told.Meaning is not (AddressMeaning.Null or AddressMeaning.User or AddressMeaning.NonCanonical or AddressMeaning.ErrorPointer or AddressMeaning.Nowhere);
}
