using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests;

/// <summary>The guest is what the other tests take it for.</summary>
public abstract class BootTests(SharedGuest shared)
{
    [Fact]
    public async Task It_runs_the_distribution_s_kernel_unmodified()
    {
        Guest guest = shared.Guest;
        Assert.StartsWith(guest.Spec.Line + ".", guest.Image.Kernel.Release, StringComparison.Ordinal);
        Assert.Equal(guest.Image.Kernel.Release, await guest.MustAsync("uname -r"));
        Assert.DoesNotContain("nokaslr", await guest.MustAsync("cat /proc/cmdline"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_has_what_a_server_has()
    {
        Assert.Equal("2", await shared.Guest.MustAsync("grep -c ^processor /proc/cpuinfo"));
        Assert.Equal("1", await shared.Guest.MustAsync("cat /proc/sys/kernel/panic_on_oops"));
        Assert.Contains("/dev/vda /data ext4", await shared.Guest.MustAsync("cat /proc/mounts"), StringComparison.Ordinal);
        string modules = await shared.Guest.MustAsync("ls /sys/module");
        Assert.All(["virtio_net", "virtio_blk", "crashtest"], m => Assert.Contains(m, modules, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_crash_test_driver_lists_its_crashes()
    {
        string list = await shared.Guest.MustAsync("cat /dev/crashtest");
        string[] names = [.. list.Split('\n').Select(l => l.Split(' ')[0])];
        Assert.All(CrashTests.ErrorReturns.Concat(CrashTests.OtherReturns).Append("warn").Append("panic"), n => Assert.Contains(n, names));
    }

    [Fact]
    public async Task The_crash_test_driver_refuses_what_it_does_not_know()
    {
        GuestCommandResult result = await shared.Guest.RunAsync("echo no-such-crash > /dev/crashtest");
        Assert.Equal(1, result.Status);
        Assert.Contains("Invalid argument", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Modules_have_types_of_their_own() =>
        Assert.NotEqual("0", await shared.Guest.MustAsync("wc -c < /sys/kernel/btf/crashtest"));

    [Fact]
    public async Task Commands_answer_with_status_and_whole_output()
    {
        Assert.Equal(7, (await shared.Guest.RunAsync("exit 7")).Status);
        Assert.Equal(137, (await shared.Guest.RunAsync("kill -9 $$")).Status);
        GuestCommandResult large = await shared.Guest.RunAsync("seq 1 100000");
        Assert.Equal(0, large.Status);
        Assert.Equal(Enumerable.Range(1, 100000).Select(i => i.ToString(CultureInfo.InvariantCulture)), large.Output.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task Commands_run_beside_each_other()
    {
        // The first ends only after the second has begun.
        Task<GuestCommandResult> waits = shared.Guest.RunAsync("mkfifo /tmp/gate; cat /tmp/gate; rm /tmp/gate");
        await shared.Guest.MustAsync("until [ -p /tmp/gate ]; do usleep 1000; done; echo through > /tmp/gate");
        Assert.Equal("through\n", (await waits).Output);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class BootTests61(Guest61 guest) : BootTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class BootTests612(Guest612 guest) : BootTests(guest);
