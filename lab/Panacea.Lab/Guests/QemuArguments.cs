using System.Globalization;

namespace Panacea.Lab.Guests;

/// <summary>QEMU's command line for a guest.</summary>
internal static class QemuArguments
{
    /// <summary>The port of the guest's agent.</summary>
    internal const int AgentPort = 7000;

    /// <summary>The guest's ports that lead to the host.</summary>
    internal static IReadOnlyList<int> PortsOf(GuestSpec spec) =>
        [.. spec.Start.Append("redis").Select(name => GuestService.Of(name).Port).Where(port => port > 0).Distinct().Order(), AgentPort];

    /// <param name="spec">The guest.</param>
    /// <param name="image">What it boots from.</param>
    /// <param name="accelerator">What runs it.</param>
    /// <param name="directory">Its run directory.</param>
    /// <param name="snapshot">The memory of the snapshot that it goes on from, which it does not change; null where it boots.</param>
    public static IReadOnlyList<string> For(GuestSpec spec, GuestImage image, GuestAccelerator accelerator, string directory, string? snapshot = null)
    {
        string memory = spec.MemoryMiB.ToString(CultureInfo.InvariantCulture);
        var arguments = new List<string>
        {
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", spec.Memory == GuestMemoryBacking.Private && snapshot is null ? "q35" : "q35,memory-backend=ram",
            "-m", $"{memory}M",
            "-smp", spec.Vcpus.ToString(CultureInfo.InvariantCulture),
            "-qmp", $"unix:{directory}/qmp.sock,server=on,wait=off",
            "-qmp", $"unix:{directory}/lab.sock,server=on,wait=off",
            "-chardev", $"file,id=console,path={directory}/console.log",
            "-serial", "chardev:console",
            "-device", "pvpanic",
            // The guest's own panic= says what comes after a panic, not QEMU.
            "-action", "panic=none",
            "-device", "virtio-rng-pci",
            "-netdev", string.Concat(["user,id=net", .. PortsOf(spec).Select(port => string.Create(CultureInfo.InvariantCulture, $",hostfwd=tcp:127.0.0.1:0-10.0.2.15:{port}"))]),
            "-device", "virtio-net-pci,netdev=net,romfile=",
            "-kernel", image.Kernel.Image,
            "-initrd", image.Initramfs,
            "-append", KernelParameters(spec),
        };
        switch (accelerator)
        {
            case GuestAccelerator.Kvm:
                arguments.AddRange(["-accel", "kvm", "-cpu", "host,arch-capabilities=off"]);
                break;
            case GuestAccelerator.TcgSingleThread:
                arguments.AddRange(["-accel", "tcg,thread=single", "-cpu", TcgCpu(spec)]);
                break;
            default:
                arguments.AddRange(["-accel", "tcg,thread=multi", "-cpu", TcgCpu(spec)]);
                break;
        }

        if (spec.Memory == GuestMemoryBacking.SharedMemfd)
            arguments.AddRange(["-object", $"memory-backend-memfd,id=ram,size={memory}M,share=on"]);
        else if (snapshot is not null && spec.Memory == GuestMemoryBacking.SharedFile)
            arguments.AddRange(["-object", $"memory-backend-file,id=ram,size={memory}M,share=on,mem-path={directory}/ram", "-incoming", "defer"]);
        else if (snapshot is not null)
            arguments.AddRange(["-object", $"memory-backend-file,id=ram,size={memory}M,share=off,mem-path={snapshot}", "-incoming", "defer"]);
        else if (spec.Memory == GuestMemoryBacking.SharedFile)
            arguments.AddRange(["-object", $"memory-backend-file,id=ram,size={memory}M,share=on,mem-path={directory}/ram"]);
        if (spec.DiskMiB > 0)
            arguments.AddRange(["-drive", $"if=none,id=disk,format=raw,file={directory}/disk.img", "-device", "virtio-blk-pci,drive=disk"]);
        if (spec.CrashKernelMiB > 0)
        {
            // The copy is read from the host's page cache: no flush has to wait for the host's disk.
            arguments.AddRange(["-drive", $"if=none,id=vmcore,format=raw,cache=unsafe,file={directory}/{Guest.VmcoreName}", "-device", "virtio-blk-pci,drive=vmcore"]);
        }

        if (spec.VmcoreInfo)
            arguments.AddRange(["-device", "vmcoreinfo"]);
        arguments.AddRange(spec.QemuArguments);
        return arguments;
    }

    private static string TcgCpu(GuestSpec spec) => (spec.FiveLevelPaging ? "max" : "max,la57=off") + (spec.Cpu.Length > 0 ? $",{spec.Cpu}" : "");

    private static string Services(GuestSpec spec) => string.Join(',', spec.CrashKernelMiB > 0 ? ["kdump", .. spec.Start] : spec.Start);

    private static string KernelParameters(GuestSpec spec) => string.Join(' ', ((string[])
    [
        "console=ttyS0",
        spec.PanicOnOops ? "oops=panic" : "",
        $"panic={spec.PanicTimeout.ToString(CultureInfo.InvariantCulture)}",
        spec.CrashKernelMiB > 0 ? string.Create(CultureInfo.InvariantCulture, $"crashkernel={spec.CrashKernelMiB}M") : "",
        spec.KexecFileLoad ? "lab.kexec=file" : "",
        Services(spec) is { Length: > 0 } services ? $"lab.start={services}" : "",
        spec.VmcoreInfo ? "lab.load=qemu_fw_cfg" : "",
        spec.KernelParameters,
    ]).Where(p => p.Length > 0));
}
