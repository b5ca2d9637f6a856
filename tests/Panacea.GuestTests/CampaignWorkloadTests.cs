using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Campaign;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests;

/// <summary>The work of a campaign's guests, in copies of a frozen one: the checks are quiet where nothing happened, and not where somebody has changed what was promised.</summary>
[Collection(nameof(Guest612))]
public sealed class CampaignWorkloadTests
{
    private static readonly TimeSpan Ask = TimeSpan.FromSeconds(30);

    /// <summary>What is done to a guest at work, as a fault would that nobody notices.</summary>
    private static readonly Dictionary<string, string> Damages = new()
    {
        ["bank"] = "sqlite3 -cmd '.timeout 5000' /data/bank.db 'UPDATE accounts SET balance = balance + 1 WHERE id = 3'",
        ["nginx"] = "sed -i 's/line 00000007/line 00000008/' /data/www/2",
        ["fio"] = "(while usleep 20000; do for f in /data/fio.0 /data/fio.1; do printf x | dd of=$f bs=1 seek=1000000 conv=notrunc; done; done) > /dev/null 2>&1 < /dev/null & sleep 3",
        ["stress"] = """
            (while :; do
              for pid in $(pidof stress-ng-vm); do
                awk '$6 == "" && $2 == "rw-p" { print $1 }' /proc/$pid/maps | while IFS=- read from to; do
                  [ $((0x$to - 0x$from)) = 2097152 ] && printf xxxxxxxx | dd of=/proc/$pid/mem bs=8 seek=$((0x$from / 8 + 1000)) conv=notrunc
                done
              done
            done) > /dev/null 2>&1 < /dev/null & sleep 4; kill $!
            """,
        ["network"] = "killall socat; socat TCP-LISTEN:7007,fork,reuseaddr SYSTEM:'tr A B' > /dev/null 2>&1 < /dev/null & sleep 2",
    };

    [Theory]
    [InlineData("bank")]
    [InlineData("forks")]
    [InlineData("nginx")]
    [InlineData("fio")]
    [InlineData("stress")]
    [InlineData("network")]
    public async Task A_workload_is_quiet_where_nothing_happens_and_sees_what_was_changed(string name)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        CampaignWorkload workload = CampaignWorkload.Find(name)!;
        using CampaignMachine machine = await CampaignMachine.StartAsync("6.12", workload, text => TestContext.Current.SendDiagnosticMessage(text), cancel);
        Assert.NotEmpty(machine.Hot);
        await using (Guest guest = await ResumedAsync(machine))
        {
            await using IWorkloadRun run = await workload.BeginAsync(guest, cancel);
            Assert.All(await LivingGuest.ProbeAsync(guest, Ask, cancel), sign => Assert.Null(sign.Failure));
            AssertNothing(await run.FinishAsync(Ask, cancel));
            FsckResult? disk = await guest.ShutDownAsync(cancel: cancel);
            Assert.True(disk!.IsClean, disk.Output);
            Assert.Empty(await run.CheckDiskAsync(guest.DiskPath!, cancel));
        }

        if (!Damages.TryGetValue(name, out string? damage))
            return;
        await using (Guest guest = await ResumedAsync(machine))
        {
            await using IWorkloadRun run = await workload.BeginAsync(guest, cancel);
            await guest.MustAsync(damage, Ask);
            (IReadOnlyList<string> failures, IReadOnlyList<string> lost) = await run.FinishAsync(TimeSpan.FromSeconds(8), cancel);
            Assert.True(lost.Count > 0, $"nothing was missed; not done: {string.Join("; ", failures)}");
            Assert.All(lost, text => Assert.StartsWith(name, text, StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task A_file_is_read_to_where_it_ended_though_it_grows()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = "6.12", MemoryMiB = 384 }, null, cancel);
        await guest.MustAsync("(while :; do printf 0123456789 >> /data/grows; done) > /dev/null 2>&1 < /dev/null &");
        int read = 0;
        for (int i = 0; i < 60; i++)
        {
            GuestCommandResult result = await guest.RunAsync(RecordLoad.ReadCommand("/data/grows"), Ask, cancel);
            Assert.True(result.Succeeded, result.Output);
            byte[] file = Convert.FromBase64String(result.Output.ReplaceLineEndings(""));
            Assert.True(file.Length >= read);
            read = file.Length;
        }

        Assert.True(read > 100);
        Assert.False((await guest.RunAsync(RecordLoad.ReadCommand("/data/none"), Ask, cancel)).Succeeded);
    }

