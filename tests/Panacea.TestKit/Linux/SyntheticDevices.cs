namespace Panacea.TestKit.Linux;

/// <summary>A disk of a synthetic kernel.</summary>
/// <param name="Device">Its block_device.</param>
/// <param name="Disk">Its gendisk.</param>
/// <param name="Queue">Its request_queue.</param>
public sealed record SyntheticDisk(ulong Device, ulong Disk, ulong Queue);

public sealed partial class SyntheticKernel
{
    private readonly List<ulong> _bdevs = [];

    /// <summary>Gives a range of numbers to a driver of character devices.</summary>
    /// <param name="major">Major number.</param>
    /// <param name="minor">First minor number.</param>
    /// <param name="name">Name.</param>
    /// <param name="operations">Its file_operations; 0 for none.</param>
    /// <param name="isMapped">Its cdev is found by number alone.</param>
    /// <returns>Its char_device_struct.</returns>
    public ulong AddCharacterDriver(uint major, uint minor, string name, ulong operations, bool isMapped = false)
    {
        ulong device = operations == 0 ? 0 : New("cdev", ("ops", operations)), bucket = this["chrdevs"] + (major % 255 * 8);
        ulong at = New("char_device_struct", ("next", ReadU64(bucket)), ("major", major), ("baseminor", minor), ("minorct", 256), ("cdev", isMapped ? 0 : device));
        WriteText(at + Types.Offset("char_device_struct.name"), name);
        WriteU64(bucket, at);
        if (isMapped)
        {
            ulong probes = ReadU64(this["cdev_map"]) + Types.Offset("kobj_map.probes") + (major % 255 * 8);
            WriteU64(probes, New("probe", ("next", ReadU64(probes)), ("dev", major << 20 | minor), ("data", device)));
        }

        return at;
    }

    /// <summary>Gives a major number to a block driver.</summary>
    /// <returns>Its blk_major_name.</returns>
    public ulong AddBlockDriver(uint major, string name)
    {
        ulong bucket = this["major_names"] + (major % 255 * 8), at = New("blk_major_name", ("next", ReadU64(bucket)), ("major", major));
        WriteText(at + Types.Offset("blk_major_name.name"), name);
        WriteU64(bucket, at);
        return at;
    }

    /// <summary>Adds a disk whose driver takes requests.</summary>
    /// <param name="number">Device number.</param>
    /// <param name="name">Name.</param>
    /// <param name="operations">Its block_device_operations.</param>
    /// <param name="requests">Operation and state of each request that it holds: 0 idle, 1 in flight, 2 complete. Null for a driver that takes none.</param>
    public SyntheticDisk AddDisk(uint number, string name, ulong operations, params (uint Operation, uint State)[]? requests)
    {
        ulong queue = New("request_queue"), disk = New("gendisk", ("major", number >> 20), ("fops", operations), ("queue", queue));
        WriteText(disk + Types.Offset("gendisk.disk_name"), name);
        if (requests is not null)
        {
            ulong slots = Allocate(8 * (requests.Length + 1)), tags = New("blk_mq_tags", ("nr_tags", (ulong)requests.Length + 1), ("rqs", slots)), table = Allocate(8);
            for (int tag = 0; tag < requests.Length; tag++)
                WriteU64(slots + ((ulong)tag * 8), New("request", ("q", queue), ("cmd_flags", requests[tag].Operation | 0x800), ("tag", (ulong)tag), ("state", requests[tag].State)));
            WriteU64(table, tags);
            Put(queue, "request_queue.tag_set", New("blk_mq_tag_set", ("nr_hw_queues", 1), ("tags", table)));
        }

        ulong inode = New("bdev_inode", ("bdev.bd_disk", disk), ("bdev.bd_dev", number));
        _bdevs.Insert(0, inode + Types.Offset("bdev_inode.vfs_inode"));
        List(ReadU64(this["blockdev_superblock"]) + Types.Offset("super_block.s_inodes"), "inode.i_sb_list", [.. _bdevs]);
        return new SyntheticDisk(inode + Types.Offset("bdev_inode.bdev"), disk, queue);
    }

    private void LayOutDevices()
    {
        Data("chrdevs", 255 * 8);
        Data("major_names", 255 * 8);
        WriteU64(Data("cdev_map", 8), New("kobj_map"));
        ulong super = New("super_block");
        List(super + Types.Offset("super_block.s_inodes"), "inode.i_sb_list");
        WriteU64(Data("blockdev_superblock", 8), super);
    }
}
