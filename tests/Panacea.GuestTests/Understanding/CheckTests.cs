using System.Globalization;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Validators;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.GuestTests.Understanding;

/// <summary>Check-ups of living guests: a busy one is whole, and what is broken in one is found.</summary>
public abstract class CheckTests(SharedGuest shared)
{
    /// <summary>Processes that come and go, with pipes and threads of the shell's children, files, timers that are set and taken back, and a module that does not stay.</summary>
    private const string Storm = """
        (while [ -e /tmp/storm ]; do sh -c 'true | cat | cat' ; /bin/busybox true; done) > /dev/null 2>&1 &
        (while [ -e /tmp/storm ]; do insmod /modules/crashtest_extra.ko; rmmod crashtest_extra; done) > /dev/null 2>&1 &
        (while [ -e /tmp/storm ]; do dd if=/dev/zero of=/tmp/file bs=64k count=8; sync; rm -f /tmp/file; sleep 0.01; done) > /dev/null 2>&1 &
        """;

    /// <summary>Check-ups of one guest: PANACEA_TEST_CHECKUPS, a hundred with ./test --matrix, five else.</summary>
    private static int CheckUps =>
        int.TryParse(Environment.GetEnvironmentVariable("PANACEA_TEST_CHECKUPS"), CultureInfo.InvariantCulture, out int asked) ? asked : Suites.Matrix ? 100 : 5;

    [Fact]
    public async Task Nothing_is_found_in_a_busy_healthy_guest()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        long before = await ForksAsync(guest);
        await using RedisLoad load = await RedisLoad.StartAsync(guest.RedisPort, "checked", Limits.Guest);
        long answered = load.Status.Acknowledged;
        await guest.MustAsync($"touch /tmp/storm; {Storm.ReplaceLineEndings("\n")}\necho", Limits.Guest);
        try
        {
            var alarms = new List<string>();
            var looks = new List<int>();
            for (int i = 0; i < CheckUps; i++)
            {
                CheckUpReport report = CheckUp.Run(Context(view));
                alarms.AddRange(report.Findings.Select(f => $"check-up {i}: {f.Id} {f.Text}"));

                // Text is compared with an image made moments ago, the rest exists in both lines.
                Assert.Equal([], report.Validators.Where(v => v.Outcome == CheckOutcome.Unavailable).Select(v => $"{v.Name}: {string.Join("; ", v.Result.Unavailable)}"));
                Assert.InRange(Checked(report, "tasks", "threads"), 40, 4000);
                Assert.InRange(Checked(report, "gates", "system calls"), 300, 2000);
                Assert.InRange(Checked(report, "files", "files"), 10, 100_000);
                Assert.InRange(Checked(report, "wait-queues", "queues"), 500, 100_000);
                Assert.InRange(Checked(report, "wait-queues", "waiting tasks"), 3, 10_000);
                Assert.InRange(Checked(report, "pages", "LRU pages"), 100, 100_000);
                Assert.InRange(Checked(report, "descriptors", "CPUs"), 1, 64);
                looks.Add(report.Validators.Sum(v => v.Looks - 1));
            }

            Assert.Equal([], alarms);
            TestContext.Current.SendDiagnosticMessage("{0}: {1} check-ups, {2} answers of redis meanwhile; looked again at something {3} times", guest.Image.Kernel.Release, looks.Count, load.Status.Acknowledged - answered, looks.Sum());
        }
        finally
        {
            await guest.MustAsync("rm -f /tmp/storm; while [ $(grep -c crashtest_extra /proc/modules) != 0 ]; do rmmod crashtest_extra 2> /dev/null; done; true", Limits.Guest);
        }

        Assert.True(await ForksAsync(guest) - before > 20, "the guest was not busy");
    }

    [Fact]
    public async Task A_mutex_whose_owner_has_exited_is_found()
    {
        Guest guest = await shared.AliveAsync();
        await using var locks = await LockModule.LoadAsync(guest);
        await guest.MustAsync("echo orphan-mutex > /dev/crashtest_locks", Limits.Guest);
        await guest.MustAsync("for i in 1 2 3 4 5 6 7 8 9 10; do [ -z \"$(ps | grep lk_orphan | grep -v grep)\" ] && break; sleep 1; done", Limits.Guest);
        using KernelView view = KernelView.Open(guest);
        Finding finding = Assert.Single(CheckUp.Run(Context(view)).Findings);
        Assert.Equal("check.locks.owner-gone", finding.Id);
        Assert.Contains("locks_mutex_a", finding.Text, StringComparison.Ordinal);
    }

    /// <summary>A word of the guest's memory is overwritten, found, and put back.</summary>
    [Fact]
    public async Task The_end_of_a_stack_that_was_overwritten_is_found()
    {
        Guest guest = await shared.AliveAsync();
        (ulong task, PhysicalAddress place, ulong magic) = EndOfStack(guest);
        Overwrite(guest, place, 0x4141_4141_4141_4141);
        try
        {
            using KernelView view = KernelView.Open(guest);
            Finding finding = Assert.Single(CheckUp.Run(Context(view)).Findings);
            Assert.Equal("check.stacks.end-magic", finding.Id);
            Assert.Contains($"0x{task:x}", finding.Text, StringComparison.Ordinal);
        }
        finally
        {
            Overwrite(guest, place, magic);
        }

        using KernelView healed = KernelView.Open(guest);
        Assert.Empty(CheckUp.Run(Context(healed), ["stacks"]).Findings);
    }

    private static (ulong Task, PhysicalAddress Place, ulong Magic) EndOfStack(Guest guest)
    {
        using KernelView view = KernelView.Open(guest);
        ulong task = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).First(t => t.Comm == "redis-server").Address, stack = view.Kernel.Read(task, "task_struct.stack");
        Assert.True(view.Kernel.Space.TryTranslate(new VirtualAddress(stack), out var place, out _));
        return (task, place.Physical, view.Kernel.ReadU64(stack, "end of a stack"));
    }

    private static void Overwrite(Guest guest, PhysicalAddress place, ulong value)
    {
        using QemuTarget target = QemuTarget.Attach(QemuTargetSpec.Parse($"qmp:{guest.QmpPath}"));
        QemuStoppedGuest stopped = target.Stop();
        Assert.True(stopped.TryWrite(place, BitConverter.GetBytes(value), out _));
        stopped.Resume();
    }

    private static CheckContext Context(KernelView view) =>
        new(view.Kernel, TargetLimits.Default) { IsLive = true, Pristine = view.Image, Cancel = TestContext.Current.CancellationToken };

    private static long Checked(CheckUpReport report, string validator, string what) =>
        report.Validators.Single(v => v.Name == validator).Result.Checked.SingleOrDefault(c => c.What == what)?.Count ?? 0;

    private static async Task<long> ForksAsync(Guest guest) => long.Parse((await guest.MustAsync("grep processes /proc/stat")).Split(' ')[1], CultureInfo.InvariantCulture);
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class CheckTests61(Guest61 guest) : CheckTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class CheckTests612(Guest612 guest) : CheckTests(guest);
