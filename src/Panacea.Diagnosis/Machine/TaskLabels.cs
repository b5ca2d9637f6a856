using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Machine;

/// <summary>Names of tasks as reports print them.</summary>
internal sealed class TaskLabels(LinuxKernel kernel, IReadOnlyList<LinuxTask> tasks)
{
    private readonly Dictionary<ulong, LinuxTask> _byAddress = tasks.DistinctBy(t => t.Address).ToDictionary(t => t.Address);

    /// <summary>A task by its address; one that is on no list (an idle task) is read.</summary>
    public TaskLabel Of(ulong task) => (_byAddress.GetValueOrDefault(task) ?? Sections.Try<LinuxTask?>(() => Tasks.ReadTask(kernel, task), null)) is { } found
        ? new TaskLabel(found.Pid, found.Comm) : new TaskLabel(null, null);

    /// <summary>A task by its address where it is on the list.</summary>
    public LinuxTask? Find(ulong task) => _byAddress.GetValueOrDefault(task);
}
