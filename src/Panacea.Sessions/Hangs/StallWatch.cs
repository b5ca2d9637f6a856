using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions.Hangs;

/// <summary>
/// Sees from outside that requests of a disk do not get on although its device does: an interrupt or a notification that was lost, requests that nobody has any more. virtio_blk has no timeout of its own, and who waits
/// for such a request waits for ever. Waiting for a device is no proof of anything: what counts is that both sides of the queue have stood so all the while, and that the guest was at work meanwhile.
/// </summary>
/// <param name="after">How long it has to have stood so.</param>
/// <param name="cpus">Number of CPUs.</param>
/// <param name="elapsed">How long ago a moment of the session's clock was.</param>
/// <param name="now">The session's clock.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class StallWatch(TimeSpan after, int cpus, Func<long, TimeSpan> elapsed, Func<long> now, TargetLimits limits)
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(500);

    /// <summary>A look takes at most such a part of the time, and no look counts for more than so many steps.</summary>
    private const int Rest = 200, MostSteps = 2;

    /// <summary>Looks from one list of the disks to the next; and from one at all requests of a queue on which nothing is under way to the next, where nobody sleeps uninterruptibly.</summary>
    private const int LooksPerList = 32, LooksPerRequests = 8;

    /// <summary>Looks at which a request has to have been lost.</summary>
    private const int LeastLooks = 3;

    /// <summary>Pages that are kept during a look: above all those by which addresses are translated.</summary>
    private const int KeptPages = 20;

    /// <summary>Requests that are given to a device again at a time: a stop each.</summary>
    private const int MostRequests = 32;

    private readonly Dictionary<ulong, Track> _tracks = [];
    private readonly GuestWork _work = new(cpus);
    private readonly LookMemory _memory = new(KeptPages);
    private IReadOnlyList<VirtioDisk> _disks = [];
    private long _lookedAt;
    private TimeSpan _pause = Step;
    private int _looks;

    // For how long the guest has been seen at work, all together.
    private TimeSpan _atWork;

    private sealed class Track
    {
        public StallKind? Kind { get; set; }

        public ulong Mark { get; set; }

        /// <summary>What the time of work was when it was first so.</summary>
        public TimeSpan Since { get; set; }

        public bool IsTold { get; set; }

        /// <summary>Each request that may be lost, by its address and when it was issued: since when, and at how many looks.</summary>
        public Dictionary<(ulong Address, ulong Issued), (TimeSpan Since, int Looks, bool IsTold)> Requests { get; set; } = [];
    }

    /// <summary>Looks, where it is time to.</summary>
    /// <param name="live">The kernel over the guest, which runs.</param>
    /// <param name="isWanted">The guest has stopped: whoever looks is needed elsewhere.</param>
    /// <returns>A queue that stands still and was not told of before; null in the usual case.</returns>
    public DiskStall? Look(LinuxKernel live, Func<bool> isWanted)
    {
        TimeSpan since = elapsed(_lookedAt);
        if (since < _pause)
            return null;
        _lookedAt = now();
        try
        {
            if (PanicState.IsEnding(live))
            {
                _tracks.Clear();
                return null;
            }

            LinuxKernel kernel = _memory.Over(live);
            _work.Look(kernel);

            // A CPU that hangs is another matter, and a host that gives the guest no time is none.
            if (!_work.All)
                return null;
            _atWork += since < _pause * MostSteps ? since : _pause * MostSteps;
            if (_looks % LooksPerList == 0)
                List(kernel);
            bool withRequests = _looks++ % LooksPerRequests == 0 || RunQueues.Uninterruptible(kernel, cpus) > 0;
            foreach (VirtioDisk disk in _disks)
            {
                foreach (DiskVirtqueue queue in disk.Queues)
                {
                    if (isWanted())
                        return null;
                    if (Follow(disk, queue, kernel, live, withRequests) is { } stall)
                        return stall;
                }
            }

            return null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            // The guest runs meanwhile: what did not fit together now may at the next look. A disk may be gone.
            _looks = 0;
            return null;
        }
        finally
        {
            TimeSpan took = elapsed(_lookedAt) * Rest;
            _pause = took > Step ? took : Step;
        }
    }

    /// <summary>It was told of: not again until it has got on.</summary>
    public void Tell(DiskStall stall)
    {
        if (!_tracks.TryGetValue(stall.Queue.Address, out Track? track))
            return;
        track.IsTold = true;
        foreach (BlockRequest request in stall.Requests)
            track.Requests[(request.Address, request.IssuedNs)] = (_atWork, 0, true);
    }

    /// <summary>It was seen to: whatever stands still from now on is new.</summary>
    public void Forget(DiskStall stall) => _tracks.Remove(stall.Queue.Address);

    /// <summary>It stands as it stood.</summary>
    public static bool IsStill(DiskStall stall, LinuxKernel kernel, TargetLimits limits) => stall.Kind == StallKind.RequestsLost
        ? BlockDevices.InFlight(kernel, stall.Disk.Device, limits).ToHashSet().IsSupersetOf(stall.Requests)
        : DiskStall.Of(kernel, kernel, stall.Disk, stall.Queue, true, limits) is { } state && state.Kind == stall.Kind && state.Mark == stall.Mark;

    private void List(LinuxKernel kernel)
    {
        _disks = VirtioDisks.Enumerate(kernel, limits);
        HashSet<ulong> queues = [.. _disks.SelectMany(d => d.Queues).Select(q => q.Address)];
        foreach (ulong gone in _tracks.Keys.Where(q => !queues.Contains(q)).ToList())
            _tracks.Remove(gone);
    }

    private DiskStall? Follow(VirtioDisk disk, DiskVirtqueue queue, LinuxKernel kernel, LinuxKernel live, bool withRequests)
    {
        DiskStall? stall = DiskStall.Of(kernel, live, disk, queue, withRequests, limits);
        if (!_tracks.TryGetValue(queue.Address, out Track? track))
            _tracks.Add(queue.Address, track = new Track());
        if (stall is { Kind: StallKind.RequestsLost })
        {
            (track.Kind, track.IsTold) = (null, false);
            return Lost(stall, track);
        }

        if (stall is null || stall.Kind != track.Kind || stall.Mark != track.Mark)
        {
            // Whether it is stopped, or not run, is only looked at with the requests.
            if (stall is not null || withRequests || track.Kind is not (StallKind.QueueStopped or StallKind.QueueNotRun))
                (track.Kind, track.Mark, track.Since, track.IsTold) = (stall?.Kind, stall?.Mark ?? 0, _atWork, false);
            return null;
        }

        return _atWork - track.Since >= after && !track.IsTold ? stall : null;
    }

    /// <summary>Requests that were there at every look at which the device had none.</summary>
    private DiskStall? Lost(DiskStall stall, Track track)
    {
        var requests = new Dictionary<(ulong, ulong), (TimeSpan Since, int Looks, bool IsTold)>();
        var lost = new List<BlockRequest>();
        foreach (BlockRequest request in stall.Requests)
        {
            (TimeSpan Since, int Looks, bool IsTold) seen = track.Requests.TryGetValue((request.Address, request.IssuedNs), out var known) ? known with { Looks = known.Looks + 1 } : (_atWork, 1, false);
            requests[(request.Address, request.IssuedNs)] = seen;
            if (_atWork - seen.Since >= after && seen is { Looks: >= LeastLooks, IsTold: false } && lost.Count < MostRequests)
                lost.Add(request);
        }

        track.Requests = requests;
        return lost.Count > 0 ? stall with { Requests = lost } : null;
    }
}
