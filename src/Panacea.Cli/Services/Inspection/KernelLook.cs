using Panacea.Diagnosis.Machine;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using LinuxTasks = Panacea.Kernel.Subsystems.Tasks;

namespace Panacea.Cli.Services.Inspection;

/// <summary>What all inspections read through: the kernel over the source's memory, patience with what moves, and what was read once for one answer.</summary>
internal sealed class KernelLook(IKernelSource source, CancellationToken cancel)
{
    /// <summary>Ceilings.</summary>
    public static readonly TargetLimits Limits = TargetLimits.Default;

    private const int Retries = 5;
    private readonly List<string> _notes = [];
    private IReadOnlyList<LinuxTask>? _tasks;
    private Dictionary<ulong, LinuxTask>? _byAddress;

    /// <summary>What is known of the kernel.</summary>
    public RepairImage Image => source.Image;

    /// <summary>Guest-physical memory.</summary>
    public IGuestMemory Memory => source.Memory;

    /// <summary>The kernel over the source's memory.</summary>
    public LinuxKernel Kernel => source.Image.KernelOver(source.Memory);

    /// <summary>What could not be read, in sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Ends what takes too long for the user.</summary>
    public CancellationToken Cancel => cancel;

    /// <summary>Lists change under the reader's eyes; one that does not close, or leads nowhere, is read again. A dump does not change.</summary>
    public T Settled<T>(Func<LinuxKernel, T> read)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                cancel.ThrowIfCancellationRequested();
                (_tasks, _byAddress) = (null, null);
                return read(Kernel);
            }
            catch (Exception e) when (attempt < Retries && source.Kind != SourceKind.Dump && e is GuestMemoryException or KernelShapeException)
            {
                // Again.
            }
        }
    }

    /// <summary>Reads while the machine stands still, with the registers of its CPUs.</summary>
    public T Held<T>(Func<LinuxKernel, IReadOnlyList<VcpuRegisters>, T> read) => source.Hold(machine =>
    {
        // What was read before is of another moment.
        (_tasks, _byAddress) = (null, null);
        return read(machine.Image.KernelOver(machine.Memory), machine.Vcpus);
    }, cancel);

    /// <summary>All tasks, those that are on no list but on a CPU among them: the idle tasks, and one that is about to have exited. Of a dump that lacks pages, those that can be reached; a note says what could not.</summary>
    public IReadOnlyList<LinuxTask> TasksOf(LinuxKernel kernel)
    {
        if (_tasks is not null)
            return _tasks;
        var lost = new List<MemoryFault>();
        List<LinuxTask> tasks = LinuxTasks.Enumerate(kernel, Limits, source.Kind == SourceKind.Dump ? lost : null);
        if (lost.Count > 0)
            Note($"tasks are missing: {lost[0]}{(lost.Count > 1 ? $" and {lost.Count - 1} more places" : "")}");
        var seen = tasks.Select(t => t.Address).ToHashSet();
        foreach (int cpu in Cpus.Possible(kernel))
        {
            // The idle tasks of CPUs but the first are on no list; nor is a task that has left it at the end of its exit and still runs.
            foreach (Func<ulong> find in (Func<ulong>[])[() => kernel.Read(PerCpu.Address(kernel, "runqueues", cpu), "rq.idle"), () => PerCpu.CurrentTask(kernel, cpu)])
            {
                if (Try<LinuxTask?>(() => LinuxTasks.ReadTask(kernel, find()), null) is { } found && seen.Add(found.Address))
                    tasks.Add(found);
            }
        }

        return _tasks = tasks;
    }

    /// <summary>The first task of a pid: of pid 0 the idle task of the first CPU. Null where there is none.</summary>
    public LinuxTask? TaskOf(LinuxKernel kernel, int pid) => TasksOf(kernel).FirstOrDefault(t => t.Pid == pid);

    /// <summary>A task by its address, by name where it can be read.</summary>
    public TaskName NameOf(LinuxKernel kernel, ulong task)
    {
        _byAddress ??= Try(() => TasksOf(kernel).ToDictionary(t => t.Address), []);
        return (_byAddress.TryGetValue(task, out LinuxTask? known) ? known : Try<LinuxTask?>(() => LinuxTasks.ReadTask(kernel, task), null)) is { } found
            ? new TaskName(found.Pid, found.Comm, task) : new TaskName(null, null, task);
    }

    /// <summary>Says what could not be read.</summary>
    public void Note(string sentence) => _notes.Add(sentence);

    /// <summary>What a reader gives, or the fallback where memory can't be read or makes no sense: a fact fewer, no failure of the whole.</summary>
    public static T Try<T>(Func<T> read, T fallback)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return fallback;
        }
    }
}
