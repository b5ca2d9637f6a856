using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>Reads the machine around a crash after it goes on, beside the session, which meanwhile waits for the next crash: that one must not wait for this.</summary>
internal sealed class Aftermath
{
    /// <summary>A reader that takes longer is given up: its parts take milliseconds.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly long _startedTicks = Stopwatch.GetTimestamp();
    private readonly ArmedKernel _kernel;
    private readonly RevocableMemory _memory;
    private readonly TimeSpan _patience;
    private readonly Task<MachineReading> _work;
    private long _doneTicks;

    /// <summary>Begins with a reader of its own and less patience; for tests.</summary>
    internal Aftermath(ArmedKernel kernel, IGuestMemory memory, Func<IGuestMemory, MachineReading> read, TimeSpan patience)
    {
        (_kernel, _patience) = (kernel, patience);
        _memory = new RevocableMemory(memory);
        _work = Task.Factory.StartNew(
            () =>
            {
                MachineReading reading = read(_memory);
                Volatile.Write(ref _doneTicks, Stopwatch.GetTimestamp());

                // What this left behind is given back now, not in the middle of the next crash.
                GC.Collect(2, GCCollectionMode.Forced, blocking: true);
                return reading;
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Begins.</summary>
    /// <param name="kernel">The kernel; must outlive <see cref="Take"/>.</param>
    /// <param name="memory">The guest's memory; must outlive <see cref="Revoke"/>.</param>
    /// <param name="evidence">The crash, sealed.</param>
    /// <param name="limits">Ceilings.</param>
    public static Aftermath Begin(ArmedKernel kernel, IGuestMemory memory, CrashEvidence evidence, TargetLimits limits) =>
        new(kernel, memory, revocable => new MachineStateReader(kernel.Image, revocable, StateMoment.Running, limits).Read(evidence), Patience);

    /// <summary>Nothing has to be waited for: it is done, or its time is up.</summary>
    public bool IsDone => _work.IsCompleted || Left == TimeSpan.Zero;

    private TimeSpan Left => Stopwatch.GetElapsedTime(_startedTicks) is var taken && taken < _patience ? _patience - taken : TimeSpan.Zero;

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
            if (!_work.Wait(Left))
            {
                // Without memory it comes to its end; one that does not, by an error of ours, must not hold up the session.
                Revoke();
                if (!_work.Wait(_patience))
                {
                    _kernel.Keep();
                    error = "the state of the machine: its reader did not end in time and was given up";
                    return null;
                }
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
