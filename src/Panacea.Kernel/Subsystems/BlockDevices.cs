using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A disk or a partition.</summary>
/// <param name="Address">Guest-virtual address of its block_device.</param>
/// <param name="Name">As in /proc/partitions.</param>
/// <param name="Device">Device number (12 bits major, 20 bits minor).</param>
/// <param name="Sectors">Size in sectors of 512 bytes; null where the kernel keeps it elsewhere (before 5.16, commit f09313c57a17, "block: cache inode size in bdev").</param>
/// <param name="Partition">Partition number; 0 for the whole disk.</param>
/// <param name="IsReadOnly">It refuses writes.</param>
/// <param name="Disk">Guest-virtual address of its gendisk.</param>
/// <param name="Queue">Guest-virtual address of its request_queue.</param>
/// <param name="Openers">How often it is open.</param>
public sealed record BlockDevice(ulong Address, string Name, uint Device, ulong? Sectors, int Partition, bool IsReadOnly, ulong Disk, ulong Queue, int Openers);

/// <summary>A request that a block driver has not completed.</summary>
/// <param name="Address">Guest-virtual address of its struct request.</param>
/// <param name="Operation">READ, WRITE, FLUSH, … (enum req_op).</param>
/// <param name="Sector">First sector of 512 bytes.</param>
/// <param name="Bytes">Bytes left.</param>
/// <param name="IsComplete">The device has answered; the completion is under way.</param>
/// <param name="Tag">Its tag.</param>
/// <param name="HardwareQueue">Index of the hardware queue.</param>
/// <param name="StartNs">When it was allocated, nanoseconds of the monotonic clock; 0 where the queue keeps no times.</param>
/// <param name="IssuedNs">When it was given to the driver, nanoseconds of the monotonic clock; 0 where it keeps no times.</param>
public sealed record BlockRequest(
    ulong Address, string Operation, ulong Sector, uint Bytes, bool IsComplete, int Tag, int HardwareQueue, ulong StartNs, ulong IssuedNs)
{
    /// <summary>It sends data to the device: operations of odd numbers do (op_is_write).</summary>
    public bool IsWrite { get; init; }
}

/// <summary>Block devices and what is in flight on them (include/linux/blk_types.h, include/linux/blkdev.h, include/linux/blk-mq.h).</summary>
public static class BlockDevices
{
    /// <summary>Hardware queues and tags that one device has at most: BLK_MQ_MAX_DEPTH is 10240.</summary>
    private const uint MaxQueues = 8192, MaxTags = 65536;

    private const ulong RequestIdle = 0, RequestInFlight = 1;

