using Panacea.Kernel;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Machine;

/// <summary>Tasks in numbers, and those that wait uninterruptibly with their stacks, the longest first.</summary>
internal sealed class TaskReader(LinuxKernel kernel, TaskBacktraces backtraces)
{
    public TaskFacts Read(IReadOnlyList<LinuxTask> tasks, int most)
    {
        var byState = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (LinuxTask task in tasks)
            byState[task.State.ToString()] = byState.GetValueOrDefault(task.State.ToString()) + 1;
        var times = new SleepTimes(kernel);
        IEnumerable<WaitingTask> waiting = tasks.Where(t => t.State == 'D').Select(t => Waiting(t, times)).OrderByDescending(w => w.SleptMs ?? 0).Take(most);
        return new TaskFacts(tasks.Count, byState, [.. waiting]);
    }

    private WaitingTask Waiting(LinuxTask task, SleepTimes times)
    {
        SleepTime? slept = null;
        IReadOnlyList<ReportFrame> stack = [];
        try
        {
            slept = times.Of(task.Address);
            stack = Frames.Of(kernel.Image, backtraces.Of(task.Address).Trace);
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            // A task whose stack can't be read is shown without it.
        }

        string? how = slept?.Source switch
        {
            SleepTimeSource.LastRun => "exact",
            SleepTimeSource.LastArrival => "at-most",
            SleepTimeSource.HungTaskCheck => "at-least",
            _ => null,
        };
        return new WaitingTask(Frames.Task(task), slept is { } s ? (long)(s.Ns / 1_000_000) : null, how, stack);
    }
}
