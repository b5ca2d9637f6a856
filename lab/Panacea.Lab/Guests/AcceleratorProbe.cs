using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>Finds out whether Linux boots under KVM here by booting it: the device node alone says little (there are hosts whose KVM opens and on which a stock
/// kernel hangs early). The answer is kept until the host reboots.</summary>
public static class AcceleratorProbe
{
    /// <summary>KVM where a guest gets to user space under it, else multi-threaded TCG. The environment variable PANACEA_LAB_ACCEL (kvm, tcg) decides instead, where set.</summary>
    public static async Task<GuestAccelerator> ChooseAsync(GuestImage image, CancellationToken cancel = default)
    {
        switch (Environment.GetEnvironmentVariable("PANACEA_LAB_ACCEL"))
        {
            case "kvm":
                return GuestAccelerator.Kvm;
            case "tcg":
                return GuestAccelerator.Tcg;
        }

        if (!CanOpenKvm())
            return GuestAccelerator.Tcg;
        using var _ = await CacheLock.TakeAsync("accelerator", cancel);
        string boot = (await File.ReadAllTextAsync("/proc/sys/kernel/random/boot_id", cancel)).Trim();
        string answer = Path.Combine(LabPaths.CacheDirectory("accelerator"), $"{boot}-{image.Kernel.Release}");
        if (!File.Exists(answer))
            await File.WriteAllTextAsync(answer, await BootsUnderKvmAsync(image, cancel) ? "kvm" : "tcg", cancel);
        return await File.ReadAllTextAsync(answer, cancel) == "kvm" ? GuestAccelerator.Kvm : GuestAccelerator.Tcg;
    }

    private static bool CanOpenKvm()
    {
        try
        {
            using FileStream kvm = File.Open("/dev/kvm", FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static async Task<bool> BootsUnderKvmAsync(GuestImage image, CancellationToken cancel)
    {
        try
        {
            var spec = new GuestSpec { Line = image.Kernel.Line, DiskMiB = 0 };
            await using Guest guest = await Guest.LaunchAsync(spec, image, GuestAccelerator.Kvm, cancel);
            // Where KVM is what it says, the kernel's first words come within a second.
            await guest.Console.WaitForAsync("Linux version", TimeSpan.FromSeconds(6), 0, cancel);
            await guest.WaitUntilReadyAsync(TimeSpan.FromSeconds(25), cancel);
            return true;
        }
        catch (Exception e) when (e is LabException or TimeoutException)
        {
            return false;
        }
    }
}
