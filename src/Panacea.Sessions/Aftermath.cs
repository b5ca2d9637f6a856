using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>Reads the machine around a crash after it goes on, beside the session, which meanwhile waits for the next crash: that one must not wait for this.</summary>
internal sealed class Aftermath
{
    /// <summary>A reader that takes longer is given up: its parts take milliseconds.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly RevocableMemory _memory;
    private readonly Task<MachineReading> _work;
    private long _doneTicks;

    private Aftermath(RepairImage image, IGuestMemory memory, CrashEvidence evidence, TargetLimits limits)
    {
        _memory = new RevocableMemory(memory);
        _work = Task.Factory.StartNew(
            () =>
            {
                MachineReading reading = new MachineStateReader(image, _memory, StateMoment.Running, limits).Read(evidence);
                Volatile.Write(ref _doneTicks, Stopwatch.GetTimestamp());

                // What this left behind is given back now, not in the middle of the next crash.
                GC.Collect(2, GCCollectionMode.Forced, blocking: true);
                return reading;
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Begins.</summary>
    /// <param name="image">The kernel; must outlive <see cref="Take"/>.</param>
    /// <param name="memory">The guest's memory; must outlive <see cref="Revoke"/>.</param>
    /// <param name="evidence">The crash, sealed.</param>
    /// <param name="limits">Ceilings.</param>
    public static Aftermath Begin(RepairImage image, IGuestMemory memory, CrashEvidence evidence, TargetLimits limits) => new(image, memory, evidence, limits);

    /// <summary>Nothing has to be waited for.</summary>
    public bool IsDone => _work.IsCompleted;

    /// <summary>The guest's memory is not read any more.</summary>
    public void Revoke() => _memory.Revoke();

    /// <summary>What was read; null where it failed or takes too long.</summary>
    /// <param name="doneTicks">When it was done, by <see cref="Stopwatch"/>.</param>
    /// <param name="error">Why there is nothing.</param>
    public MachineReading? Take(out long doneTicks, out string? error)
    {
        error = null;
        doneTicks = 0;
        try
        {
            if (!_work.Wait(Patience))
            {
                // Without memory it comes to its end.
                Revoke();
                _work.Wait();
            }

            doneTicks = Volatile.Read(ref _doneTicks);
            return _work.Result;
        }
        catch (AggregateException e)
        {
            error = $"the state of the machine: {e.InnerException?.GetType().Name}: {e.InnerException?.Message}";
            return null;
        }
    }
}
