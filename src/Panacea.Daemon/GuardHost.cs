using System.Diagnostics;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Sessions;
using Panacea.Target;

namespace Panacea.Daemon;

/// <summary>How the guarding of one VM ended.</summary>
public enum GuardEnd
{
    /// <summary>Panacea was asked to stop, or the guest was shut down.</summary>
    Clean,

    /// <summary>The guest or its QEMU could not be guarded; an error event said why.</summary>
    TargetProblem,

    /// <summary>A repair image could not be used.</summary>
    ImageProblem,

    /// <summary>A bug of Panacea's.</summary>
    Bug,
}

/// <summary>Guards several VMs at once, a thread each; one that fails does not touch the others.</summary>
/// <param name="queue">Takes every event of every session.</param>
/// <param name="store">Keeps incidents.</param>
/// <param name="onBug">Told of an exception that no session should let out, before the error event.</param>
public sealed class GuardHost(EventQueue queue, IncidentStore store, Action<string, Exception> onBug)
{
    /// <summary>Pauses before attaching again to a VM that was guarded until its QEMU stopped answering; after the last one, guarding it ends with an error. A VM that has been
    /// guarded for <see cref="Forgiveness"/> since starts from the first.</summary>
    public IReadOnlyList<TimeSpan> Patience { get; init; } = [.. new[] { 0.5, 1, 2, 4, 8, 15 }.Select(TimeSpan.FromSeconds)];

    /// <summary>How long a VM must have been guarded for an earlier loss not to count.</summary>
    public TimeSpan Forgiveness { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Guards until all sessions have ended. Blocks.</summary>
    /// <returns>How each ended, in the order given.</returns>
    public IReadOnlyList<GuardEnd> Run(IReadOnlyList<GuardedVm> vms, CancellationToken cancel)
    {
        var ends = new GuardEnd[vms.Count];
        var threads = new Thread[vms.Count];
        for (int i = 0; i < vms.Count; i++)
        {
            int slot = i;
            threads[i] = new Thread(() => ends[slot] = RunOne(vms[slot], cancel)) { Name = $"guard-{i}" };
            threads[i].Start();
        }

        foreach (Thread thread in threads)
            thread.Join();
        return ends;
    }

    private GuardEnd RunOne(GuardedVm vm, CancellationToken cancel)
    {
        for (int losses = 0; ;)
        {
            var sink = new Sink(queue, store);
            long started = Stopwatch.GetTimestamp();
            try
            {
                vm.Open(sink).Run(cancel);
                return sink.SawError ? GuardEnd.TargetProblem : GuardEnd.Clean;
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return GuardEnd.Clean;
            }
            catch (TargetException lost) when (!cancel.IsCancellationRequested && !sink.SawError && (sink.SawArmed || losses > 0))
            {
                // The guest runs and was protected until now: whoever started this guard wants it protected on. A QEMU that is busy (a snapshot, a swapping host) answers again.
                if (sink.SawArmed && Stopwatch.GetElapsedTime(started) >= Forgiveness)
                    losses = 0;
                if (losses == Patience.Count)
                    return End(vm, sink, lost);
                TimeSpan pause = Patience[losses++];
                sink.OnEvent(new WarningEvent(vm.Vm, $"{lost.Message}; attaching again in {pause.TotalSeconds:0.#} s"));
                if (sink.SawAttached && !sink.SawDetached)
                    sink.OnEvent(new DetachedEvent(vm.Vm, "lost"));
                if (cancel.WaitHandle.WaitOne(pause))
                    return GuardEnd.Clean;
            }
            catch (Exception failure)
            {
                return End(vm, sink, failure);
            }
        }
    }

    private GuardEnd End(GuardedVm vm, Sink sink, Exception failure)
    {
        (GuardEnd end, string message) = failure switch
        {
            RepairImageException => (GuardEnd.ImageProblem, failure.Message),
            TargetException or GuestMemoryException or NotLinuxException or KernelShapeException => (GuardEnd.TargetProblem, failure.Message),
            _ => (GuardEnd.Bug, $"a bug in panacea ended the guarding of this VM: {failure.GetType().Name}: {failure.Message}"),
        };
        if (end == GuardEnd.Bug)
            onBug(vm.Vm, failure);
        if (!sink.SawError)
            sink.OnEvent(new ErrorEvent(vm.Vm, message));
        if (sink.SawAttached && !sink.SawDetached)
            sink.OnEvent(new DetachedEvent(vm.Vm, "error"));
        return end;
    }

    private sealed class Sink(EventQueue queue, IncidentStore store) : ISessionSink
    {
        public bool SawAttached { get; private set; }

        public bool SawArmed { get; private set; }

        public bool SawError { get; private set; }

        public bool SawDetached { get; private set; }

        public void OnEvent(SessionEvent sessionEvent)
        {
            SawAttached |= sessionEvent is AttachedEvent;
            SawArmed |= sessionEvent is ArmedEvent;
            SawError |= sessionEvent is ErrorEvent;
            SawDetached |= sessionEvent is DetachedEvent;
            queue.Add(sessionEvent);
        }

        public string? Store(Incident incident) => store.Store(incident);
    }
}
