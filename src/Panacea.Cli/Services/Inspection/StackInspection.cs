using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using LinuxTasks = Panacea.Kernel.Subsystems.Tasks;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Stacks of a kernel: of a task on a CPU from that CPU's registers, of another from what the scheduler left on its stack.</summary>
internal sealed class StackInspection(KernelLook look) : IStackInspection
{
    public IReadOnlyList<BacktraceRow> OfCpus() => look.Held((kernel, vcpus) =>
    {
        var code = new CodeMap(kernel.Image);
        return (IReadOnlyList<BacktraceRow>)[.. vcpus.Select(registers => OfCpu(kernel, code, registers))];
    });

    public IReadOnlyList<BacktraceRow> OfAllTasks() => look.Held((kernel, vcpus) =>
    {
        var code = new CodeMap(kernel.Image);
        Dictionary<ulong, VcpuRegisters> running = Running(kernel, vcpus);
        var backtraces = new TaskBacktraces(kernel, KernelLook.Limits, code);
        return (IReadOnlyList<BacktraceRow>)[.. look.TasksOf(kernel).OrderBy(t => t.Pid).Select(t => OfTask(kernel, backtraces, running, t))];
    });

    public BacktraceRow? Of(int pid) => look.Held((kernel, vcpus) =>
        look.TaskOf(kernel, pid) is { } task ? OfTask(kernel, new TaskBacktraces(kernel, KernelLook.Limits), Running(kernel, vcpus), task) : null);

    private static Dictionary<ulong, VcpuRegisters> Running(LinuxKernel kernel, IReadOnlyList<VcpuRegisters> vcpus)
    {
        var running = new Dictionary<ulong, VcpuRegisters>();
        foreach (VcpuRegisters vcpu in vcpus)
        {
            if (KernelLook.Try(() => PerCpu.CpuOf(kernel, vcpu) is { } cpu ? PerCpu.CurrentTask(kernel, cpu) : 0, 0UL) is var task and not 0)
                running.TryAdd(task, vcpu);
        }

        return running;
    }

    private BacktraceRow OfTask(LinuxKernel kernel, TaskBacktraces backtraces, Dictionary<ulong, VcpuRegisters> running, LinuxTask task)
    {
        look.Cancel.ThrowIfCancellationRequested();
        if (running.TryGetValue(task.Address, out VcpuRegisters? registers))
            return OfCpu(kernel, backtraces.Code, registers);
        var row = new BacktraceRow(null, task.Pid, task.Comm, false, [])
        {
            Task = task.Address, Cpu = KernelLook.Try<int?>(() => TaskDetails.CpuOf(kernel, task.Address), null), State = task.State.ToString(),
        };
        try
        {
            Backtrace trace = backtraces.Of(task.Address).Trace;
            return row with { Frames = FramesOf(kernel.Image, trace), Ends = WhyEnds(trace) };
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return row with { Ends = e.Message };
        }
    }

    private static BacktraceRow OfCpu(LinuxKernel kernel, CodeMap code, VcpuRegisters registers)
    {
        int? cpu = null;
        LinuxTask? task = null;
        ulong address = 0;
        try
        {
            cpu = PerCpu.CpuOf(kernel, registers);
            address = cpu is { } number ? PerCpu.CurrentTask(kernel, number) : 0;
            task = address != 0 ? LinuxTasks.ReadTask(kernel, address) : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            // Then the stack is shown without its task.
        }

        var row = new BacktraceRow(registers.Vcpu, task?.Pid, task?.Comm, registers.IsUserMode, [])
        {
            Task = address == 0 ? null : address, Cpu = cpu, State = task?.State.ToString(),
        };
        if (registers.IsUserMode)
            return row;
        var stacks = new StackMap([.. Kernel.Subsystems.Stacks.Of(kernel, cpu, address).Select(s => s.BoundsOn(cpu))]);
        Backtrace trace = new OrcUnwinder(kernel.Image, code, kernel.Image, kernel.Space, stacks, KernelLook.Limits).Unwind(UnwindStart.From(registers));
        return row with { Frames = FramesOf(kernel.Image, trace), Ends = WhyEnds(trace) };
    }

    private static IReadOnlyList<FrameRow> FramesOf(RepairImage image, Backtrace trace) => [.. trace.Frames.Select(frame =>
    {
        string location = image.Symbolize(frame.Point.LookupAddress) is { } at
            ? (at with { Offset = at.Offset + unchecked(frame.Ip - frame.Point.LookupAddress) }).ToString() : $"0x{frame.Ip:x16}";
        return new FrameRow(frame.Ip, location, frame.Reliability == FrameReliability.Exact) { Sp = frame.Sp, Stack = frame.Stack.ToString().ToLowerInvariant() };
    })];

    private static string? WhyEnds(Backtrace trace) => trace.IsComplete ? null : $"the proved part ends here: {trace.End} at 0x{trace.EndAddress:x} {trace.Detail}".TrimEnd();
}
