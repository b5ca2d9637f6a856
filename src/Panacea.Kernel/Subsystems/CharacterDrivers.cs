using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A range of device numbers that a driver of character devices has.</summary>
/// <param name="Major">Major number.</param>
/// <param name="FirstMinor">The first minor number.</param>
/// <param name="Minors">How many there are.</param>
/// <param name="Name">As in /proc/devices.</param>
/// <param name="Device">Guest-virtual address of the cdev of the first number; 0 where it has none.</param>
/// <param name="Operations">Guest-virtual address of its file_operations; 0 where it has none.</param>
public sealed record CharacterDriver(uint Major, uint FirstMinor, uint Minors, string Name, ulong Device, ulong Operations)
{
    /// <summary>CHRDEV_MAJOR_HASH_SIZE (include/linux/fs.h) and the size of kobj_map.probes (drivers/base/map.c).</summary>
    private const uint Buckets = 255;

    /// <summary>MINORBITS (include/linux/kdev_t.h).</summary>
    private const int MinorBits = 20;

    /// <summary>All of them, by number (fs/char_dev.c: chrdevs).</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">A chain does not end, or the kernel lacks the types.</exception>
    public static List<CharacterDriver> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        var found = new List<CharacterDriver>();
        ulong table = kernel.Symbol("chrdevs");
        ulong map = kernel.HasSymbol("cdev_map") && kernel.HasMember("kobj_map.probes") ? KernelReads.Try(() => kernel.ReadSymbolU64("cdev_map"), 0UL) : 0;
        for (uint bucket = 0; bucket < Buckets; bucket++)
        {
            var guard = new ChainGuard("chrdevs", limits.MaxChain);
            for (ulong at = kernel.ReadU64(unchecked(table + (bucket * 8)), "chrdevs"); at != 0; at = kernel.Read(at, "char_device_struct.next"))
            {
                guard.Step(at);
                if (found.Count >= limits.MaxChain)
                    throw new KernelShapeException($"more than {limits.MaxChain} ranges of character devices");
                found.Add(Read(kernel, at, map, limits));
            }
        }

        return [.. found.OrderBy(d => d.Major).ThenBy(d => d.FirstMinor)];
    }

    private static CharacterDriver Read(LinuxKernel kernel, ulong at, ulong map, TargetLimits limits)
    {
        uint major = kernel.ReadU32(at, "char_device_struct.major"), minor = kernel.ReadU32(at, "char_device_struct.baseminor");
        ulong device = kernel.Read(at, "char_device_struct.cdev"), operations = OperationsOf(kernel, device);

        // Only register_chrdev() keeps the cdev there; who adds one by cdev_add() is found by number alone.
        if (operations == 0 && map != 0)
        {
            device = KernelReads.Try(() => Probe(kernel, map, major, minor, limits), 0UL);
            operations = OperationsOf(kernel, device);
        }

        return new CharacterDriver(major, minor, kernel.ReadU32(at, "char_device_struct.minorct"), kernel.ReadText(at, "char_device_struct.name"), operations == 0 ? 0 : device, operations);
    }

    private static ulong OperationsOf(LinuxKernel kernel, ulong device) => device == 0 ? 0 : KernelReads.Try(() => kernel.Read(device, "cdev.ops"), 0UL);

    /// <summary>What cdev_map has of a number; 0 where nothing.</summary>
    private static ulong Probe(LinuxKernel kernel, ulong map, uint major, uint minor, TargetLimits limits)
    {
        var guard = new ChainGuard("cdev_map", limits.MaxChain);
        ulong first = unchecked(map + kernel.Offset("kobj_map.probes") + (major % Buckets * 8));
        for (ulong at = kernel.ReadU64(first, "kobj_map.probes"); at != 0; at = kernel.Read(at, "probe.next"))
        {
            guard.Step(at);
            if (kernel.ReadU32(at, "probe.dev") == (major << MinorBits | minor))
                return kernel.Read(at, "probe.data");
        }

        return 0;
    }
}
