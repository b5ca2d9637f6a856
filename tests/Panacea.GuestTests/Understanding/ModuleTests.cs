using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Modules against /proc/modules.</summary>
public abstract class ModuleTests(SharedGuest shared)
{
    private sealed record Line(string Name, ulong Size, string State, ulong Address);

    [Fact]
    public async Task Every_module_is_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        using KernelView view = KernelView.Open(guest);
        Line[] theirs = await TheirsAsync(guest);
        Assert.Contains(theirs, m => m.Name == "crashtest");
        Assert.Equal(theirs, Ours(view));

        // One more, and one less.
        await guest.MustAsync("insmod /modules/crashtest_extra.ko");
        try
        {
            theirs = await TheirsAsync(guest);
            Assert.Contains(theirs, m => m.Name == "crashtest_extra");
            Assert.Equal(theirs, Ours(view));
        }
        finally
        {
            await guest.MustAsync("rmmod crashtest_extra");
        }

        Assert.Equal(await TheirsAsync(guest), Ours(view));
    }

    private static Line[] Ours(KernelView view) =>
        [.. KernelView.Settled(() => Modules.Enumerate(view.Kernel, TargetLimits.Default)).Select(m => new Line(m.Name, m.Size, m.State == 0 ? "Live" : $"{m.State}", m.Memory[0].Start))];

    private static async Task<Line[]> TheirsAsync(Guest guest) => [.. (await guest.MustLinesAsync("cat /proc/modules")).Select(l =>
    {
        // "virtio_net 73728 0 - Live 0xffffffffc01e5000 (OE)"
        string[] f = l.Split(' ');
        return new Line(f[0], ulong.Parse(f[1], CultureInfo.InvariantCulture), f[4], ulong.Parse(f[5].AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
    })];
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class ModuleTests61(Guest61 guest) : ModuleTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class ModuleTests612(Guest612 guest) : ModuleTests(guest);
