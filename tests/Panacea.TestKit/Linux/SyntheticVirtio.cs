using System.Buffers.Binary;

namespace Panacea.TestKit.Linux;

/// <summary>A disk of virtio_blk with one queue of 8 entries.</summary>
/// <param name="Disk">The disk.</param>
/// <param name="Queue">Its struct virtqueue.</param>
/// <param name="Available">The available ring.</param>
/// <param name="Used">The used ring.</param>
/// <param name="Context">Its blk_mq_hw_ctx.</param>
/// <param name="Cpu">The blk_mq_ctx of the one CPU that uses it.</param>
/// <param name="Requests">Its requests.</param>
public sealed record SyntheticVirtioDisk(SyntheticDisk Disk, ulong Queue, ulong Available, ulong Used, ulong Context, ulong Cpu, IReadOnlyList<ulong> Requests);

public sealed partial class SyntheticKernel
{
    private const int VirtioEntries = 8;

    /// <summary>Adds a disk of virtio_blk, on which nothing is under way but what it is given.</summary>
    /// <param name="name">Name.</param>
    /// <param name="requests">Operation and state of each request, as in <see cref="AddDisk"/>; each was issued at another time, and has data left.</param>
    public SyntheticVirtioDisk AddVirtioDisk(string name, params (uint Operation, uint State)[] requests)
    {
        ulong available = Allocate(8 + (2 * VirtioEntries)), used = Allocate(8 + (8 * VirtioEntries));
        ulong queue = New("vring_virtqueue", ("vq.callback", this["virtblk_done"]), ("event", 1), ("split.vring.num", VirtioEntries), ("split.vring.avail", available), ("split.vring.used", used)) + Types.Offset("vring_virtqueue.vq");
        SyntheticDisk disk = AddDisk(254 << 20, name, this["null_fops"], requests);
        Put(disk.Disk, "gendisk.private_data", New("virtio_blk", ("num_vqs", 1), ("vqs", New("virtio_blk_vq", ("vq", queue)))));
        Put(disk.Queue, "request_queue.mq_ops", New("blk_mq_ops", ("queue_rq", this["virtio_queue_rq"])));
        ulong context = New("blk_mq_hw_ctx", ("nr_ctx", 1)), cpu = New("blk_mq_ctx"), cpus = Allocate(8);
        Put(context, "blk_mq_hw_ctx.ctxs", cpus);
        WriteU64(cpus, cpu);
        SetFirst(context + Types.Offset("blk_mq_hw_ctx.dispatch"), 0);
        for (ulong type = 0; type < 3; type++)
            SetFirst(cpu + Types.Offset("blk_mq_ctx.rq_lists") + (type * 16), 0);
        if (Options.Shape == KernelShape.Linux612)
        {
            Put(disk.Queue, "request_queue.hctx_table.xa_head", context);
        }
        else
        {
            ulong table = Allocate(8);
            WriteU64(table, context);
            Put(disk.Queue, "request_queue.queue_hw_ctx", table);
        }

        ulong slots = Get(ReadU64(Get(Get(disk.Queue, "request_queue.tag_set"), "blk_mq_tag_set.tags")), "blk_mq_tags.rqs");
        List<ulong> all = [.. Enumerable.Range(0, requests.Length).Select(i => ReadU64(slots + ((ulong)i * 8)))];
        for (int i = 0; i < all.Count; i++)
        {
            Put(all[i], "request.io_start_time_ns", 1000 + (ulong)i);
            Put(all[i], "request.__data_len", 4096);
            Put(all[i], "request.bio", all[i]);
        }

        return new SyntheticVirtioDisk(disk, queue, available, used, context, cpu, all);
    }

    /// <summary>One request, or none, waits to be given to the driver of a disk: it was refused, or it waits where its CPU has put it.</summary>
    public void SetWaiting(SyntheticVirtioDisk disk, ulong request, bool refused) => SetFirst(
        refused ? disk.Context + Types.Offset("blk_mq_hw_ctx.dispatch") : disk.Cpu + Types.Offset("blk_mq_ctx.rq_lists"), request == 0 ? 0 : request + Types.Offset("request.queuelist"));

    private void SetFirst(ulong head, ulong node)
    {
        foreach (ulong each in (ulong[])[head, head + 8])
            WriteU64(each, node == 0 ? head : node);
        if (node == 0)
            return;
        WriteU64(node, head);
        WriteU64(node + 8, head);
    }

    /// <summary>How far driver and device have got (<c>VirtqueueProgress</c>).</summary>
    public void SetProgress(SyntheticVirtioDisk disk, ushort offered, ushort taken, ushort answered, ushort heard)
    {
        WriteU16(disk.Available + 2, offered);
        WriteU16(disk.Used + 2, answered);
        WriteU16(disk.Used + 4 + (8 * VirtioEntries), taken);
        Put(disk.Queue - Types.Offset("vring_virtqueue.vq"), "vring_virtqueue.last_used_idx", heard);
    }

    private void WriteU16(ulong address, ushort value)
    {
        byte[] raw = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(raw, value);
        Write(address, raw);
    }
}
