using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A major number of block devices.</summary>
/// <param name="Major">Major number.</param>
/// <param name="Name">As in /proc/devices.</param>
/// <param name="Disk">Guest-virtual address of the gendisk of one of its disks, the one that came last; 0 where it has none.</param>
/// <param name="Operations">Guest-virtual address of that disk's block_device_operations; 0 where it has none.</param>
public sealed record BlockDriver(uint Major, string Name, ulong Disk, ulong Operations)
{
    /// <summary>BLKDEV_MAJOR_HASH_SIZE (block/genhd.c).</summary>
    private const uint Buckets = 255;

    /// <summary>All of them, by number (block/genhd.c: major_names).</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">A chain does not end, or the kernel lacks the types.</exception>
    public static List<BlockDriver> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        Dictionary<uint, ulong> disks = [];
        foreach ((_, ulong disk) in BlockDevices.WithDisks(kernel, limits))
            disks.TryAdd(kernel.ReadU32(disk, "gendisk.major"), disk);
        var found = new List<BlockDriver>();
        ulong table = kernel.Symbol("major_names");
        for (uint bucket = 0; bucket < Buckets; bucket++)
        {
            var guard = new ChainGuard("major_names", limits.MaxChain);
            for (ulong at = kernel.ReadU64(unchecked(table + (bucket * 8)), "major_names"); at != 0; at = kernel.Read(at, "blk_major_name.next"))
            {
                guard.Step(at);
                if (found.Count >= limits.MaxChain)
                    throw new KernelShapeException($"more than {limits.MaxChain} block drivers");
                uint major = kernel.ReadU32(at, "blk_major_name.major");
                ulong disk = disks.GetValueOrDefault(major);
                found.Add(new BlockDriver(major, kernel.ReadText(at, "blk_major_name.name"), disk, disk == 0 ? 0 : kernel.Read(disk, "gendisk.fops")));
            }
        }

        return [.. found.OrderBy(d => d.Major)];
    }
}
