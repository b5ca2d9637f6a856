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

/// <summary>Says everything about a machine that stands still: the same for a dump and for a guest that is held.</summary>
/// <param name="machine">The machine.</param>
/// <param name="limits">Ceilings.</param>
public sealed class MachineReporter(StandingMachine machine, TargetLimits limits)
{
    /// <summary>Waiting tasks that a report shows.</summary>
    public const int MaxWaiting = 50;

    /// <summary>Lines of the kernel log that a report shows.</summary>
    private const int ConsoleLines = 120;

    private readonly LinuxKernel _kernel = machine.Image.KernelOver(machine.Memory);
    private readonly List<string> _missing = [];

    /// <summary>The report, and the evidence of the crash that it tells of; null where there is none. What the machine's source lacks is the caller's to add.</summary>
    /// <param name="source">The source as the user named it.</param>
    /// <param name="kind">What kind of source it is.</param>
    /// <param name="description">One line about it.</param>
    public (MachineReport Report, CrashEvidence? Evidence) Write(string source, SourceKind kind, string description)
    {
        var capture = new CrashCapture(machine.Image, limits);
        var finder = new CrashFinder(machine.Image, capture);
        CrashReport? crash = null;
        if (finder.TryFind(machine.Memory, machine.Vcpus, out CrashEvidence evidence, out string whyNot))
            (crash, _) = new CrashReporter(limits).Write(evidence);
        var backtraces = new TaskBacktraces(_kernel, limits, capture.CodeMap);
        IReadOnlyList<LinuxTask>? tasks = Try("tasks", () => Tasks.Enumerate(_kernel, limits));
        IReadOnlyList<ConsoleLine> log = Try("kernel log", () => Printk.Tail(_kernel, int.MaxValue, limits).Select(r => new ConsoleLine(r.TimestampNs, r.Text)).ToList()) ?? [];
        var report = new MachineReport
        {
            Source = source, Kind = kind, Description = description, Kernel = new KernelFactsReader(_kernel, _missing).Read(), Crash = crash, WhyNoCrash = crash is null ? whyNot : null,
            Cpus = [.. machine.Vcpus.Select(v => Cpu(capture, v))],
            Tasks = tasks is null ? null : Try("waiting tasks", () => new TaskReader(_kernel, backtraces).Read(tasks, MaxWaiting)),
            Locks = tasks is null ? null : Try("locks", () => new LockReader(_kernel, limits, capture.CodeMap).Read(tasks, backtraces, machine.Vcpus)),
            Modules = Try("modules", () => Modules.Enumerate(_kernel, limits).Select(Module).ToList()) ?? [],
            Logged = Logged(log),
            Console = [.. log.TakeLast(ConsoleLines)],
            Missing = _missing,
        };
        return (report with { Findings = MachineFindings.Of(report) }, crash is null ? null : evidence);
    }

    /// <summary>What the kernel's own log reports, read by the same rules as a console's.</summary>
    private static List<LoggedReport> Logged(IReadOnlyList<ConsoleLine> log)
    {
        using var text = new StringReader(string.Join('\n', log.Select(MachineMarkdown.LogLine)));
        return [.. ConsoleLogDiagnosis.Diagnose(text, FormatLimits.Default).Reports.Select(r => new LoggedReport(r.Title, r.Bucket, r.Kind, r.Rank, r.Location))];
    }

    private CpuReport Cpu(CrashCapture capture, VcpuRegisters vcpu)
    {
        CrashCapture.CapturedCpu cpu = capture.Open(machine.Memory, vcpu);
        _missing.AddRange(cpu.Unavailable.Select(u => $"vCPU {vcpu.Vcpu}: {u}"));
        ReportTask? task = cpu.Task is { } t ? Frames.Task(_kernel, t) : null;
        if (vcpu.IsUserMode)
            return new CpuReport(vcpu.Vcpu, cpu.Cpu, task, true, [], null);
        Kernel.Unwind.Backtrace stack = capture.UnwinderOf(cpu).Unwind(Kernel.Unwind.UnwindStart.From(vcpu));
        return new CpuReport(vcpu.Vcpu, cpu.Cpu, task, false, Frames.Of(machine.Image, stack), Frames.WhyIncomplete(stack));
    }

    private static ModuleReport Module(LinuxModule module) => new(
        module.Name, module.Memory.FirstOrDefault(m => m.IsText).Start, module.Size, module.Taints == 0 ? "" : Taints.Letters(module.Taints),
        module.State switch { 0 => "live", 1 => "coming", 2 => "going", _ => "unformed" });

    private T? Try<T>(string what, Func<T> read)
        where T : class
    {
        try
        {
            return read();
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            _missing.Add($"{what}: {e.Message}");
            return null;
        }
    }
}
