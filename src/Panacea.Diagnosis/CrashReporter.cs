using System.Text;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
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
        var frames = evidence.Stack.Frames.Select(f => new ReportFrame(
            Code(evidence, f), f.Sp, f.Reliability == FrameReliability.Exact, f.IsTrap, f.Stack.ToString().ToLowerInvariant())).ToList();
        if (!evidence.Stack.IsComplete)
            unavailable.Add($"the stack past frame {frames.Count(f => f.Reliable)}: {evidence.Stack.End} at 0x{evidence.Stack.EndAddress:x} {evidence.Stack.Detail}".TrimEnd());

        string cause = Causes.Sentence(evidence, location, inputs.PanicMessage);
        var report = new CrashReport
        {
            Title = Causes.Title(evidence.Kind, location, inputs.PanicMessage),
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

    private static CodeLocation Locate(CrashEvidence evidence) =>
        evidence.Faulty is { } faulty ? Code(evidence, faulty)
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
            new LiveCode(evidence.Kernel.Space), new FunctionRange(evidence.Crash.Ip, evidence.Crash.Ip + 15, ""), evidence.Crash.Ip, 0, 0, a => Name(evidence, a)).FirstOrDefault()?.Text;
        string? bad = fault.BadRegister is { } r ? $"%{r.Register.ToString().ToLowerInvariant()} = 0x{r.Value:x}" : null;
        return new ReportFault(access, fault.Address, fault.Class?.ToString(), instruction, bad);
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

    private static List<Finding> Findings(CrashEvidence evidence)
    {
        var findings = new List<Finding>();
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

/// <summary>Words for a crash.</summary>
internal static class Causes
{
    public static string Title(CrashKind kind, CodeLocation location, string? panic)
    {
        string where = location.Function is null ? $"0x{location.Address:x}" : Buckets.Plain(location.Function) + (location.Module is null ? "" : $" [{location.Module}]");
        return kind == CrashKind.Panic && panic is not null ? $"panic in {where}: {panic}" : $"{Noun(kind)} in {where}";
    }

    public static string Sentence(CrashEvidence evidence, CodeLocation location, string? panic)
    {
        var text = new StringBuilder();
        string where = location.Function is null ? $"0x{location.Address:x}" : Buckets.Plain(location.Function) + (location.Module is null ? "" : $" [{location.Module}]");
        string at = evidence.Fault?.Address is { } address ? evidence.Fault.Class is { } c && c.Class != AddressClass.Wild ? $"{c} (0x{address:x})" : $"0x{address:x}" : "an unknown address";
        text.Append(evidence.Kind switch
        {
            CrashKind.NullRead or CrashKind.WildRead => $"{where} read from {at}",
            CrashKind.NullWrite or CrashKind.WildWrite or CrashKind.ReadOnlyWrite => $"{where} wrote to {at}",
            CrashKind.NullCall or CrashKind.WildCall => $"{where} called a function at 0x{evidence.Crash.Ip:x}, where there is none",
            CrashKind.UserAccess => $"{where} touched user memory at {at} in a way that is not permitted",
            CrashKind.GeneralProtection => $"{where} caused a general protection fault{(evidence.Fault?.Address is null ? "" : $" at {at}")}",
            CrashKind.Bug => $"{where} ran into BUG()",
            CrashKind.InvalidOpcode => $"{where} executed an invalid instruction",
            CrashKind.DivideError => $"{where} divided by zero or the quotient was too large",
            CrashKind.DoubleFault => $"{where} caused a double fault, as a rule a stack overflow",
            CrashKind.Panic => panic is null ? $"{where} called panic()" : $"{where} called panic(\"{panic}\")",
            _ => $"{where} trapped in a way that could not be told",
        });
        string? caller = Caller(evidence);
        if (caller is not null)
            text.Append($", called from {caller}");
        return text.ToString();
    }

    private static string? Caller(CrashEvidence evidence)
    {
        if (evidence.FaultyFrame is not { } index || index + 1 >= evidence.Stack.Frames.Count)
            return null;
        StackFrame frame = evidence.Stack.Frames[index + 1];
        return frame.Reliability == FrameReliability.Exact ? evidence.LocationOf(frame)?.Name : null;
    }

    private static string Noun(CrashKind kind) => kind switch
    {
        CrashKind.NullRead => "NULL read",
        CrashKind.NullWrite => "NULL write",
        CrashKind.NullCall => "call of a NULL pointer",
        CrashKind.WildRead => "read through a wild pointer",
        CrashKind.WildWrite => "write through a wild pointer",
        CrashKind.WildCall => "call of a wild pointer",
        CrashKind.ReadOnlyWrite => "write to read-only memory",
        CrashKind.UserAccess => "forbidden access to user memory",
        CrashKind.GeneralProtection => "general protection fault",
        CrashKind.Bug => "kernel BUG",
        CrashKind.InvalidOpcode => "invalid opcode",
        CrashKind.DivideError => "divide error",
        CrashKind.DoubleFault => "double fault",
        CrashKind.Panic => "panic",
        _ => "crash of unknown kind",
    };
}
