namespace Panacea.Lab.Guests;

/// <summary>How a guest's RAM is backed on the host.</summary>
public enum GuestMemoryBacking
{
    /// <summary>Anonymous memory of the QEMU process: what most guests in the world have.</summary>
    Private,

    /// <summary>A memfd that others may map, by way of /proc/PID/fd.</summary>
    SharedMemfd,

    /// <summary>A file in the run directory that others may map (<see cref="Guest.MemoryFile"/>).</summary>
    SharedFile,
}

/// <summary>Which processor runs the guest.</summary>
public enum GuestAccelerator
{
    /// <summary>KVM where a Linux guest really boots under it, else TCG.</summary>
    Probe,

    /// <summary>KVM.</summary>
    Kvm,

    /// <summary>QEMU's emulation, a host thread per vCPU.</summary>
    Tcg,

    /// <summary>QEMU's emulation in one host thread: slower, and free of the race in which a guest that patches its own text can die.</summary>
    TcgSingleThread,
}

/// <summary>The guest to start.</summary>
public sealed record GuestSpec
{
    /// <summary>The kernel line, one of <see cref="Setup.KernelPackages.Lines"/>.</summary>
    public required string Line { get; init; }

    /// <summary>Number of vCPUs.</summary>
    public int Vcpus { get; init; } = 2;

    /// <summary>RAM in MiB; above 3 GiB part of it lies above the 4 GiB hole.</summary>
    public int MemoryMiB { get; init; } = 512;

    /// <summary>How RAM is backed.</summary>
    public GuestMemoryBacking Memory { get; init; } = GuestMemoryBacking.Private;

    /// <summary>Which processor.</summary>
    public GuestAccelerator Accelerator { get; init; } = GuestAccelerator.Probe;

    /// <summary>More of the emulated processor, as QEMU's <c>-cpu</c> takes it: <c>family=23,model=49</c> makes it one for which the kernel replaces each return (retbleed).</summary>
    public string Cpu { get; init; } = "";

    /// <summary>True for 5-level paging, where the processor has it (TCG has).</summary>
    public bool FiveLevelPaging { get; init; }

    /// <summary>The guest panics on an oops, as server fleets have it.</summary>
    public bool PanicOnOops { get; init; } = true;

    /// <summary>The kernel's panic= parameter: 0 stays dead, more reboots after as many seconds, -1 at once.</summary>
    public int PanicTimeout { get; init; }

    /// <summary>Services that start with the guest: names of <see cref="GuestService"/>.</summary>
    public IReadOnlyList<string> Start { get; init; } = [];

    /// <summary>Size of the ext4 disk at /data in MiB; 0 for none.</summary>
    public int DiskMiB { get; init; } = 256;

    /// <summary>The guest hands its VMCOREINFO to QEMU, which then has it in its dumps (libvirt: <c>&lt;vmcoreinfo/&gt;</c>).</summary>
    public bool VmcoreInfo { get; init; }

    /// <summary>RAM in MiB, out of <see cref="MemoryMiB"/>, that is set aside for a crash kernel; 0 for none. With it the guest loads one before it is ready, and dies into it: see <see cref="Guest.WaitForVmcoreAsync"/>.</summary>
    public int CrashKernelMiB { get; init; }

    /// <summary>The crash kernel is loaded by kexec_file_load, which describes the memory to it by itself; else by kexec_load, where kexec-tools does.</summary>
    public bool KexecFileLoad { get; init; }

    /// <summary>More kernel parameters.</summary>
    public string KernelParameters { get; init; } = "";

    /// <summary>More arguments for QEMU.</summary>
    public IReadOnlyList<string> QemuArguments { get; init; } = [];

    /// <summary>How often a guest that dies before user space is booted again.</summary>
    public int BootRetries { get; init; } = 3;

    /// <summary>Given to one boot until the guest is ready.</summary>
    public TimeSpan BootTimeout { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>True to leave the run directory (console log, disk) behind.</summary>
    public bool KeepRunDirectory { get; init; }
}
