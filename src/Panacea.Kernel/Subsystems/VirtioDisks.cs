using Panacea.Kernel.Structures;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>How far driver and device have got with a virtqueue: indexes of 16 bits that run on and on (virtio 1.2, 2.7; split rings).</summary>
/// <param name="Offered">What the driver has put into the available ring.</param>
/// <param name="Taken">What the device had taken of it when it last asked to be told of more (avail_event); null where it does not say (VIRTIO_F_EVENT_IDX was not agreed on).</param>
/// <param name="Answered">What the device has put into the used ring.</param>
/// <param name="Heard">What the driver has taken of that (last_used_idx).</param>
public readonly record struct VirtqueueProgress(ushort Offered, ushort? Taken, ushort Answered, ushort Heard)
{
    /// <summary>Nothing is under way.</summary>
    public bool IsQuiet => Offered == Answered && Answered == Heard;
}

/// <summary>A queue between virtio_blk and its device.</summary>
/// <param name="Address">Guest-virtual address of the struct virtqueue.</param>
/// <param name="HardwareQueue">Index of the hardware queue of blk-mq that it is.</param>
/// <param name="Callback">Guest-virtual address of the driver's function that is told of answers.</param>
public sealed record DiskVirtqueue(ulong Address, int HardwareQueue, ulong Callback);

/// <summary>A disk of virtio_blk.</summary>
/// <param name="Device">The disk.</param>
/// <param name="Queues">Its queues that interrupt: those that are polled have no callback.</param>
public sealed record VirtioDisk(BlockDevice Device, IReadOnlyList<DiskVirtqueue> Queues);

/// <summary>Disks of virtio_blk, and how far their requests have got (drivers/block/virtio_blk.c, drivers/virtio/virtio_ring.c).</summary>
public static class VirtioDisks
{
    private const string Driver = "virtio_blk", Ring = "virtio_ring";

    /// <summary>Queues of one disk, and entries of one queue, at most (virtio 1.2, 2.6).</summary>
    private const ulong MaxQueues = 4096, MaxEntries = 32768;

    /// <summary>All of them. Disks whose driver is another, and those whose rings are packed, are left out.</summary>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    /// <exception cref="KernelShapeException">Something makes no sense, or the types are not known.</exception>
    public static List<VirtioDisk> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        var found = new List<VirtioDisk>();
        if (TypesOf(kernel, Driver, "virtio_blk_vq") is not { } driver || TypesOf(kernel, Ring, "vring_virtqueue") is not { } ring)
            return found;
        foreach (BlockDevice device in BlockDevices.Enumerate(kernel, limits))
        {
            if (device.Partition != 0 || device.Queue == 0 || kernel.Read(device.Queue, "request_queue.mq_ops") is not (var operations and not 0)
                || kernel.Image.Symbolize(kernel.Read(operations, "blk_mq_ops.queue_rq")) is not { Offset: 0, Name: "virtio_queue_rq" })
                continue;
            if (QueuesOf(kernel, device, driver, ring) is { Count: > 0 } queues)
                found.Add(new VirtioDisk(device, queues));
        }

        return found;
    }

    /// <summary>How far a queue has got.</summary>
    /// <inheritdoc cref="Enumerate" path="/exception"/>
    public static VirtqueueProgress ProgressOf(LinuxKernel kernel, DiskVirtqueue queue)
    {
        TypeCatalog ring = TypesOf(kernel, Ring, "vring_virtqueue") ?? throw new KernelShapeException("the types of virtio_ring are not known");
        ulong vring = unchecked(queue.Address - (ulong)ring.Member("vring_virtqueue.vq").ByteOffset);
        ulong entries = kernel.Read(vring, "vring_virtqueue.split.vring.num", ring);
        if (entries is 0 or > MaxEntries)
            throw new KernelShapeException($"a virtqueue says that it has {entries} entries");
        ulong available = kernel.Read(vring, "vring_virtqueue.split.vring.avail", ring), used = kernel.Read(vring, "vring_virtqueue.split.vring.used", ring);

        // Both begin with flags and idx, of 16 bits each; elements of the used ring have 8 bytes, and avail_event follows them.
        ushort? taken = kernel.Read(vring, "vring_virtqueue.event", ring) != 0 ? ReadU16(kernel, unchecked(used + 4 + (entries * 8)), "avail_event") : null;
        return new VirtqueueProgress(
            ReadU16(kernel, available + 2, "vring_avail.idx"), taken, ReadU16(kernel, used + 2, "vring_used.idx"), (ushort)kernel.Read(vring, "vring_virtqueue.last_used_idx", ring));
    }

    /// <summary>A request whose data is not done yet, and which may be given to the device once more.</summary>
    /// <inheritdoc cref="Enumerate" path="/exception"/>
    public static bool IsWhole(LinuxKernel kernel, BlockRequest request) => request.Operation switch
    {
        "READ" or "WRITE" => request.Bytes > 0 && kernel.Read(request.Address, "request.bio") != 0,
        "FLUSH" => true,
        _ => false,
    };

    /// <summary>Some CPU has requests to complete that have been sent to it (blk_cpu_done, block/blk-mq.c).</summary>
    /// <inheritdoc cref="Enumerate" path="/exception"/>
    public static bool IsCompleting(LinuxKernel kernel) =>
        Cpus.Possible(kernel).Any(cpu => kernel.ReadU64(PerCpu.Address(kernel, "blk_cpu_done", cpu), "blk_cpu_done") != 0);

    private static List<DiskVirtqueue> QueuesOf(LinuxKernel kernel, BlockDevice device, TypeCatalog driver, TypeCatalog ring)
    {
        ulong disk = kernel.Read(device.Disk, "gendisk.private_data"), count = kernel.Read(disk, "virtio_blk.num_vqs", driver), table = kernel.Read(disk, "virtio_blk.vqs", driver);
        if (count > MaxQueues)
            throw new KernelShapeException($"{device.Name} says that it has {count} virtqueues");
        ulong size = (ulong)driver.SizeOf("virtio_blk_vq");
        var queues = new List<DiskVirtqueue>();
        for (ulong i = 0; i < count; i++)
        {
            ulong queue = kernel.Read(unchecked(table + (i * size)), "virtio_blk_vq.vq", driver);
            ulong vring = unchecked(queue - (ulong)ring.Member("vring_virtqueue.vq").ByteOffset);
            if (kernel.Read(vring, "vring_virtqueue.packed_ring", ring) != 0 || kernel.Read(vring, "vring_virtqueue.broken", ring) != 0)
                continue;
            if (kernel.Read(queue, "virtqueue.callback", ring) is var callback and not 0)
                queues.Add(new DiskVirtqueue(queue, (int)i, callback));
        }

        return queues;
    }

    /// <summary>The kernel's types where the code is built in, the module's where it is one.</summary>
    private static TypeCatalog? TypesOf(LinuxKernel kernel, string module, string type) =>
        kernel.Image.Types.TrySizeOf(type, out _) ? kernel.Image.Types : kernel.Image.TryTypesFor(module, out TypeCatalog types) && types.TrySizeOf(type, out _) ? types : null;

    private static ushort ReadU16(LinuxKernel kernel, ulong address, string what)
    {
        Span<byte> raw = stackalloc byte[2];
        kernel.Space.Read(new VirtualAddress(address), raw, what);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt16LittleEndian(raw);
    }
}
