namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>Numbers of devices, disks and their queues.</summary>
    private static void Devices(SyntheticTypes t, CType counter, bool newer)
    {
        t.Struct("cdev", ("ops", t.Pointer), ("dev", t.U32));
        t.Struct("char_device_struct", ("next", t.Pointer), ("major", t.U32), ("baseminor", t.U32), ("minorct", t.S32), ("name", t.Array(t.Char, 64)), ("cdev", t.Pointer));
        t.Struct("probe", ("next", t.Pointer), ("dev", t.U32), ("range", t.U64), ("data", t.Pointer));
        t.Struct("kobj_map", ("probes", t.Array(t.Pointer, 255)));
        t.Struct("blk_major_name", ("next", t.Pointer), ("major", t.S32), ("name", t.Array(t.Char, 16)));
        (string, CType)[] part = newer ? [("__bd_flags", counter)] : [("bd_partno", t.U8), ("bd_read_only", t.Bool)];
        CType device = t.Struct("block_device",
        [
            ("bd_nr_sectors", t.U64), ("bd_disk", t.Pointer), ("bd_stats", t.Pointer), .. part, ("bd_dev", t.U32), ("bd_openers", counter),
        ]);
        t.Struct("bdev_inode", ("bdev", device), ("vfs_inode", t.Known("inode")));
        t.Struct("gendisk", ("major", t.S32), ("disk_name", t.Array(t.Char, 32)), ("fops", t.Pointer), ("queue", t.Pointer), ("private_data", t.Pointer));
        t.Struct("request_queue", ("tag_set", t.Pointer), ("mq_ops", t.Pointer), ("quiesce_depth", t.S32), newer ? ("hctx_table", t.Known("xarray")) : ("queue_hw_ctx", t.Pointer));
        t.Struct("blk_mq_ops", ("queue_rq", t.Pointer));
        t.Struct("blk_mq_hw_ctx", ("lock", t.U32), ("dispatch", t.Known("list_head")), ("state", t.U64), ("type", t.U16), ("nr_ctx", t.U16), ("ctxs", t.Pointer));
        t.Struct("blk_mq_ctx", ("lock", t.U32), ("rq_lists", t.Array(t.Known("list_head"), 3)));
        t.Struct("blk_mq_tag_set", ("nr_hw_queues", t.U32), ("tags", t.Pointer));
        t.Struct("blk_mq_tags", ("nr_tags", t.U32), ("rqs", t.Pointer));
        t.Struct("request",
            ("q", t.Pointer), ("cmd_flags", t.U32), ("tag", t.S32), ("__data_len", t.U32), ("__sector", t.U64), ("bio", t.Pointer), ("start_time_ns", t.U64), ("io_start_time_ns", t.U64), ("state", t.U32), ("queuelist", t.Known("list_head")));
        t.Struct("disk_stats", ("sectors", t.Array(t.U64, 2)), ("in_flight", t.Array(t.U64, 2)));
        CType vring = t.Struct("vring", ("num", t.U32), ("desc", t.Pointer), ("avail", t.Pointer), ("used", t.Pointer));
        CType split = t.Struct("vring_virtqueue_split", ("vring", vring), ("avail_idx_shadow", t.U16));
        CType queue = t.Struct("virtqueue", ("list", t.Known("list_head")), ("callback", t.Pointer), ("name", t.Pointer));
        t.Struct("vring_virtqueue", ("vq", queue), ("packed_ring", t.Bool), ("broken", t.Bool), ("event", t.Bool), ("last_used_idx", t.U16), ("split", split));
        t.Struct("virtio_blk_vq", ("vq", t.Pointer), ("lock", t.U32), ("name", t.Array(t.Char, 16)));
        t.Struct("virtio_blk", ("vdev", t.Pointer), ("num_vqs", t.S32), ("vqs", t.Pointer));
        t.Enum("req_op", ("REQ_OP_READ", 0), ("REQ_OP_WRITE", 1), ("REQ_OP_FLUSH", 2));
    }
}
