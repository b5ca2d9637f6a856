using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>A machine that stands still: its kernel, its memory, its registers.</summary>
/// <param name="Image">The kernel.</param>
/// <param name="Memory">Guest-physical memory.</param>
/// <param name="Vcpus">Registers of the CPUs, as far as they are known.</param>
public sealed record StandingMachine(RepairImage Image, IGuestMemory Memory, IReadOnlyList<VcpuRegisters> Vcpus);

/// <summary>What has to be of one moment: read while the machine stands still.</summary>
/// <param name="Evidence">The crash; null where none was found.</param>
/// <param name="WhyNoCrash">Why there is none.</param>
/// <param name="Cpus">Every CPU whose registers are known.</param>
/// <param name="Tasks">Tasks; null where they could not be read.</param>
/// <param name="Locks">Who waits for whom; null where that could not be told.</param>
/// <param name="Missing">What could not be read, in sentences.</param>
public sealed record MachineCapture(CrashEvidence? Evidence, string? WhyNoCrash, IReadOnlyList<CpuReport> Cpus, TaskFacts? Tasks, LockFacts? Locks, IReadOnlyList<string> Missing);

/// <summary>Says everything about a machine: the same for a dump and for a guest. What has to be of one moment is captured while it stands still; the rest is read afterwards.</summary>
/// <param name="image">The kernel.</param>
/// <param name="limits">Ceilings.</param>
public sealed class MachineReporter(RepairImage image, TargetLimits limits)
{
    /// <summary>Waiting tasks that a report shows.</summary>
    public const int MaxWaiting = 50;

    /// <summary>Lines of the kernel log that a report shows.</summary>
    private const int ConsoleLines = 120;

    private readonly CrashCapture _capture = new(image, limits);

    /// <summary>Reads what has to be of one moment.</summary>
    /// <param name="machine">The machine, standing still.</param>
    /// <param name="goesOn">It will run again: what the report of the crash needs is read now, and nothing of it later.</param>
    public MachineCapture Capture(StandingMachine machine, bool goesOn)
    {
        var missing = new List<string>();
        var sections = new Sections(missing, moves: false);
        LinuxKernel kernel = image.KernelOver(machine.Memory);
        CrashEvidence? evidence = new CrashFinder(image, _capture).TryFind(machine.Memory, machine.Vcpus, out CrashEvidence found, out string whyNot) ? found : null;
        var backtraces = new TaskBacktraces(kernel, limits, _capture.CodeMap);
        var lost = new List<MemoryFault>();
        IReadOnlyList<LinuxTask>? tasks = sections.Read("tasks", () => Tasks.Enumerate(kernel, limits, lost));
        if (lost.Count > 0)
            missing.Add($"tasks: {lost[0]}{(lost.Count > 1 ? $" and {lost.Count - 1} more places" : "")}: some tasks are not told of");
        var capture = new MachineCapture(
            evidence, evidence is null ? whyNot : null, [.. machine.Vcpus.Select(v => Cpu(kernel, machine.Memory, v, missing))],
            tasks is null ? null : sections.Read("waiting tasks", () => new TaskReader(kernel, backtraces).Read(tasks, MaxWaiting)),
            tasks is null ? null : sections.Read("locks", () => new LockReader(kernel, limits, _capture.CodeMap).Read(tasks, lost.Count == 0, backtraces, machine.Vcpus)), missing);
        if (goesOn && evidence is not null)
        {
            _capture.TouchForReport(evidence);
            evidence.Memory.Seal();
        }

        return capture;
    }

    /// <summary>Goes once through what <see cref="Capture"/> reads, while the guest runs: pages of the image come in and members are looked up, so that the guest stands still for less. What it
    /// finds is thrown away.</summary>
    public void Rehearse(IGuestMemory memory)
    {
        try
        {
            Capture(new StandingMachine(image, memory, []), goesOn: false);
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            // The guest runs: what does not fit together now will when it stands still.
        }
    }

    /// <summary>The report. What the machine's source lacks is the caller's to add.</summary>
    /// <param name="capture">What was captured of it.</param>
    /// <param name="memory">Guest-physical memory, as it is now.</param>
    /// <param name="moment">Whether the machine runs meanwhile.</param>
    /// <param name="source">The source as the user named it.</param>
    /// <param name="kind">What kind of source it is.</param>
    /// <param name="description">One line about it.</param>
    public MachineReport Write(MachineCapture capture, IGuestMemory memory, StateMoment moment, string source, SourceKind kind, string description)
    {
        var missing = new List<string>(capture.Missing);
        var sections = new Sections(missing, moment == StateMoment.Running);
        LinuxKernel kernel = image.KernelOver(memory);
        MachineReading reading = new MachineStateReader(image, memory, moment, limits).Read(capture.Evidence);
        missing.AddRange(reading.Missing);
        CrashReport? crash = capture.Evidence is null ? null : new CrashReporter(limits).Write(capture.Evidence).Report with { Values = reading.Values, Surroundings = reading.Surroundings };
        IReadOnlyList<ConsoleLine> log = sections.Read("kernel log", () => Printk.Tail(kernel, int.MaxValue, limits).Select(r => new ConsoleLine(r.TimestampNs, r.Text)).ToList()) ?? [];
        var report = new MachineReport
        {
            Source = source, Kind = kind, Description = description, Kernel = new KernelFactsReader(kernel, missing).Read(), Crash = crash, WhyNoCrash = capture.WhyNoCrash,
            Cpus = capture.Cpus, Tasks = capture.Tasks, Locks = capture.Locks, State = reading.State,
            Modules = sections.Read("modules", () => Modules.Enumerate(kernel, limits).Select(Module).ToList()) ?? [],
            Logged = Logged(log),
            Console = [.. log.TakeLast(ConsoleLines)],
            Missing = missing,
        };
        return report with { Findings = [.. MachineFindings.Of(report), .. reading.Findings] };
    }

    /// <summary>What the kernel's own log reports, read by the same rules as a console's.</summary>
    private static List<LoggedReport> Logged(IReadOnlyList<ConsoleLine> log)
    {
        using var text = new StringReader(string.Join('\n', log.Select(MachineMarkdown.LogLine)));
        return [.. ConsoleLogDiagnosis.Diagnose(text, FormatLimits.Default).Reports.Select(r => new LoggedReport(r.Title, r.Bucket, r.Kind, r.Rank, r.Location, r.TimestampNs))];
    }

    private CpuReport Cpu(LinuxKernel kernel, IGuestMemory memory, VcpuRegisters vcpu, List<string> missing)
    {
        CrashCapture.CapturedCpu cpu = _capture.Open(memory, vcpu);
        missing.AddRange(cpu.Unavailable.Select(u => $"vCPU {vcpu.Vcpu}: {u}"));
        ReportTask? task = cpu.Task is { } t ? Frames.Task(kernel, t) : null;
        if (vcpu.IsUserMode)
            return new CpuReport(vcpu.Vcpu, cpu.Cpu, task, true, [], null);
        Kernel.Unwind.Backtrace stack = _capture.UnwinderOf(cpu).Unwind(Kernel.Unwind.UnwindStart.From(vcpu));
        return new CpuReport(vcpu.Vcpu, cpu.Cpu, task, false, Frames.Of(image, stack), Frames.WhyIncomplete(stack));
    }

    private static ModuleReport Module(LinuxModule module) => new(
        module.Name, module.Memory.FirstOrDefault(m => m.IsText).Start, module.Size, module.Taints == 0 ? "" : Taints.Letters(module.Taints),
        module.State switch { 0 => "live", 1 => "coming", 2 => "going", _ => "unformed" });
}
