using Panacea.Diagnosis.Rendering;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Memory;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>What was read of a machine around its crash.</summary>
/// <param name="State">Its state.</param>
/// <param name="Values">What the values of the crash's registers and stacks are; null where there is no crash or they could not be explained.</param>
/// <param name="Surroundings">What surrounds the task that crashed; null where there is no crash or it could not be read.</param>
/// <param name="Findings">What in the state is not as it should be.</param>
/// <param name="Missing">What could not be read, in sentences.</param>
public sealed record MachineReading(MachineState State, CrashValues? Values, TaskSurroundings? Surroundings, IReadOnlyList<Finding> Findings, IReadOnlyList<string> Missing);

/// <summary>Reads the state of a machine, and the details of its crash that need more of the machine than the crash itself. Over a running guest too: nothing of it needs a stop.</summary>
/// <param name="image">The kernel.</param>
/// <param name="memory">Guest-physical memory.</param>
/// <param name="moment">Whether the machine runs meanwhile.</param>
/// <param name="limits">Ceilings.</param>
public sealed class MachineStateReader(RepairImage image, IGuestMemory memory, StateMoment moment, TargetLimits limits)
{
    /// <summary>Held locks that a report shows.</summary>
    public const int MaxLocks = 100;

    // Pages of a running guest are fetched once: what is read of them is of one moment, and most are read more than once.
    private readonly LinuxKernel _kernel = image.KernelOver(moment == StateMoment.Running ? new EvidenceMemory(memory) : memory);

    /// <summary>The state, and of the crash what its values are and what surrounds its task.</summary>
    /// <param name="evidence">The crash; null where there is none.</param>
    public MachineReading Read(CrashEvidence? evidence)
    {
        var missing = new List<string>();
        var sections = new Sections(missing, moment == StateMoment.Running);
        List<MemoryFault>? lost = moment == StateMoment.Running ? null : [];
        IReadOnlyList<LinuxTask> tasks = sections.Read("tasks", () => Tasks.Enumerate(_kernel, limits, lost)) ?? [];
        var labels = new TaskLabels(_kernel, tasks);
        var scheduling = new SchedulingReader(_kernel, labels, limits);
        var resources = new ResourceReader(_kernel, limits);
        KernelClock? clock = Sections.Try<KernelClock?>(() => KernelClock.Read(_kernel), null);
        CrashDetailsReader? details = evidence is null ? null : new CrashDetailsReader(_kernel, limits);
        var state = new MachineState(
            moment, sections.Read("memory", () => resources.Memory(sections)), sections.Read("run queues", () => scheduling.Read(sections)),
            sections.Read("workqueues", () => scheduling.Workqueues(clock)), sections.Read("timers", () => scheduling.Timers(clock)),
            tasks.Count == 0 ? null : sections.Read("mounts", () => resources.Mounts(tasks)), sections.Read("block devices", () => resources.Block(clock)),
            tasks.Count == 0 ? null : sections.Read("held locks", () => Locks(tasks, labels, evidence, details)));
        return new MachineReading(
            state, evidence is null ? null : sections.Read("values", () => details!.Values(evidence)), evidence is null ? null : Sections.Try(() => details!.Surroundings(evidence), null),
            [.. StateFindings.Of(state, evidence?.Task?.Pid)], missing);
    }

    private List<HeldLockReport> Locks(IReadOnlyList<LinuxTask> tasks, TaskLabels labels, CrashEvidence? evidence, CrashDetailsReader? details)
    {
        var search = new HeldLocks(_kernel, tasks, limits);
        var found = new List<HeldLockReport>();
        var seen = new HashSet<ulong>();
        if (evidence is not null)
        {
            foreach ((HeldLock held, SlabObject inside) in details!.LocksInReach(evidence, search))
            {
                if (seen.Add(held.Lock.Address))
                    found.Add(Report(held, labels, $"in {inside.Cache.Name} object 0x{inside.Start:x} + 0x{held.Lock.Address - inside.Start:x}"));
            }
        }

        foreach (HeldLock held in search.InData(Sections.Try<IReadOnlyList<LinuxModule>>(() => Modules.Enumerate(_kernel, limits), [])))
        {
            if (seen.Add(held.Lock.Address))
                found.Add(Report(held, labels, held.Symbol?.ToShortString()));
        }

        return [.. found.OrderByDescending(h => h.OwnerPid == evidence?.Task?.Pid).Take(MaxLocks)];
    }

    private static HeldLockReport Report(HeldLock held, TaskLabels labels, string? name)
    {
        LinuxTask? owner = labels.Find(held.Lock.Owner);
        return new HeldLockReport(
            MarkdownReport.Kebab(held.Lock.Kind), held.Lock.Address, name, owner?.Comm, owner?.Pid ?? 0, held.Lock.OwnerIsHint, [.. held.Lock.Waiters.Items.Select(labels.Of)],
            // A task pointer before an empty wait queue looks like a mutex (struct rcuwait in a percpu_rw_semaphore); an rw_semaphore's count has to agree with its owner too.
            held.Lock.OwnerIsHint ? Confidence.Low : held.IsSure ? Confidence.High : held.Lock.Kind == LockKind.RwSemaphore ? Confidence.Medium : Confidence.Low);
    }
}