    [Fact]
    public async Task Wrk_looks_at_every_answer()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = "6.12", MemoryMiB = 384, Start = ["nginx"] }, null, cancel);
        Assert.True(await WrkAsync() is { Answers: > 100, Refused: 0, Wrong: 0, FirstWrong: "" });
        await guest.MustAsync("sed -i 's/line 00000007/line 00000008/' /data/www/2");
        Assert.True(await WrkAsync() is { Answers: > 50, Refused: 0, Wrong: > 10, FirstWrong: "file 2 was answered with status 200 and 512 bytes" });
        await guest.MustAsync("killall nginx");
        Assert.True(await WrkAsync() is { Answers: 0, Wrong: 0 });

        async Task<WrkResult> WrkAsync()
        {
            await using WrkLoad wrk = await WrkLoad.StartAsync(guest.PortOf("nginx"), cancel);
            await Task.Delay(TimeSpan.FromSeconds(3), cancel);
            return await wrk.StopAsync(cancel);
        }
    }

    [Fact]
    public async Task The_last_pass_of_fio_is_read_once_more_in_the_guest_and_on_its_disk()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        CampaignWorkload workload = CampaignWorkload.Find("fio")!;
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = "6.12", MemoryMiB = 384, Start = workload.Services }, null, cancel);
        await guest.MustAsync(workload.Prepare!);
        IWorkloadRun run = await workload.BeginAsync(guest, cancel);
        AssertNothing(await run.FinishAsync(Ask, cancel));

        // The pass that was under way may still come to its end. Then: one byte of what fio had found right; and the data of another pass, in which every sum is right.
        await guest.MustAsync("while pidof fio; do usleep 100000; done; sleep 0.5");
        await guest.MustAsync("printf x | dd of=/data/fio.$(($(cat /run/fio) % 2)) bs=1 seek=1000000 conv=notrunc");
        Assert.Contains("verify failed", (await guest.RunAsync("start-fio check", Ask, cancel)).Output, StringComparison.Ordinal);
        await guest.MustAsync("cp /data/fio.$((($(cat /run/fio) + 1) % 2)) /data/fio.$(($(cat /run/fio) % 2))");
        Assert.Contains("verify: bad header", (await guest.RunAsync("start-fio check", Ask, cancel)).Output, StringComparison.Ordinal);
        await guest.MustAsync("for f in /data/fio.0 /data/fio.1; do printf x | dd of=$f bs=1 seek=1000000 conv=notrunc; done; sync");
        Assert.True((await guest.ShutDownAsync(cancel: cancel))!.IsClean);
        Assert.NotEmpty(await run.CheckDiskAsync(guest.DiskPath!, cancel));
    }

    [Fact]
    public async Task A_pass_of_fio_that_was_killed_is_not_acknowledged()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        CampaignWorkload workload = CampaignWorkload.Find("fio")!;
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = "6.12", MemoryMiB = 384, Start = workload.Services }, null, cancel);
        await guest.MustAsync(workload.Prepare!);

        // Only the process of the job: fio itself lives, and ends with status 0 or waits for it.
        string told = await guest.MustAsync("""
            cat /run/fio
            for i in $(seq 30); do
              for pid in $(pidof fio); do
                read -r _ _ _ parent _ < /proc/$pid/stat && [ "$(cat /proc/$parent/comm)" = fio ] && kill -9 $pid
              done 2> /dev/null
              usleep 100000
            done
            cat /run/fio
            """, Ask);
        string[] lines = told.Split('\n');
        Assert.InRange(int.Parse(lines[1], CultureInfo.InvariantCulture) - int.Parse(lines[0], CultureInfo.InvariantCulture), 0, 1);
        await using IWorkloadRun run = await workload.BeginAsync(guest, cancel);
        AssertNothing(await run.FinishAsync(Ask, cancel));
    }

    [Fact]
    public async Task Guests_that_start_nothing_of_the_kind_have_none_of_it()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        GuestImage plain = await GuestBuilder.GetAsync("6.12", null, cancel);
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = "6.12" }, null, cancel);
        Assert.Equal(plain.Initramfs, guest.Image.Initramfs);
        await guest.MustAsync("[ ! -e /bin/nginx ] && [ ! -e /bin/fio ] && [ ! -e /bin/socat ]");
        Assert.Throws<Lab.LabException>(() => guest.PortOf("nginx"));
        Assert.Throws<Lab.LabException>(() => guest.PortOf("fio"));
    }

    private static void AssertNothing((IReadOnlyList<string> Failures, IReadOnlyList<string> Lost) seen)
    {
        Assert.Empty(seen.Failures);
        Assert.Empty(seen.Lost);
    }

    private static async Task<Guest> ResumedAsync(CampaignMachine machine)
    {
        Guest guest = await machine.CopyAsync(isShared: false, TestContext.Current.CancellationToken);
        await guest.Monitor.ExecuteAsync("cont", null, TestContext.Current.CancellationToken);
        return guest;
    }
}
