using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>A check-up of a guest that lives on after a repair: what of its kernel's structures is broken. It runs on a thread of its own over live memory, so that the session is there when the
/// guest stops again, and ends at its next read when it is told to.</summary>
internal sealed class RunningCheckUp
{
    /// <summary>Longer than the looks take by which a finding is confirmed; as a rule all is done in a fraction of it.</summary>
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(5);

    private readonly CancellationTokenSource _stop = new();
    private readonly Thread _thread;
    private StructureReport? _report;

    private RunningCheckUp(RepairImage image, IGuestMemory memory, TargetLimits limits, Func<CheckContext, StructureReport> look)
    {
        var context = new CheckContext(image.KernelOver(new EndingMemory(memory, _stop.Token)), limits) { IsLive = true, MaxObjects = StructureReport.MaxObjects, Cancel = _stop.Token };
        _thread = new Thread(() => Run(() => look(context))) { IsBackground = true, Name = "check-up" };
    }

    /// <summary>It is still looking.</summary>
    public bool IsRunning => _thread.IsAlive;

    /// <summary>Begins one.</summary>
    /// <param name="image">The kernel; it and the memory must outlive <see cref="Finish"/>.</param>
    /// <param name="memory">Live guest memory.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="look">What looks; another one in tests.</param>
    public static RunningCheckUp Start(RepairImage image, IGuestMemory memory, TargetLimits limits, Func<CheckContext, StructureReport>? look = null)
    {
        var started = new RunningCheckUp(image, memory, limits, look ?? (context => StructureReport.Of(context, Budget)));
        started._thread.Start();
        return started;
    }

    /// <summary>Tells it to end, and does not wait for that: the guest stands.</summary>
    public void Cancel() => _stop.Cancel();

    /// <summary>Waits until it has said all.</summary>
    public void Wait() => _thread.Join();

    /// <summary>Ends it where it has not ended, and nothing is read from the guest afterwards.</summary>
    /// <returns>What it said.</returns>
    public StructureReport Finish()
    {
        _stop.Cancel();
        _thread.Join();
        return _report ?? new StructureReport([], [], ["the check-up was interrupted: the guest stopped again, or what became of it was clear before"]);
    }

    private void Run(Func<StructureReport> look)
    {
        try
        {
            _report = look();
        }
        catch (OperationCanceledException)
        {
            // Told to.
        }
        catch (Exception e)
        {
            // Whatever it is, it must not end the guard.
            _report = new StructureReport([], [], [$"the check-up failed: {e.GetType().Name}: {e.Message}"]);
        }
    }

    /// <summary>Memory that is read until it is over.</summary>
    private sealed class EndingMemory(IGuestMemory memory, CancellationToken over) : IGuestMemory
    {
        public IReadOnlyList<PhysicalRange> Ranges => memory.Ranges;

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            over.ThrowIfCancellationRequested();
            return memory.TryRead(address, destination, out fault);
        }
    }
}
