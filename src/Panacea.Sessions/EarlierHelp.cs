using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;

namespace Panacea.Sessions;

/// <summary>What was done for disks and ticks, of which no function is to blame: what has not helped is not done again, however long ago it was.</summary>
internal sealed class EarlierHelp
{
    /// <summary>Queues and timers; more than a machine has, only a guest that lies has.</summary>
    private const int Max = 4096;

    private readonly Dictionary<ulong, (DiskStall Stall, string Id)> _stalls = [];
    private readonly Dictionary<ulong, string> _timers = [];

    /// <summary>A queue was helped: whether that has done anything shows when it stands again.</summary>
    /// <param name="stall">How it stood.</param>
    /// <param name="id">The incident.</param>
    public void Add(DiskStall stall, string id)
    {
        if (_stalls.Count >= Max)
            _stalls.Clear();
        _stalls[stall.Queue.Address] = (stall, id);
    }

    /// <summary>A tick was started again, and the CPU has none.</summary>
    /// <param name="timer">Its timer.</param>
    /// <param name="id">The incident.</param>
    public void Add(TickTimer timer, string id)
    {
        if (_timers.Count >= Max)
            _timers.Clear();
        _timers[timer.Address] = id;
    }

    /// <summary>The incident in which the same was helped for nothing; null where it was not.</summary>
    public string? InVain(Hang hang) => hang switch
    {
        { Stall: { } stall } => _stalls.TryGetValue(stall.Queue.Address, out var helped) && stall.IsStill(helped.Stall) ? helped.Id : null,
        { Timer: { } timer } => _timers.GetValueOrDefault(timer.Address),
        _ => null,
    };

    /// <summary>Another kernel runs now.</summary>
    public void Clear()
    {
        _stalls.Clear();
        _timers.Clear();
    }
}
