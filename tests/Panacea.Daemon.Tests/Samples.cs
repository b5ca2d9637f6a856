using Panacea.Diagnosis;
using Panacea.Diagnosis.Validators;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Control;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Daemon.Tests;

/// <summary>An incident with every member set.</summary>
internal static class Samples
{
    public static Incident Incident(string id = "20261123T140500Z-4f2a") => new()
    {
        Id = id,
        Vm = "qmp:/run/vm1.qmp",
        At = new DateTimeOffset(2026, 11, 23, 14, 5, 0, 123, TimeSpan.Zero),
        Mode = GuardMode.Full,
        Policy = new PolicyInForce("/etc/panacea/policy.yaml:12", GuardPolicy.Rungs, 2000, 2000, 20, 60_000, 2, false, QuarantineKind.Kill, FallbackAction.Reset, "/var/lib/panacea/dumps", true, 2000, 10, true),
        DeathPoint = "oops_end",
        Repair = RepairKind.ErrorReturn,
        Outcome = IncidentOutcome.Recovered,
        OutcomeReason = "The guest was seen to live.",
        StoppedUs = 4210,
        StoppedSource = "qemu",
        Lost = ["the write() of pid 321 returned -EIO"],
        Ladder = [new LadderStep(RepairKind.ErrorReturn, true, "crash_a returned -5 to its caller", ["a lock may be held"], RungVerdict.Taken),
            new LadderStep(RepairKind.Kill, false, "not needed", [], RungVerdict.Declined)],
        Journal = [new JournalLine("0xffffc90000123f58", "00000000", "fbffffff", "pt_regs.ax := -EIO")],
        Timeline = [new TimelineEntry("detected", 0), new TimelineEntry("evidence-read", 900), new TimelineEntry("resumed", 4210)],
        Health = new HealthResult(true, ["vCPU 0: 250 ticks", "vCPU 1: 250 ticks"]),
        CheckUp = new StructureReport(
            [new StructureCheck("stacks", CheckOutcome.Broken, 412, 1), new StructureCheck("modules", CheckOutcome.Ok, 20, 0)],
            [new Finding("check.stacks.end-magic", "the last word of the stack is 0x41", ["expected 0x57ac6e9d"], Confidence.High)], ["slabs: the time was up"]),
        Report = Report(),
        Fallback = new FallbackResult
        {
            Action = FallbackAction.KeepStopped, Next = "cont", Errors = ["one thing could not be done"],
            Dump = new DumpRecord("/srv/dumps/20261123T140500Z-4f2a.vmcore", 61_210_624, 58_000_000, 536_870_912, 31, new LeftOutBytes(402_653_184, 41_943_040, 1_048_576, 30_015_488, 0), null, 240_000),
        },
        Rehearsal = new RehearsalRecord(
            "the first plan is of low confidence",
            [new RehearsedPlan(RepairKind.ErrorReturn, "crash_a returned -5 to its caller", TrialVerdict.Lives, ["jiffies 1 → 2"], 240_100), new RehearsedPlan(RepairKind.Unwind, "crash_b", TrialVerdict.Dies, ["the copy dies again, in a|b"], 200_000)],
            445_000, null),
        Fuse = new FuseLine("crash_c", "crashtest", "0xffffffffc0401000", "-EIO"),
        Console = [new ConsoleLine(12_345_678_901, "BUG: kernel NULL pointer dereference, address: 0000000000000010"), new ConsoleLine(12_345_679_000, "\x1b[31mred")],
        Errors = ["one page of the stack could not be read"],
    };

    public static CrashReport Report() => new()
    {
        Title = "NULL write in crash_c [crashtest]",
        Bucket = "null-write:crashtest:crash_c",
        Kind = CrashKind.NullWrite,
        Cause = "crash_c wrote through a NULL pointer.",
        Context = CrashContext.Process,
        Vcpu = 1,
        Location = new CodeLocation(0xffffffffc0401012, "crash_c", 0x12, 0x30, "crashtest"),
        Fault = new ReportFault("write", 0x10, "NULL + 0x10", "mov dword [rax+0x10], 0x2a", "%rax = 0x0"),
        Task = new ReportTask(0xffff888001234000, 321, 321, "trouble", "sh -c echo", false),
        Stack = [new ReportFrame(new CodeLocation(0xffffffffc0401012, "crash_c", 0x12, 0x30, "crashtest"), 0xffffc90000123e00, true, true, "task")],
        Registers = new Dictionary<string, ulong> { ["rip"] = 0xffffffffc0401012 },
        Taint = "G           OE",
        KernelRelease = "6.1.0-41-cloud-amd64",
        BuildId = "0123abcd",
        PanicMessage = "Fatal exception",
        Disassembly = ["> ffffffffc0401012: mov dword [rax+0x10], 0x2a"],
        Findings = [new Finding("text.pristine", "The faulting code is unaltered.", ["crc 1234"], Confidence.High)],
        Unavailable = ["the user stack: not mapped"],
    };
}
