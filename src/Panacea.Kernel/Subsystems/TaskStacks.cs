using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Whose stack an address lies on.</summary>
/// <param name="Task">The task.</param>
/// <param name="Stack">Its stack.</param>
/// <param name="IsGuard">The address lies in the guard page below the stack: whoever accessed it overflowed the stack.</param>
public sealed record StackOwner(LinuxTask Task, KernelStack Stack, bool IsGuard);

/// <summary>The stacks of all tasks, to find whose an address lies on.</summary>
public sealed class TaskStacks
{
    private readonly List<(KernelStack Stack, LinuxTask Task)> _stacks = [];
    private readonly bool _hasGuards;

    private TaskStacks(bool hasGuards) => _hasGuards = hasGuards;

    /// <summary>Takes the stacks of tasks.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="layout">Its address space: stacks in vmalloc have guard pages (CONFIG_VMAP_STACK).</param>
    /// <param name="tasks">As <see cref="Tasks.Enumerate"/> gives them.</param>
    public static TaskStacks Of(LinuxKernel kernel, AddressLayout layout, IEnumerable<LinuxTask> tasks)
    {
        var stacks = new List<(KernelStack, LinuxTask)>();
        bool guards = false;
        foreach (LinuxTask task in tasks)
        {
            // A task that is gone since has no stack any more: one fewer.
            foreach (KernelStack stack in Stacks.Of(kernel, null, task.Address))
            {
                stacks.Add((stack, task));
                guards |= layout.RegionOf(stack.Start) == AddressRegion.Vmalloc;
            }
        }

        var map = new TaskStacks(guards);
        map._stacks.AddRange(stacks.OrderBy(s => s.Item1.Start));
        return map;
    }

    /// <summary>Whose stack or guard page an address lies on; null where it is nobody's.</summary>
    public StackOwner? Find(ulong address)
    {
        int low = 0, high = _stacks.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_stacks[middle].Stack.Start <= address)
                low = middle + 1;
            else
                high = middle;
        }

        if (low > 0 && _stacks[low - 1].Stack.Contains(address))
            return new StackOwner(_stacks[low - 1].Task, _stacks[low - 1].Stack, false);

        // The page below a vmapped stack is the guard page of the area before it or was never handed out (arch/x86/mm/fault.c, page_fault_oops).
        return _hasGuards && low < _stacks.Count && _stacks[low].Stack.Start - address <= KernelReads.PageSize
            ? new StackOwner(_stacks[low].Task, _stacks[low].Stack, true)
            : null;
    }
}
