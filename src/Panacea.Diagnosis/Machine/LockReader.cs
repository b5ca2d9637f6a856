using Panacea.Diagnosis.Rendering;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>Who waits for whom, in words for a report.</summary>
internal sealed class LockReader(LinuxKernel kernel, TargetLimits limits, CodeMap code)
{
    /// <param name="tasks">The tasks.</param>
    /// <param name="all">They are all tasks that there were. Else an owner who is not among them is not known to be gone.</param>
    /// <param name="backtraces">Reads their stacks.</param>
    /// <param name="vcpus">Registers of the CPUs.</param>
    public LockFacts Read(IReadOnlyList<LinuxTask> tasks, bool all, TaskBacktraces backtraces, IReadOnlyList<VcpuRegisters> vcpus)
    {
        WaitGraph graph = WaitGraph.Build(kernel, tasks, backtraces, limits);
        var byAddress = tasks.ToDictionary(t => t.Address);
        return new LockFacts(
            [.. graph.Chains.Select(c => new LockChain(MarkdownReport.Kebab(!all && c.End == ChainEnd.OwnerGone && !byAddress.ContainsKey(c.Last) ? ChainEnd.OwnerUnknown : c.End), [.. c.Links.Select(l => Link(l, byAddress))]))],
            [.. new SpinningCpus(kernel, limits, code).Find(vcpus).Select(Spin)]);
    }

    private static LockWaitReport Link(LockEdge edge, Dictionary<ulong, LinuxTask> tasks)
    {
        LinuxTask? waiter = tasks.GetValueOrDefault(edge.Wait.Task);
        LinuxTask? owner = edge.State is { Owner: not 0 } state ? tasks.GetValueOrDefault(state.Owner) : null;
        return new LockWaitReport(waiter?.Pid, waiter?.Comm, MarkdownReport.Kebab(edge.Wait.Kind), edge.Wait.Lock, Name(edge.Symbol), owner?.Pid, owner?.Comm);
    }

    private static SpinReport Spin(SpinningCpu spinning) => new(
        spinning.Cpu, spinning.Lock, Name(spinning.Symbol), spinning.Caller?.ToString(), spinning.PossibleHolders, spinning.IsSelfDeadlock,
        spinning.IsSure ? Confidence.High : Confidence.Medium);

    private static string? Name(SymbolLocation? symbol) =>
        symbol is null ? null : (symbol.Offset == 0 ? symbol.Name : $"{symbol.Name}+0x{symbol.Offset:x}") + (symbol.Module is null ? "" : $" [{symbol.Module}]");
}
