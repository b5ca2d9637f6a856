using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>What validators look at. What several of them need is read once a look: <see cref="Again"/> makes the next look's.</summary>
/// <remarks>Not for concurrent use.</remarks>
/// <param name="kernel">The kernel.</param>
/// <param name="limits">Ceilings.</param>
public sealed class CheckContext(LinuxKernel kernel, TargetLimits limits)
{
    private IReadOnlyList<LinuxTask>? _tasks;
    private bool _lostTasks;
    private Lazy<KnownText>? _text;
    private HashSet<ulong>? _idle;

    /// <summary>The kernel.</summary>
    public LinuxKernel Kernel { get; } = kernel;

    /// <summary>Ceilings.</summary>
    public TargetLimits Limits { get; } = limits;

    /// <summary>The guest runs while it is read: what is broken is looked at again.</summary>
    public bool IsLive { get; init; }

    /// <summary>An image of the same boot made earlier, to compare text with; null where there is none.</summary>
    public RepairImage? Pristine { get; init; }

    /// <summary>Objects of one kind that a validator looks at, at most.</summary>
    public int MaxObjects { get; init; } = 200_000;

    /// <summary>Ends the work.</summary>
    public CancellationToken Cancel { get; init; }

    /// <summary>The same, nothing of it read yet.</summary>
    public CheckContext Again() => new(Kernel, Limits) { IsLive = IsLive, Pristine = Pristine, MaxObjects = MaxObjects, Cancel = Cancel };

    /// <summary>All tasks as far as the lists lead to them.</summary>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not close.</exception>
    internal IReadOnlyList<LinuxTask> Tasks => _tasks ??= ReadTasks();

    /// <summary>What is not among <see cref="Tasks"/> is no task. False where a part of the lists is not in the dump.</summary>
    internal bool HasAllTasks => Tasks is not null && !_lostTasks;

    /// <summary>Addresses of the idle tasks of all CPUs, which are on no list but for the first.</summary>
    internal IReadOnlySet<ulong> IdleTasks => _idle ??= [.. Cpus.Possible(Kernel).Select(cpu => Kernel.Read(PerCpu.Address(Kernel, "runqueues", cpu), "rq.idle"))];

    /// <summary>Text of the kernel and of the modules as they are now.</summary>
    /// <exception cref="GuestMemoryException">They can't be told. That is found out once: each timer and each wait queue asks.</exception>
    /// <exception cref="KernelShapeException">The list of modules does not close.</exception>
    internal KnownText Text => (_text ??= new Lazy<KnownText>(() => Settled(() => KnownText.Of(Kernel, Limits)), LazyThreadSafetyMode.ExecutionAndPublication)).Value;

    /// <summary>Over a running guest a walk can be led astray by what moves: it is begun again a few times.</summary>
    internal T Settled<T>(Func<T> read)
    {
        const int attempts = 10;
        for (int attempt = 1; ; attempt++)
        {
            Cancel.ThrowIfCancellationRequested();
            try
            {
                return read();
            }
            catch (Exception e) when (IsLive && attempt < attempts && e is GuestMemoryException or KernelShapeException)
            {
                // It moved.
            }
        }
    }

    private IReadOnlyList<LinuxTask> ReadTasks()
    {
        try
        {
            return Settled(() => Panacea.Kernel.Subsystems.Tasks.Enumerate(Kernel, Limits));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            // What is broken in the lists is the task validator's to tell; the others take what can be reached.
            var read = new List<LinuxTask>();
            foreach (ulong task in TaskValidator.Reachable(this, out _lostTasks))
            {
                try
                {
                    read.Add(Panacea.Kernel.Subsystems.Tasks.ReadTask(Kernel, task));
                }
                catch (Exception unreadable) when (unreadable is GuestMemoryException or KernelShapeException)
                {
                    // One fewer.
                    _lostTasks |= unreadable is GuestMemoryException { Fault.Kind: MemoryFaultKind.NotCaptured };
                }
            }

            return read;
        }
    }
}

/// <summary>Where code may lie: text of the kernel, and of the modules that are loaded now, which may be others than those of the image.</summary>
internal sealed class KnownText
{
    private readonly ulong _start, _end;
    private readonly List<ModuleMemory> _modules;

    private KnownText(ulong start, ulong end, List<ModuleMemory> modules) => (_start, _end, _modules) = (start, end, modules);

    public static KnownText Of(LinuxKernel kernel, TargetLimits limits)
    {
        List<ModuleMemory> text = kernel.HasSymbol("modules") && kernel.Image.Types.IsPresent
            ? [.. Modules.Enumerate(kernel, limits).SelectMany(m => m.Memory).Where(m => m.IsText)] : [];
        return new KnownText(kernel.Image.Meta.TextStart, kernel.Image.Meta.TextEnd, text);
    }

    /// <summary>Code of the kernel proper.</summary>
    public bool IsKernel(ulong address) => address >= _start && address < _end;

    /// <summary>Code of the kernel or of a module.</summary>
    public bool Contains(ulong address) => IsKernel(address) || _modules.Exists(m => unchecked(address - m.Start) < m.Size);
}
