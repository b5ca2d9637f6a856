using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>Writes the report of a crash from its evidence, after the guest runs again.</summary>
/// <param name="limits">Ceilings.</param>
public sealed class CrashReporter(TargetLimits limits)
{
    /// <summary>The report, and the tail of the kernel log as of the crash.</summary>
    public (CrashReport Report, IReadOnlyList<ConsoleLine> Console) Write(CrashEvidence evidence)
    {
        var unavailable = new List<string>(evidence.Unavailable);
        ReportInputs inputs = ReportInputs.Read(evidence, limits, unavailable);
        RepairImage image = evidence.Kernel.Image;
        CodeLocation location = Locate(evidence);
        IReadOnlyList<StackFrame> shown = Ends(evidence.Stack.Frames, limits.MaxStackFrames);
        if (shown.Count < evidence.Stack.Frames.Count)
            unavailable.Add($"{evidence.Stack.Frames.Count - shown.Count} frames in the middle of the stack are left out");
        var frames = shown.Select(f => new ReportFrame(
            Code(evidence, f), f.Sp, f.Reliability == FrameReliability.Exact, f.IsTrap, f.Stack.ToString().ToLowerInvariant())).ToList();
        if (!evidence.Stack.IsComplete)
            unavailable.Add($"the stack past frame {frames.Count(f => f.Reliable)}: {evidence.Stack.End} at 0x{evidence.Stack.EndAddress:x} {evidence.Stack.Detail}".TrimEnd());

        string cause = Causes.Sentence(evidence.Kind, Causes.Where(location), At(evidence), evidence.Crash.Ip, inputs.PanicMessage, Caller(evidence));
        var report = new CrashReport
        {
            Title = Causes.Title(evidence.Kind, Causes.Where(location), inputs.PanicMessage),
            Bucket = Buckets.Of(evidence.Kind, location, frames),
            Kind = evidence.Kind,
            Cause = cause,
            Context = evidence.Context,
            Vcpu = evidence.Vcpu.Vcpu,
            Location = location,
            Fault = Fault(evidence),
            Task = evidence.Task is { } t ? new ReportTask(t.Address, t.Pid, t.Tgid, t.Comm, inputs.CommandLine, t.IsKernelThread) : null,
            Stack = frames,
            Registers = Registers(evidence),
            Taint = inputs.Taint,
            KernelRelease = image.Meta.Release,
            BuildId = image.Meta.BuildId,
            PanicMessage = inputs.PanicMessage,
            Disassembly = Disassemble(evidence),
            Findings = Findings(evidence),
            Unavailable = unavailable,
        };
        return (report, inputs.Console);
    }

    /// <summary>Both ends of a stack that a recursion has filled: what it ended in, and what began it.</summary>
    private static IReadOnlyList<StackFrame> Ends(IReadOnlyList<StackFrame> frames, int most) =>
        frames.Count <= most ? frames : [.. frames.Take(most / 2), .. frames.Skip(frames.Count - (most - (most / 2)))];

    private static string? At(CrashEvidence evidence) =>
        evidence.Fault?.Address is { } address ? Causes.At(address, evidence.Fault.Class) : null;

    private static string? Caller(CrashEvidence evidence)
    {
        if (evidence.FaultyFrame is not { } index || index + 1 >= evidence.Stack.Frames.Count)
            return null;
        StackFrame frame = evidence.Stack.Frames[index + 1];
        return frame.Reliability == FrameReliability.Exact ? evidence.LocationOf(frame)?.Name : null;
    }

    private static CodeLocation Locate(CrashEvidence evidence) =>
        (evidence.Hang?.Stall?.Queue.Callback ?? evidence.Hang?.Timer?.Function) is { } named
            ? evidence.Kernel.Image.Symbolize(named) is { } l ? new CodeLocation(named, l.Name, l.Offset, l.Size, l.Module) : new CodeLocation(named, null, 0, 0, null)
        : evidence.Faulty is { } faulty ? Code(evidence, faulty)
        : evidence.Stack.Frames.Count > 0 ? Code(evidence, evidence.Stack.Frames[0])
        : new CodeLocation(evidence.Crash.Ip, null, 0, 0, null);

    private static CodeLocation Code(CrashEvidence evidence, StackFrame frame) =>
        evidence.LocationOf(frame) is { } l ? new CodeLocation(frame.Ip, l.Name, l.Offset, l.Size, l.Module) : new CodeLocation(frame.Ip, null, 0, 0, null);

    private static ReportFault? Fault(CrashEvidence evidence)
    {
        if (evidence.Fault is not { } fault)
            return null;
        string access = fault.Kind switch
        {
            AccessKind.Read => "read",
            AccessKind.Write => "write",
            AccessKind.Execute => "execute",
            _ => "none",
        };
        string? instruction = Disassembly.Around(
            new LiveCode(evidence.Kernel.Space), new FunctionRange(evidence.Crash.Ip, unchecked(evidence.Crash.Ip + 15), ""), evidence.Crash.Ip, 0, 0, a => Name(evidence, a)).FirstOrDefault()?.Text;
        string? bad = fault.BadRegister is { } r ? $"%{r.Register.ToString().ToLowerInvariant()} = 0x{r.Value:x}" : null;
        return new ReportFault(access, fault.Address, fault.Class?.ToString(), instruction, bad, FaultOrigins.Of(evidence));
    }

