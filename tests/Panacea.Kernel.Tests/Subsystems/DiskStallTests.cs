using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

/// <summary>What the two sides of a virtqueue, and the requests of its disk, say of a disk that does not get on.</summary>
public sealed class DiskStallTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Both_sides_of_a_queue_tell_what_is_wrong(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda", (1, 1), (0, 0), (0, 2));
        g.Guest.AddDisk(8 << 20, "sda", g.Guest["null_fops"], (1, 1));
        VirtioDisk found = Assert.Single(VirtioDisks.Enumerate(g.Kernel, Few));
        DiskVirtqueue queue = Assert.Single(found.Queues);
        Assert.Equal(("vda", disk.Queue, 0, g.Guest["virtblk_done"]), (found.Device.Name, queue.Address, queue.HardwareQueue, queue.Callback));

        // Indexes run over.
        Assert.Equal((StallKind.AnswerUnheard, 0xfffful), Of(65535 + 3, 2, 1, 0xffff));
        Assert.Equal((StallKind.RequestUntold, (5UL << 16) | 5), Of(7, 5, 5, 5));
        Assert.Null(Of(7, 7, 5, 5));
        Assert.Equal((StallKind.RequestsLost, 0UL), Of(7, 3, 7, 7));
        Assert.Equal([(disk.Requests[0], false), (disk.Requests[2], true)], DiskStall.Of(g.Kernel, g.Kernel, found, queue, true, Few)!.Requests.Select(r => (r.Address, r.IsComplete)));

        // Where the kernel keeps no times, one request can't be told from the next in its place.
        g.Guest.Put(disk.Requests[0], "request.io_start_time_ns", 0);
        g.Guest.Put(disk.Requests[2], "request.state", 0);
        Assert.Null(Of(7, 7, 7, 7));
        g.Guest.Put(disk.Context, "blk_mq_hw_ctx.state", 3);
        Assert.Equal((StallKind.QueueStopped, 0UL), Of(7, 7, 7, 7));

        // A device that does not say what it has taken.
        g.Guest.Put(disk.Queue - g.Guest.Types.Offset("vring_virtqueue.vq"), "vring_virtqueue.event", 0);
        Assert.Null(Of(7, 5, 5, 5));

        (StallKind Kind, ulong Mark)? Of(int offered, ushort taken, ushort answered, ushort heard)
        {
            g.Guest.SetProgress(disk, unchecked((ushort)offered), taken, answered, heard);
            return DiskStall.Of(g.Kernel, g.Kernel, found, queue, true, Few) is { } stall ? (stall.Kind, stall.Mark) : null;
        }
    }

    /// <summary>Nobody has given them to the driver, as where a run of the queue was lost; one that is quiesced is not run on purpose.</summary>
    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void What_waits_for_the_driver_is_seen(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda", (1, 0), (0, 0));
        g.Guest.Put(disk.Requests[1], "request.start_time_ns", 77);
        foreach (bool refused in (bool[])[true, false])
        {
            Assert.Null(Of());
            g.Guest.SetWaiting(disk, disk.Requests[1], refused);
            DiskStall stall = Of()!;
            Assert.Equal((StallKind.QueueNotRun, (disk.Requests[1], 77UL)), (stall.Kind, stall.Waiting));
            g.Guest.SetWaiting(disk, disk.Requests[0], refused);
            Assert.False(Of()!.IsStill(stall));
            g.Guest.Put(disk.Disk.Queue, "request_queue.quiesce_depth", 1);
            Assert.Null(Of());
            g.Guest.Put(disk.Disk.Queue, "request_queue.quiesce_depth", 0);

            // The answer will have it run.
            g.Guest.SetProgress(disk, 8, 8, 7, 7);
            Assert.Null(Of());
            g.Guest.SetProgress(disk, 8, 8, 8, 8);
            g.Guest.SetWaiting(disk, 0, refused);
        }

        g.Guest.Put(disk.Context, "blk_mq_hw_ctx.nr_ctx", 0xffff);
        Assert.Throws<KernelShapeException>(Of);

        DiskStall? Of()
        {
            VirtioDisk found = VirtioDisks.Enumerate(g.Kernel, Few)[0];
            return DiskStall.Of(g.Kernel, g.Kernel, found, found.Queues[0], true, Few);
        }
    }

    /// <summary>What comes after a help is the same only where nothing of it has got on.</summary>
    [Fact]
    public void What_stands_still_is_told_from_what_stands_again()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions());
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda", (1, 1), (0, 0));
        VirtioDisk found = VirtioDisks.Enumerate(g.Kernel, Few)[0];

        // More is offered, and nothing taken; one was.
        DiskStall untold = At(7, 5, 5, 5);
        Assert.True(At(9, 5, 5, 5).IsStill(untold));
        Assert.False(At(9, 6, 6, 6).IsStill(untold));
        DiskStall unheard = At(7, 7, 6, 5);
        Assert.True(At(7, 7, 7, 5).IsStill(unheard));
        Assert.False(At(7, 7, 7, 6).IsStill(unheard));
        Assert.False(unheard.IsStill(untold));

        // The same request, issued anew; another one in its place.
        DiskStall lost = At(7, 7, 7, 7);
        g.Guest.Put(disk.Requests[0], "request.io_start_time_ns", 99_000);
        Assert.True(At(8, 8, 8, 8).IsStill(lost));
        g.Guest.Put(disk.Requests[0], "request.start_time_ns", 98_000);
        Assert.False(At(8, 8, 8, 8).IsStill(lost));

        g.Guest.Put(disk.Requests[0], "request.state", 0);
        g.Guest.Put(disk.Context, "blk_mq_hw_ctx.state", 3);
        DiskStall stopped = At(8, 8, 8, 8);
        Assert.True(At(8, 8, 8, 8).IsStill(stopped));
        Assert.False(At(9, 9, 9, 9).IsStill(stopped));

        DiskStall At(ushort offered, ushort taken, ushort answered, ushort heard)
        {
            g.Guest.SetProgress(disk, offered, taken, answered, heard);
            return DiskStall.Of(g.Kernel, g.Kernel, found, found.Queues[0], true, Few)!;
        }
    }

    [Theory]
    [InlineData("packed_ring")]
    [InlineData("broken")]
    public void Queues_of_another_kind_are_left_out(string flag)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions());
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda");
        g.Guest.Put(disk.Queue - g.Guest.Types.Offset("vring_virtqueue.vq"), $"vring_virtqueue.{flag}", 1);
        Assert.Empty(VirtioDisks.Enumerate(g.Kernel, Few));
    }

    [Fact]
    public void A_queue_that_makes_no_sense_is_refused()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions());
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda");
        DiskVirtqueue queue = VirtioDisks.Enumerate(g.Kernel, Few)[0].Queues[0];
        g.Guest.Put(disk.Queue - g.Guest.Types.Offset("vring_virtqueue.vq"), "vring_virtqueue.split.vring.num", 1 << 20);
        Assert.Throws<KernelShapeException>(() => VirtioDisks.ProgressOf(g.Kernel, queue));
        g.Guest.Put(g.Guest.Get(disk.Disk.Disk, "gendisk.private_data"), "virtio_blk.num_vqs", 1 << 20);
        Assert.Throws<KernelShapeException>(() => VirtioDisks.Enumerate(g.Kernel, Few));
    }

    /// <summary>What was done in part is not given to a device again.</summary>
    [Theory]
    [InlineData(0u, 4096u, true, true)]
    [InlineData(1u, 4096u, true, true)]
    [InlineData(1u, 0u, true, false)]
    [InlineData(0u, 4096u, false, false)]
    [InlineData(2u, 0u, false, true)]
    [InlineData(9u, 4096u, true, false)]
    public void A_request_is_whole_or_not(uint operation, uint bytes, bool hasData, bool whole)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions());
        SyntheticVirtioDisk disk = g.Guest.AddVirtioDisk("vda", (operation, 1));
        g.Guest.Put(disk.Requests[0], "request.__data_len", bytes);
        g.Guest.Put(disk.Requests[0], "request.bio", hasData ? disk.Requests[0] : 0);
        Assert.Equal(whole, VirtioDisks.IsWhole(g.Kernel, Assert.Single(BlockDevices.InFlight(g.Kernel, BlockDevices.Enumerate(g.Kernel, Few)[0], Few))));
        Assert.False(VirtioDisks.IsCompleting(g.Kernel));
        g.Guest.WriteU64(g.Guest.PerCpu("blk_cpu_done", 1), disk.Requests[0]);
        Assert.True(VirtioDisks.IsCompleting(g.Kernel));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void The_timer_of_a_tick_is_read(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        ulong tick = g.Guest.PerCpu("tick_cpu_sched", 1);
        g.Guest.Put(tick, "tick_sched.sched_timer.function", g.Guest["tick_sched_timer"]);
        g.Guest.Put(tick, "tick_sched.sched_timer.node.expires", 4_000_000);
        Assert.Equal(new TickTimer(tick + g.Guest.Types.Offset("tick_sched.sched_timer"), g.Guest["tick_sched_timer"], false, false, 4_000_000), TickTimer.Read(g.Kernel, 1));
        g.Guest.Put(tick, "tick_sched.sched_timer.state", 1);
        g.Guest.Put(tick, shape == KernelShape.Linux612 ? "tick_sched.flags" : "tick_sched.tick_stopped", shape == KernelShape.Linux612 ? 6UL : 1);
        Assert.True(TickTimer.Read(g.Kernel, 1) is { IsQueued: true, IsStopped: true });
    }
}
