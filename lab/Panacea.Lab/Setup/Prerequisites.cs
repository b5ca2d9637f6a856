using System.Runtime.InteropServices;

namespace Panacea.Lab.Setup;

/// <summary>For what something is needed.</summary>
[Flags]
public enum PrerequisiteUse
{
    /// <summary>To build and boot the lab's guests.</summary>
    Guests = 1,

    /// <summary>To publish the native binary.</summary>
    NativeBuild = 2,

    /// <summary>Oracles that the tests compare with.</summary>
    Tests = 4,
}

/// <summary>One thing that has to be on the host.</summary>
/// <param name="Package">The Debian package.</param>
/// <param name="Probe">A program, or the full path of a file, whose presence tells that it is there.</param>
/// <param name="Why">One line for the person who is asked.</param>
/// <param name="Use">What needs it.</param>
public sealed record Prerequisite(string Package, string Probe, string Why, PrerequisiteUse Use)
{
    /// <summary>It is there.</summary>
    public bool IsPresent => Probe.StartsWith('/') ? File.Exists(Probe) : HostCommand.Find(Probe) is not null;
}

/// <summary>What the lab needs on the host: listed with one line of why, asked for once, installed by apt.</summary>
public static class Prerequisites
{
    /// <summary>Everything, in the order in which it is shown.</summary>
    public static IReadOnlyList<Prerequisite> All { get; } =
    [
        new("qemu-system-x86", "qemu-system-x86_64", "runs the guests", PrerequisiteUse.Guests),
        new("busybox-static", "busybox", "the guests' shell and tools", PrerequisiteUse.Guests),
        new("redis-server", "redis-server", "the guests' database, the work that must survive", PrerequisiteUse.Guests),
        new("sqlite3", "sqlite3", "the guests' other database, whose transactions must survive", PrerequisiteUse.Guests),
        new("e2fsprogs", "mkfs.ext4", "makes and checks the guests' ext4 disks", PrerequisiteUse.Guests),
        new("kmod", "depmod", "finds which kernel modules a guest needs", PrerequisiteUse.Guests),
        new("xz-utils", "xz", "unpacks kernels and their modules", PrerequisiteUse.Guests),
        new("zstd", "zstd", "unpacks kernels and their modules", PrerequisiteUse.Guests),
        new("lz4", "lz4", "unpacks kernels and their modules", PrerequisiteUse.Guests),
        new("make", "make", "builds the crash-test driver", PrerequisiteUse.Guests),
        new("gcc", "gcc", "compiles the guests' small programs and links the native binary", PrerequisiteUse.Guests | PrerequisiteUse.NativeBuild),
        new("gcc-12", "gcc-12", "builds the crash-test driver with the compiler of Debian 12's kernels", PrerequisiteUse.Guests),
        new("binutils", "objcopy", "builds the crash-test driver, links the native binary", PrerequisiteUse.Guests | PrerequisiteUse.NativeBuild),
        new("libc6-dev", "/usr/lib/x86_64-linux-gnu/libc.a", "the C library that the guests' small programs contain", PrerequisiteUse.Guests | PrerequisiteUse.NativeBuild),
        new("pahole", "pahole", "gives the crash-test driver the type information that kernel modules have", PrerequisiteUse.Guests),
        new("libelf1", "/usr/lib/x86_64-linux-gnu/libelf.so.1", "used by the kernel's own build tools", PrerequisiteUse.Guests),
        new("libssl3", "/usr/lib/x86_64-linux-gnu/libssl.so.3", "used by the kernel's own build tools", PrerequisiteUse.Guests),
        new("bpftool", "bpftool", "the second opinion on type information in the tests", PrerequisiteUse.Tests),
        new("makedumpfile", "makedumpfile", "writes crash dumps for the tests in the formats that kdump uses", PrerequisiteUse.Tests),
    ];

    /// <summary>What is missing for a use.</summary>
    public static IReadOnlyList<Prerequisite> Missing(PrerequisiteUse use) => [.. All.Where(p => (p.Use & use) != 0 && !p.IsPresent)];

    /// <summary>The command that installs some prerequisites, as a person would type it.</summary>
    public static string InstallCommand(IEnumerable<Prerequisite> missing) =>
        $"{(Apt.IsRoot ? "" : "sudo ")}apt-get install -y --no-install-recommends {string.Join(' ', missing.Select(p => p.Package).Distinct())}";

    /// <summary>Installs what is missing for a use; asks once unless told to assume yes.</summary>
    /// <param name="use">For what.</param>
    /// <param name="assumeYes">True not to ask.</param>
    /// <param name="ask">Shows the list and returns the answer; null where nobody can be asked.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">Something is missing and may not, or could not, be installed; the message has the command that would.</exception>
    public static async Task EnsureAsync(
        PrerequisiteUse use, bool assumeYes = false, Func<IReadOnlyList<Prerequisite>, bool>? ask = null, Action<string>? report = null, CancellationToken cancel = default)
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64 || !OperatingSystem.IsLinux())
            throw new LabException("the lab's guests are x86-64 and need an x86-64 Linux host");
        using var _ = await CacheLock.TakeAsync("packages", cancel);
        IReadOnlyList<Prerequisite> missing = Missing(use);
        if (missing.Count == 0)
            return;
        string list = string.Join('\n', missing.Select(p => $"  {p.Package,-18}{p.Why}"));
        if (HostCommand.Find("apt-get") is null)
            throw new LabException($"missing, and there is no apt-get to install it:\n{list}");
        if (!assumeYes && !(ask?.Invoke(missing) ?? false))
            throw new LabException($"missing:\n{list}\ninstall it with: {InstallCommand(missing)}");

        report?.Invoke($"installing {string.Join(", ", missing.Select(p => p.Package))}");
        string[] install = ["install", "-y", "-qq", "--no-install-recommends", .. missing.Select(p => p.Package).Distinct()];
        if ((await Apt.GetAsync(install, cancel)).ExitCode != 0)
        {
            // Package lists that are missing or old.
            await Apt.UpdateAsync(cancel);
            HostCommandResult again = await Apt.GetAsync(install, cancel);
            if (again.ExitCode != 0)
                throw new LabException($"{InstallCommand(missing)} failed: {again.Error.Trim()}");
        }

        if (Missing(use) is { Count: > 0 } left)
            throw new LabException($"still missing after installation: {string.Join(", ", left.Select(p => $"{p.Probe} (package {p.Package})"))}");
    }
}
