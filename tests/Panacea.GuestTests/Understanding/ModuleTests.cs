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

    /// <summary>The note as sysfs shows it: name size, descriptor size, type, GNU, and the id.</summary>
    [Fact]
    public async Task Every_modules_build_id_is_that_of_its_note_in_sysfs()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        int compared = 0;
        foreach (LinuxModule module in KernelView.Settled(() => Modules.Enumerate(view.Kernel, TargetLimits.Default)))
        {
            byte[] note = await guest.ReadFileAsync($"/sys/module/{module.Name}/notes/.note.gnu.build-id");
            Assert.Equal(Convert.ToHexStringLower(note.AsSpan(16)), ModuleBuildIds.Read(view.Kernel, module.Address));
            compared++;
        }

        Assert.True(compared > 5);
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