    /// <summary>All disks and partitions, from the inodes of the block device file system.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not hold together, or the kernel lacks the types.</exception>
    public static List<BlockDevice> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        var devices = new List<BlockDevice>();
        foreach ((ulong device, ulong disk) in WithDisks(kernel, limits))
            devices.Add(Read(kernel, device, disk));
        return [.. devices.OrderBy(d => d.Device)];
    }

    /// <summary>Every block_device with its gendisk, in the order of the list.</summary>
    internal static IEnumerable<(ulong Device, ulong Disk)> WithDisks(LinuxKernel kernel, TargetLimits limits)
    {
        ulong super = kernel.ReadSymbolU64("blockdev_superblock"), offset = kernel.Offset("bdev_inode.vfs_inode");
        foreach (ulong inode in Lists.Entries(kernel, unchecked(super + kernel.Offset("super_block.s_inodes")), "inode.i_sb_list", limits))
        {
            ulong device = unchecked(inode - offset), disk = kernel.Read(device, "block_device.bd_disk");

            // The root of the file system is an inode too, of no device.
            if (disk != 0)
                yield return (device, disk);
        }
    }

    /// <summary>How many reads and writes are under way on a disk: requests that its driver holds, or of one whose driver takes none what it counts itself (struct disk_stats).</summary>
    /// <returns>Null where the kernel counts them elsewhere (before 5.11).</returns>
    /// <inheritdoc cref="InFlight" path="/exception"/>
    public static (long Reads, long Writes)? Load(LinuxKernel kernel, BlockDevice disk, TargetLimits limits)
    {
        if (disk.Queue != 0 && kernel.Read(disk.Queue, "request_queue.tag_set") != 0)
        {
            List<BlockRequest> held = [.. InFlight(kernel, disk, limits).Where(r => !r.IsComplete)];
            return (held.Count(r => !r.IsWrite), held.Count(r => r.IsWrite));
        }

        if (!kernel.HasMember("block_device.bd_stats") || !kernel.HasMember("disk_stats.in_flight") || kernel.Read(disk.Address, "block_device.bd_stats") is not (var stats and not 0))
            return null;
        long reads = 0, writes = 0;
        foreach (int cpu in Cpus.Possible(kernel))
        {
            // A request may end on another CPU than it began on: only the sum says anything.
            ulong counts = unchecked(Cpus.At(kernel, stats, cpu) + kernel.Offset("disk_stats.in_flight"));
            reads = unchecked(reads + (long)kernel.ReadU64(counts, "disk_stats.in_flight"));
            writes = unchecked(writes + (long)kernel.ReadU64(counts + 8, "disk_stats.in_flight"));
        }

        return (Math.Max(0, reads), Math.Max(0, writes));
    }

    /// <summary>Requests that the driver of a disk holds.</summary>
    /// <returns>Empty too for disks whose driver takes no requests (bio-based: device mapper, brd, zram).</returns>
    /// <exception cref="GuestMemoryException">Tags can't be read.</exception>
    /// <exception cref="KernelShapeException">Tags make no sense, or the kernel lacks the types.</exception>
    public static List<BlockRequest> InFlight(LinuxKernel kernel, BlockDevice disk, TargetLimits limits)
    {
        var requests = new List<BlockRequest>();
        ulong set = disk.Queue == 0 ? 0 : kernel.Read(disk.Queue, "request_queue.tag_set");
        if (set == 0)
            return requests;
        uint queues = kernel.ReadU32(set, "blk_mq_tag_set.nr_hw_queues");
        if (queues > MaxQueues)
            throw new KernelShapeException($"{disk.Name} says that it has {queues} hardware queues");
        ulong tags = kernel.Read(set, "blk_mq_tag_set.tags");
        var names = kernel.Image.Types.Enumerators("req_op").Concat(kernel.Image.Types.Enumerators("req_opf")).DistinctBy(e => e.Value).ToDictionary(e => (ulong)e.Value, e => e.Key);
        var seen = new HashSet<ulong>();
        for (uint queue = 0; queue < queues; queue++)
        {
            ulong table = kernel.ReadU64(unchecked(tags + (queue * 8)), "blk_mq_tag_set.tags");

            // One set of tags may serve all queues (BLK_MQ_F_TAG_HCTX_SHARED).
            if (table != 0 && seen.Add(table))
                AddInFlight(kernel, disk, table, (int)queue, names, requests, limits);
        }

        return requests;
    }

    private static void AddInFlight(
        LinuxKernel kernel, BlockDevice disk, ulong table, int queue, Dictionary<ulong, string> names, List<BlockRequest> requests, TargetLimits limits)
    {
        uint count = kernel.ReadU32(table, "blk_mq_tags.nr_tags");
        if (count > MaxTags)
            throw new KernelShapeException($"{disk.Name} says that it has {count} tags");
        ulong array = kernel.Read(table, "blk_mq_tags.rqs");
        for (uint tag = 0; tag < count && array != 0; tag++)
        {
            ulong request = kernel.ReadU64(unchecked(array + (tag * 8)), "blk_mq_tags.rqs");
            if (request == 0)
                continue;

            // A slot keeps its last request; the set may serve several disks (blk_mq_find_and_get_req).
            ulong state = kernel.Read(request, "request.state");
            if (state == RequestIdle || kernel.Read(request, "request.q") != disk.Queue || kernel.ReadS32(request, "request.tag") != (int)tag)
                continue;
            if (requests.Count >= limits.MaxChain)
                throw new KernelShapeException($"{disk.Name} has more than {limits.MaxChain} requests in flight");
            ulong operation = kernel.Read(request, "request.cmd_flags") & 0xff;
            requests.Add(new BlockRequest(
                request, names.TryGetValue(operation, out string? name) ? name.Replace("REQ_OP_", "", StringComparison.Ordinal) : $"operation {operation}",
                kernel.Read(request, "request.__sector"), kernel.ReadU32(request, "request.__data_len"), state > RequestInFlight, (int)tag, queue,
                kernel.Read(request, "request.start_time_ns"), kernel.Read(request, "request.io_start_time_ns"))
            { IsWrite = (operation & 1) != 0 });
        }
    }

    private static BlockDevice Read(LinuxKernel kernel, ulong device, ulong disk)
    {
        // bd_partno and bd_read_only were members up to 6.9; since 6.10 they are in __bd_flags (commit 1116b9fa15c0, "bdev: infrastructure for flags").
        ulong flags = kernel.ReadIfPresent(device, "block_device.__bd_flags.counter") ?? 0;
        int partition = (int)(kernel.ReadIfPresent(device, "block_device.bd_partno") ?? (flags & 0xff));
        bool readOnly = (kernel.ReadIfPresent(device, "block_device.bd_read_only") ?? (flags >> 8 & 1)) != 0;
        string name = kernel.ReadText(disk, "gendisk.disk_name");
        if (partition != 0)
            name += name.Length > 0 && char.IsAsciiDigit(name[^1]) ? $"p{partition}" : $"{partition}";
        return new BlockDevice(
            device, name, kernel.ReadU32(device, "block_device.bd_dev"), kernel.ReadIfPresent(device, "block_device.bd_nr_sectors"), partition, readOnly, disk,
            kernel.Read(disk, "gendisk.queue"), unchecked((int)(uint)kernel.ReadFirst(device, "block_device.bd_openers.counter", "block_device.bd_openers")));
    }
}
