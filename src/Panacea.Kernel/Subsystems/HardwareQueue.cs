using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A hardware queue of blk-mq: requests wait here before they are given to the driver (block/blk-mq.c, struct blk_mq_hw_ctx).</summary>
/// <param name="IsStopped">The driver has asked for no more requests.</param>
/// <param name="FirstWaiting">Guest-virtual address of the first request that waits to be given to the driver: of those it has refused before, and of each CPU's. 0 where none does, or the queue has been quiesced on purpose. What a
/// scheduler holds is not among them.</param>
public readonly record struct HardwareQueue(bool IsStopped, ulong FirstWaiting)
{
    /// <summary>BLK_MQ_S_STOPPED (include/linux/blk-mq.h).</summary>
    private const ulong Stopped = 1;

    /// <summary>Kinds of requests that have lists of their own (enum hctx_type), and CPUs that share a queue.</summary>
    private const int MaxTypes = 3, MaxCpus = 8192;

    /// <summary>Reads one.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="queue">Guest-virtual address of the request_queue.</param>
    /// <param name="index">Index of the hardware queue.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    /// <exception cref="KernelShapeException">Something makes no sense, or the types are not known.</exception>
    public static HardwareQueue Read(LinuxKernel kernel, ulong queue, int index, TargetLimits limits)
    {
        // An XArray since 6.0 (commit 4e5cc99e1e48, "blk-mq: manage hctx map via xarray"), an array before.
        ulong context = kernel.HasMember("request_queue.hctx_table")
            ? XArrays.Entries(kernel, unchecked(queue + kernel.Offset("request_queue.hctx_table")), "hctx_table", limits).FirstOrDefault(e => e.Index == (ulong)index).Value
            : kernel.ReadU64(unchecked(kernel.Read(queue, "request_queue.queue_hw_ctx") + ((ulong)index * 8)), "request_queue.queue_hw_ctx");
        return context == 0 ? default : new HardwareQueue((kernel.Read(context, "blk_mq_hw_ctx.state") & Stopped) != 0, Waiting(kernel, queue, context));
    }

    private static ulong Waiting(LinuxKernel kernel, ulong queue, ulong context)
    {
        // A count since 5.16 (commit e70feb8b3e68, "blk-mq: support concurrent queue quiesce/unquiesce"); older kernels are left out.
        if (!kernel.HasMember("blk_mq_hw_ctx.ctxs") || kernel.ReadIfPresent(queue, "request_queue.quiesce_depth") is not 0)
            return 0;
        if (First(kernel, unchecked(context + kernel.Offset("blk_mq_hw_ctx.dispatch"))) is var refused and not 0)
            return refused;
        ulong table = kernel.Read(context, "blk_mq_hw_ctx.ctxs"), type = kernel.Read(context, "blk_mq_hw_ctx.type"), count = kernel.Read(context, "blk_mq_hw_ctx.nr_ctx");
        if (type >= MaxTypes || count > MaxCpus)
            throw new KernelShapeException($"a hardware queue says that it is of type {type} and has {count} CPUs");
        for (ulong i = 0; i < count; i++)
        {
            ulong cpu = kernel.ReadU64(unchecked(table + (i * 8)), "blk_mq_hw_ctx.ctxs");
            if (First(kernel, unchecked(cpu + kernel.Offset("blk_mq_ctx.rq_lists") + (type * 16))) is var waiting and not 0)
                return waiting;
        }

        return 0;
    }

    private static ulong First(LinuxKernel kernel, ulong head) => kernel.ReadU64(head, "list_head.next") switch
    {
        var next when next == head => 0,
        0 => throw new KernelShapeException("a list of requests has no head"),
        var next => unchecked(next - kernel.Offset("request.queuelist")),
    };
}
