using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Why requests of a disk do not get on although its device does.</summary>
public enum StallKind
{
    /// <summary>The device has answered, and the driver has not looked: an interrupt was lost, or its handler has not done its work.</summary>
    AnswerUnheard,

    /// <summary>The driver has offered requests, and the device waits to be told of them: a notification was lost.</summary>
    RequestUntold,

    /// <summary>Requests are with the driver that the device does not have.</summary>
    RequestsLost,

    /// <summary>The driver has had its queue stopped, and nothing is under way whose answer could start it again.</summary>
    QueueStopped,

    /// <summary>Requests wait to be given to the driver, which has none, and nobody gives them to it.</summary>
    QueueNotRun,
}

/// <summary>A queue of a disk that does not get on; a proof only where it has stood so for long while the guest was at work.</summary>
/// <param name="Disk">The disk.</param>
/// <param name="Queue">The queue.</param>
/// <param name="Kind">Why.</param>
/// <param name="Progress">How far it has got.</param>
/// <param name="Requests">Of <see cref="StallKind.RequestsLost"/>: those requests.</param>
public sealed record DiskStall(VirtioDisk Disk, DiskVirtqueue Queue, StallKind Kind, VirtqueueProgress Progress, IReadOnlyList<BlockRequest> Requests)
{
    /// <summary>Of <see cref="StallKind.QueueNotRun"/>: the first request that waits, by its address and when it was allocated.</summary>
    public (ulong Address, ulong StartNs) Waiting { get; init; }

    /// <summary>What of it changes as soon as it gets on, whatever else happens on the queue.</summary>
    public ulong Mark => Kind switch
    {
        StallKind.AnswerUnheard => Progress.Heard,
        StallKind.RequestUntold => ((ulong)Progress.Taken.GetValueOrDefault() << 16) | Progress.Answered,
        StallKind.QueueNotRun => Waiting.Address ^ Waiting.StartNs,
        _ => 0,
    };

    /// <summary>It is what was seen earlier, and nothing of that has got on meanwhile: the same answer is not looked at, the same request is not taken, or was lost once more.</summary>
    public bool IsStill(DiskStall earlier) => Queue.Address == earlier.Queue.Address && Kind == earlier.Kind && Kind switch
    {
        // Requests that were given to the driver again were issued anew, not allocated.
        StallKind.RequestsLost => Requests.Any(r => earlier.Requests.Any(e => (e.Address, e.StartNs) == (r.Address, r.StartNs))),
        StallKind.QueueStopped => Progress == earlier.Progress,
        _ => Mark == earlier.Mark,
    };

    /// <summary>What a queue would be stalled in, as it is now.</summary>
    /// <param name="kernel">The kernel, over memory that may have been kept for a moment.</param>
    /// <param name="live">The same over memory as it is now.</param>
    /// <param name="disk">The disk.</param>
    /// <param name="queue">One of its queues.</param>
    /// <param name="withRequests">What is held although nothing is under way is looked at, too, which takes longer.</param>
    /// <param name="limits">Ceilings.</param>
    /// <returns>Null where everything is as it is on a disk that gets on, or has nothing to do.</returns>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    /// <exception cref="KernelShapeException">Something makes no sense, or the types are not known.</exception>
    public static DiskStall? Of(LinuxKernel kernel, LinuxKernel live, VirtioDisk disk, DiskVirtqueue queue, bool withRequests, TargetLimits limits)
    {
        VirtqueueProgress progress = VirtioDisks.ProgressOf(live, queue);
        if (progress.Answered != progress.Heard)
            return new DiskStall(disk, queue, StallKind.AnswerUnheard, progress, []);
        if (!progress.IsQuiet)
            return progress.Taken is { } taken && taken != progress.Offered ? new DiskStall(disk, queue, StallKind.RequestUntold, progress, []) : null;
        if (!withRequests)
            return null;

        // Which request it is, the time tells at which it was issued: a kernel that keeps none (/sys/block/*/queue/iostats) leaves one like the other.
        List<BlockRequest> held = [.. BlockDevices.InFlight(kernel, disk.Device, limits).Where(r => r.HardwareQueue == queue.HardwareQueue && r.IssuedNs != 0)];
        if (held.Count > 0)
            return new DiskStall(disk, queue, StallKind.RequestsLost, progress, held);
        var hardware = HardwareQueue.Read(kernel, disk.Device.Queue, queue.HardwareQueue, limits);
        if (hardware.IsStopped)
            return new DiskStall(disk, queue, StallKind.QueueStopped, progress, []);
        return hardware.FirstWaiting is var waiting and not 0
            ? new DiskStall(disk, queue, StallKind.QueueNotRun, progress, []) { Waiting = (waiting, kernel.Read(waiting, "request.start_time_ns")) } : null;
    }
}