    private static string? Name(CrashEvidence evidence, ulong address) => evidence.Kernel.Image.Symbolize(address) is { } l
        ? l.Offset == 0 ? l.Name : $"{l.Name}+0x{l.Offset:x}"
        : null;

    private static List<string> Disassemble(CrashEvidence evidence)
    {
        ulong at = evidence.Faulty?.Point.LookupAddress ?? evidence.Crash.Ip;
        if (!evidence.Kernel.Image.TryFindFunction(at, out FunctionRange function))
            return [];
        ulong address = evidence.Faulty is { IsTrap: true } or null ? at : evidence.Faulty!.Ip;
        return [.. Disassembly.Around(evidence.Kernel.Image, function, address, 8, 4, a => Name(evidence, a)).Select(l => l.ToString())];
    }

    private static Dictionary<string, ulong> Registers(CrashEvidence evidence)
    {
        var registers = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (Gpr register in Enum.GetValues<Gpr>())
            registers[register.ToString().ToLowerInvariant()] = evidence.Crash.Gpr[register];
        registers["rip"] = evidence.Crash.Ip;
        registers["rflags"] = evidence.Crash.Flags;
        registers["cr2"] = evidence.Vcpu.Cr2;
        registers["cr3"] = evidence.Vcpu.Cr3;
        registers["gs_base"] = evidence.Vcpu.GsBase;
        return registers;
    }

    private static string Told(DiskStall stall) => stall.Kind switch
    {
        StallKind.AnswerUnheard => $"the device of {stall.Disk.Device.Name} has answered, and its driver has not looked",
        StallKind.RequestUntold => $"the driver of {stall.Disk.Device.Name} has offered requests, and the device waits to be told of them",
        StallKind.QueueStopped => $"the driver of {stall.Disk.Device.Name} has stopped its queue, and nothing is under way whose answer would start it",
        StallKind.QueueNotRun => $"requests of {stall.Disk.Device.Name} wait to be given to its driver, which has none, and nobody gives them to it",
        _ => $"requests of {stall.Disk.Device.Name} are with its driver, and its device has none",
    };

    private static List<Finding> Findings(CrashEvidence evidence)
    {
        var findings = new List<Finding>();
        if (evidence.Hang is { } hang)
        {
            findings.Add(hang.Stall is { } stall ? new Finding("hang.io", Told(stall), hang.Evidence, Confidence.High)
                : hang.Timer is not null ? new Finding("hang.tick", "the timer of the CPU's tick is in no queue, and the CPU has not said that it does without", hang.Evidence, Confidence.High)
                : hang.Wait is not null
                ? new Finding(
                    hang.HasCome ? "hang.lost-wake" : hang.IsOwnerGone ? "hang.orphan" : "hang.deadlock",
                    hang.HasCome ? "what the task waits for has come, and nobody has woken it" : hang.IsOwnerGone ? "the owner of the lock is no task any more" : "the tasks wait for each other", hang.Evidence, Confidence.High)
                : new Finding(hang.Kind == CrashKind.HardLockup ? "hang.irqs-off" : "hang.no-switch", $"the vCPU has run for {hang.Ran.TotalSeconds:0.0} s without getting on", hang.Evidence, Confidence.High));
        }

        if (evidence.PreemptCount is > 0 and { } count)
        {
            findings.Add(new Finding(
                "context.atomic", "the crash is in an atomic section: a spinlock is held, or preemption is disabled", [$"preempt_count & 0xff = {count}"], Confidence.High));
        }

        if (!evidence.Crash.InterruptsEnabled)
            findings.Add(new Finding("context.irqs-off", "interrupts were off when the kernel crashed", [$"rflags = 0x{evidence.Crash.Flags:x}"], Confidence.High));
        if (TextChanged(evidence) is { } changed)
            findings.Add(changed);
        if (evidence.WhyNoFaultyFrame is { } why)
            findings.Add(new Finding("stack.no-faulty-frame", why, [], Confidence.High));
        return findings;
    }

    /// <summary>The bytes that the CPU ran differ from the pristine text.</summary>
    private static Finding? TextChanged(CrashEvidence evidence)
    {
        Span<byte> live = stackalloc byte[15], pristine = stackalloc byte[15];
        ulong ip = evidence.Crash.Ip;
        if (evidence.PtRegsAddress == 0 || !evidence.Kernel.Image.TryReadCode(ip, pristine)
            || !evidence.Kernel.Space.TryRead(new VirtualAddress(ip), live, out _) || live.SequenceEqual(pristine))
            return null;
        return new Finding(
            "text.changed", "the faulting instruction's bytes differ from the pristine text of the repair image",
            [$"0x{ip:x}: now {Convert.ToHexStringLower(live)}, pristine {Convert.ToHexStringLower(pristine)}"], Confidence.High);
    }
}
