using System.Buffers;
using Panacea.Formats.ConsoleLog.Detectors;

namespace Panacea.Formats.ConsoleLog;

/// <summary>All detectors, in the order in which they are asked: of two that know a line, the more special one first.</summary>
internal static class DetectorList
{
    public static ReportDetector Fragment { get; } = new FragmentDetector();

    public static IReadOnlyList<ReportDetector> All { get; } =
    [
        new PageFaultDetector(), new GeneralProtectionDetector(), new InvalidOpcodeDetector(), new DivideErrorDetector(), new Int3Detector(), new StackSegmentDetector(), new DoubleFaultDetector(),
        new StackOverflowDetector(), new ControlProtectionDetector(), new AlignmentCheckDetector(), new KernelBugDetector(), new WarningDetector(), new StackCorruptionDetector(), new PanicDetector(),
        new HungTaskDetector(), new SoftLockupDetector(), new HardLockupDetector(), new RcuStallDetector(), new ListCorruptionDetector(), new UsercopyDetector(), new RefcountDetector(),
        new KasanDetector(), new UbsanDetector(), new KfenceDetector(), new KcsanDetector(), new KmsanDetector(), new MemoryLeakDetector(), new LockdepDetector(), new RcuUsageDetector(),
        new SleepInAtomicDetector(), new ScheduleInAtomicDetector(), new OutOfMemoryDetector(), new SlabCorruptionDetector(), new BadPageDetector(), new BadPageMapDetector(),
        new AllocationFailureDetector(), new MachineCheckDetector(), new UnknownNmiDetector(), new FilesystemErrorDetector(), new IoErrorDetector(), new SysrqDetector(), new OtherTrapDetector(),
    ];

    /// <summary>Each headline holds one of these; a line without any is asked about no further.</summary>
    private static readonly SearchValues<string> Marks = SearchValues.Create(
    [
        "BUG", "WARNING: ", "INFO: ", "Kernel panic", " [#", "Oops", "LOCKUP", "_add corruption", "_del corruption", "list_add double", "klist", "usercopy: ", "refcount_t: ", "UBSAN: ", "kmemleak: ", "unreferenced object",
        " invoked oom-killer", "ut of memory", "cache_from_obj", "Wrong slab cache", "virt_to_cache", "First byte 0x", "allocation failure", "vmalloc error", "[Hardware Error]", "NMI", "-fs error", "XFS (", "BTRFS ", "rror, dev ", "I/O error",
        "sysrq", "SysRq", "kernel tried to execute", "unable to ", "Missing ENDBR", "CFI failure", "PANIC: double fault", "Kernel stack overflow", "Thread overran stack",
    ], StringComparison.Ordinal);

    /// <summary>The detector whose headline a line is; null where it is none's.</summary>
    public static ReportDetector? Find(string text, List<LogFact> facts)
    {
        if (text.Length < 8 || !text.AsSpan().ContainsAny(Marks))
            return null;
        foreach (ReportDetector detector in All)
        {
            if (detector.Starts(text, facts))
                return detector;
            facts.Clear();
        }

        return null;
    }
}
