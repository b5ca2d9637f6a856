using Panacea.Lab.Bench;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Tests;

/// <summary>Tours and benchmarks as they come out when all goes well; tests spoil them.</summary>
internal static class Samples
{
    public static GuardEvent Recovered(string repair, params string[] lost) => new()
    {
        Event = "incident", Outcome = "recovered", Repair = repair, Title = "NULL write in crashtest_null_write [crashtest]", StoppedUs = 3400, Lost = lost,
        Record = "/x/incidents/1",
    };

    public static GuardedCrash Survived(GuardEvent? incident = null, string output = "sh: write error: Input/output error\nstill alive: 1 143\n", int status = 0) =>
        new(incident ?? Recovered("error-return"), new GuestCommandResult(status, output), TimeSpan.FromMilliseconds(21));

    public static UnguardedCrash Rebooted => new("Kernel panic - not syncing: Fatal exception", TimeSpan.FromSeconds(8.5), TimeSpan.FromSeconds(8.4));

    public static IReadOnlyList<TourStep> Tour =>
    [
        new GuestStep("6.1.0-56-cloud-amd64", "tcg", 2, 512, "/tmp/panacea-lab-H7nXlx/qmp.sock", 1, 6_200_000),
        new WorkStep(39557, 126, 128, 20_000),
        new ImageStep("panacea image build qmp:/tmp/panacea-lab-H7nXlx/qmp.sock -o guest.rimg", 5_500_000, 730_000, 0),
        new GuardStep("panacea guard qmp:/tmp/panacea-lab-H7nXlx/qmp.sock --json", "6.1.0-56-cloud-amd64", 1200, 900_000),
        TourCrash.NullWrite.Judge(1, Survived(), 0),
        TourCrash.NullCall.Judge(2, Survived(), 0),
        TourCrash.Sysrq.Judge(3, Survived(Recovered("unwind")), 0),
        new DetachStep(0),
        new CheckStep("after the guarded crashes the server is the same", true, "no reboot"),
        TourCrash.NullWrite.Judge(4, Rebooted),
        new CheckStep("every acknowledged INCR is there", true, "4,312 acknowledged"),
        new CheckStep("every fsynced record is there", true, "1,200 promised"),
        new CheckStep("the file system is clean", true, "e2fsck found nothing to repair"),
    ];

    public static BenchReport Bench => new()
    {
        At = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        Command = "./panacea bench recovery --crashes 30 --kernels 6.1,6.12 --update-docs",
        Host = new BenchHost("A | CPU", 2, "6.1.0", "7.2.22", "0.1.0", 0.25),
        ColdStartUs = Figures.Of([9000L, 9500]),
        Kernels = [Kernel("6.1"), Kernel("6.12")],
    };

    public static DiagnosisReport Diagnosis => new()
    {
        At = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        Command = "./panacea bench diagnosis --rounds 5 --kernels 6.1,6.12 --update-docs",
        Host = Bench.Host,
        Programs = ["panacea 0.1.0", "crash 8.0.6-1", "drgn 0.0.31-1"],
        Dumps = [Dump("6.1", 1024), Dump("6.1", 16384), Dump("6.12", 1024), Dump("6.12", 16384)],
    };

    public static DumpFigures Dump(string line, int mib) => new(
        line, $"{line}.0-cloud-amd64", mib, (long)mib << 20, 700 << 20,
        [Reader("panacea", 150_000, null), Reader("inspect", 100_000, null), Reader("crash", 9_000_000, null), Reader("drgn", 1_500_000, null)]);

    public static ReaderFigures Reader(string name, long us, string? failure) =>
        new(name, Figures.Of([us]), Figures.Of([us / 2]), Figures.Of([us / 2]), Figures.Of([80L << 20]), failure);

    public static KernelFigures Kernel(string line) => new()
    {
        Line = line, Kernel = $"{line}.0-cloud-amd64", Accelerator = "tcg", Crashes = 30, Recovered = 30,
        StoppedUs = Figures.Of([3000L, 4000, 5000]), FirstUs = 4000, TenthUs = 3900,
        Kinds = [new KindFigures("null-write", "error-return", Figures.Of([3000L, 4000])), new KindFigures("panic", "kill", Figures.Of([5000L]))],
        ReportUs = Figures.Of([70_000L, 90_000]), ClientGapUs = Figures.Of([15_000L]), QuietGapUs = Figures.Of([12_000L]), RebootUs = Figures.Of([8_000_000L]), Ratio = 2000,
        ImageBytes = 5_500_000, ImageBuildUs = 700_000, ImageStoppedUs = 0, ArmStoppedUs = 1200,
        IdleSeconds = 30, IdleCpuSeconds = 0.02, IdleResidentBytes = 40 << 20, PeakResidentBytes = 60 << 20, Failures = [],
    };
}
