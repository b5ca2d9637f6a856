using System.Diagnostics;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Protection;

/// <summary>What may happen to a guarded VM and to its guard, and that protection is there again afterwards.</summary>
public abstract class LifecycleTests(SharedGuest shared)
{
    [Fact]
    public async Task After_a_reset_it_arms_by_itself()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        string before = await guest.MustAsync("cat /proc/sys/kernel/random/boot_id");
        int mark = guard.Mark();
        long console = guest.Console.Mark();
        await guest.Monitor.ExecuteAsync("system_reset");
        await guard.WaitForAsync("reset", mark);
        await guest.WaitUntilReadyAsync(Limits.Guest, TestContext.Current.CancellationToken, console);
        await guard.WaitForAsync("armed", mark);
        Assert.NotEqual(before, await guest.MustAsync("cat /proc/sys/kernel/random/boot_id"));
        await AssertRecoversAsync(guest, guard);
    }

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public async Task A_guest_that_is_reset_while_it_boots_is_guarded_in_the_end()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        int mark = guard.Mark();
        long console = guest.Console.Mark();
        await guest.Monitor.ExecuteAsync("system_reset");
        await guard.WaitForAsync("reset", mark);
        // The second comes while the first one's kernel is still starting.
        await guest.Console.WaitForAsync("Linux version", Limits.Guest, console);
        console = guest.Console.Mark();
        await guest.Monitor.ExecuteAsync("system_reset");
        await guest.WaitUntilReadyAsync(Limits.Guest, TestContext.Current.CancellationToken, console);
        await AssertRecoversInTheEndAsync(guest, guard, mark);
    }

    [Fact]
    public async Task A_module_that_comes_after_arming_is_understood()
    {
        Guest guest = await shared.AliveAsync();
        await guest.MustAsync("rmmod crashtest");
        try
        {
            await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
            await guest.MustAsync("insmod /modules/crashtest.ko");
            // It may not have looked since; the first crash counts all the same.
            int mark = guard.Mark();
            GuestCommandResult result = await guest.CrashAsync("null-write");
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
            Assert.Equal("NULL write in crashtest_null_write [crashtest]", incident.Text("title"));
            Assert.Equal("error-return", incident.Text("repair"));
            Assert.Equal(1, result.Status);
        }
        finally
        {
            await guest.MustAsync("[ -c /dev/crashtest ] || insmod /modules/crashtest.ko");
        }

        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task Crashes_are_recovered_while_modules_come_and_go()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        await guest.MustAsync("touch /tmp/churn");
        Task<GuestCommandResult> churn = guest.RunAsync(
            "n=0; while [ -e /tmp/churn ]; do insmod /modules/crashtest_extra.ko && rmmod crashtest_extra && n=$((n + 1)); done; echo $n", Limits.Guest, TestContext.Current.CancellationToken);
        try
        {
            for (int i = 0; i < 8; i++)
            {
                int mark = guard.Mark();
                GuestCommandResult result = await guest.CrashAsync("null-write");
                GuardEvent incident = await guard.WaitForAsync("incident", mark);
                Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "error-return", incident.Json.GetRawText());
                Assert.Equal(1, result.Status);
            }
        }
        finally
        {
            await guest.MustAsync("rm /tmp/churn");
        }

        Assert.Matches("^[1-9][0-9]*\n$", (await churn).Output);
        await guest.AssertLivesAsync();
    }

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public async Task Memory_above_the_hole_and_five_level_paging_are_understood()
    {
        GuestSpec spec = shared.Spec with { MemoryMiB = 6144, FiveLevelPaging = true, Start = [], DiskMiB = 0 };
        await using Guest guest = await Guest.StartAsync(spec, null, TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        int mark = guard.Mark();
        GuestCommandResult result = await guest.CrashAsync("null-write");
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "error-return", incident.Json.GetRawText());
        Assert.Equal(1, result.Status);
        Assert.Equal("0", await guest.MustAsync("grep -q la57 /proc/cpuinfo; echo $?"));
    }

    [Fact]
    public async Task A_pid_names_the_vm_as_well()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = GuardProcess.Start($"pid:{guest.Pid}");
        GuardEvent armed = await guard.WaitForAsync("armed");
        Assert.Equal($"pid:{guest.Pid}", armed.Text("vm"));
        await AssertRecoversAsync(guest, guard);
    }

    [Fact]
    public async Task Two_guards_on_one_vm_are_refused()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess first = await GuardProcess.StartArmedAsync(guest);
        await using (GuardProcess second = GuardProcess.Start($"qmp:{guest.QmpPath}"))
        {
            Assert.Equal(3, await second.EndAsync());
            Assert.Contains(second.EventsFrom(0), e => e.Name == "error");
            Assert.DoesNotContain(second.EventsFrom(0), e => e.Name == "armed");
        }

        await using (GuardProcess third = GuardProcess.Start($"pid:{guest.Pid}"))
            Assert.Equal(3, await third.EndAsync());
        await AssertRecoversAsync(guest, first);
    }

    [Fact]
    public async Task An_operator_s_pause_is_the_operator_s_to_end()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        Task stopped = guest.Monitor.NextEventAsync("STOP");
        await guest.Monitor.ExecuteAsync("stop");
        await stopped.WaitAsync(Limits.Event);
        int resumes = guest.Monitor.Events.Count(e => e == "RESUME");
        // For as long as a guard would need to make the mistake, several times over.
        await Assert.ThrowsAsync<TimeoutException>(() => guest.RunAsync("true", Limits.Silence));
        Assert.Equal("paused", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        Assert.Equal(resumes, guest.Monitor.Events.Count(e => e == "RESUME"));
        Assert.True(guard.IsRunning);

        // The command waits at the guest's door, so that the crash follows the operator's "cont" at once.
        Task recovers = AssertRecoversAsync(guest, guard);
        await guest.Monitor.ExecuteAsync("cont");
        await recovers;
    }

    [Fact]
    public async Task A_guard_that_ends_during_an_operator_s_pause_leaves_the_guest_paused()
    {
        Guest guest = await shared.AliveAsync();
        await using (GuardProcess guard = await GuardProcess.StartArmedAsync(guest))
        {
            Task stopped = guest.Monitor.NextEventAsync("STOP");
            await guest.Monitor.ExecuteAsync("stop");
            await stopped.WaitAsync(Limits.Event);
            await Assert.ThrowsAsync<TimeoutException>(() => guest.RunAsync("true", Limits.Silence));
            Assert.Equal(0, await guard.InterruptAsync());
        }

        Assert.Equal("paused", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        await guest.Monitor.ExecuteAsync("cont");
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task After_kill_9_of_the_guard_the_next_one_carries_on()
    {
        Guest guest = await shared.AliveAsync();
        await using (GuardProcess first = await GuardProcess.StartArmedAsync(guest))
            await first.KillAsync();
        // Its breakpoints are still there, and nobody is.
        Task stopped = guest.Monitor.NextEventAsync("STOP");
        Task<GuestCommandResult> crash = guest.CrashAsync("null-write");
        await stopped.WaitAsync(Limits.Event);
        Assert.Equal("debug", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        await using GuardProcess second = GuardProcess.Start($"qmp:{guest.QmpPath}");
        GuardEvent death = await second.WaitForAsync("death");
        Assert.True(death.Json.GetProperty("found").GetBoolean());
        GuardEvent incident = await second.WaitForAsync("incident");
        Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
        Assert.Equal("error-return", incident.Text("repair"));
        GuestCommandResult result = await crash;
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        await AssertRecoversAsync(guest, second);
    }

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public async Task After_kill_9_of_the_guard_a_living_guest_is_guarded_again()
    {
        Guest guest = await shared.AliveAsync();
        await using (GuardProcess first = await GuardProcess.StartArmedAsync(guest))
            await first.KillAsync();
        await guest.AssertLivesAsync();
        await using GuardProcess second = await GuardProcess.StartArmedAsync(guest);
        await AssertRecoversAsync(guest, second);
    }

    [Fact]
    public async Task After_kill_9_of_qemu_the_guard_ends()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        using (var qemu = Process.GetProcessById(guest.Pid))
            qemu.Kill();
        await guest.Ended.WaitAsync(Limits.Event);
        GuardEvent detached = await guard.WaitForAsync("detached");
        Assert.Equal("gone", detached.Text("reason"));
        await guard.EndAsync();
    }

    [Fact]
    public async Task Shared_memory_and_a_gdb_stub_of_the_operator_s_are_used()
    {
        string socket = Path.Combine(Directory.CreateTempSubdirectory("lab-stub-").FullName, "gdb");
        GuestSpec spec = shared.Spec with { Memory = GuestMemoryBacking.SharedMemfd, Start = [], QemuArguments = ["-gdb", $"unix:{socket},server=on,wait=off"] };
        await using Guest guest = await Guest.StartAsync(spec, null, TestContext.Current.CancellationToken);
        await using (GuardProcess guard = await GuardProcess.StartArmedAsync(guest))
        {
            Assert.Equal("shared", guard.EventsFrom(0).Single(e => e.Name == "attached").Text("memory"));
            await AssertRecoversAsync(guest, guard);
            Assert.Equal(0, await guard.InterruptAsync());
        }

        // The stub is the operator's: it is still there.
        Assert.True(File.Exists(socket));
        Directory.Delete(Path.GetDirectoryName(socket)!, true);
        await guest.AssertLivesAsync();
    }

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public async Task The_image_of_another_kernel_is_refused()
    {
        Guest guest = await shared.AliveAsync();
        string directory = Directory.CreateTempSubdirectory("panacea-image-").FullName;
        try
        {
            string file = Path.Combine(directory, "guest.rimg");
            await PanaceaCommand.MustAsync("image", "build", $"qmp:{guest.QmpPath}", "-o", file);
            await PanaceaCommand.MustAsync("image", "verify", file, $"qmp:{guest.QmpPath}");

            byte[] bytes = await File.ReadAllBytesAsync(file);
            bytes[bytes.Length / 2] ^= 1;
            await File.WriteAllBytesAsync(file, bytes);
            HostCommandResult damaged = await PanaceaCommand.RunAsync("image", "verify", file, $"qmp:{guest.QmpPath}");
            Assert.Equal(4, damaged.ExitCode);
            Assert.Contains("damaged", damaged.Error, StringComparison.Ordinal);

            // Another boot, another place in memory, the same build: still its image. Another line: not.
            string line = KernelPackages.Lines.First(l => l != guest.Spec.Line);
            await using Guest other = await Guest.StartAsync(shared.Spec with { Line = line, Start = [], DiskMiB = 0 }, null, TestContext.Current.CancellationToken);
            string theirs = Path.Combine(directory, "other.rimg");
            await PanaceaCommand.MustAsync("image", "build", $"qmp:{other.QmpPath}", "-o", theirs);
            HostCommandResult foreign = await PanaceaCommand.RunAsync("image", "verify", theirs, $"qmp:{guest.QmpPath}");
            Assert.Equal(4, foreign.ExitCode);
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    private static async Task AssertRecoversAsync(Guest guest, GuardProcess guard)
    {
        int mark = guard.Mark();
        GuestCommandResult result = await guest.CrashAsync("null-write");
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "error-return", incident.Json.GetRawText());
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        await guest.AssertLivesAsync();
    }

    /// <summary>Waits for the last "armed": each reset may bring one of a kernel that is gone already.</summary>
    private static async Task AssertRecoversInTheEndAsync(Guest guest, GuardProcess guard, int mark)
    {
        int armed = -1;
        while (true)
        {
            await guard.WaitForAsync("armed", mark);
            IReadOnlyList<GuardEvent> events = guard.EventsFrom(mark);
            int at = -1, reset = -1;
            for (int i = 0; i < events.Count; i++)
            {
                at = events[i].Name == "armed" ? i : at;
                reset = events[i].Name == "reset" ? i : reset;
            }

            if (at > reset && at == armed)
                break;
            armed = at;
            if (at < reset)
                await guard.WaitForAsync("armed", mark + reset);
        }

        await AssertRecoversAsync(guest, guard);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class LifecycleTests61(Guest61 guest) : LifecycleTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class LifecycleTests612(Guest612 guest) : LifecycleTests(guest);
