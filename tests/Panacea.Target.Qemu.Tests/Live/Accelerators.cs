namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>Which accelerators run a guest here: found by running one, for a device node says nothing.</summary>
internal static class Accelerators
{
    private static readonly Lazy<string?> NoKvm = new(ProbeKvm);

    /// <summary>Skips the test, with the reason, where the accelerator does not run a guest of our own to a breakpoint.</summary>
    public static void Need(string accel)
    {
        if (accel == "kvm" && NoKvm.Value is { } why)
            Assert.Skip($"KVM does not run a guest of our own here: {why}");
    }

    private static string? ProbeKvm()
    {
        if (!File.Exists("/dev/kvm"))
            return "there is no /dev/kvm";
        try
        {
            using var vm = new TestVm(TinyGuest.Real.Image(), "kvm");
            using QemuTarget target = vm.AttachAndReach(TinyGuest.Real.Point, out _);
            return target.IsKvm ? null : "QEMU fell back to another accelerator";
        }
        catch (Exception e)
        {
            return e.Message;
        }
    }
}
