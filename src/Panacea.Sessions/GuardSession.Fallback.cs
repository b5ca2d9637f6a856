using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    private Fallback? _fallback;
    private CancellationToken _cancel;

    /// <summary>The guest stands where it died, because its policy has it so.</summary>
    private bool IsKept => _fallback is { IsKept: true };

    /// <summary>Where dumps go; elsewhere in tests.</summary>
    internal Func<string, Dumping.IDumpStore> OpenDump { get; init; } = path => Dumping.DumpFile.Create(path, overwrite: false);

    /// <summary>No repair is for this death: what the policy has for it is done while the guest stands.</summary>
    private FallbackResult? Decline(IHeldGuest guest, CrashEvidence? evidence, DeathEvent death)
    {
        if (options.Fallback is { Then: FallbackAction.Leave, DumpDirectory: null })
            return null;
        _fallback ??= new Fallback(options.Fallback, sink, OpenDump, _limits);
        return _fallback.Take(_target, _armed!, guest, evidence, death, _cancel);
    }

    /// <summary>Tells what came of a death; a dump is completed here, now that the guest goes on.</summary>
    private StopResult Tell(StopResult stop, DeathEvent death, long stoppedUs)
    {
        if (_fallback is null || !_fallback.TakeTold())
            sink.OnEvent(death);
        if (!IsKept)
            sink.OnEvent(new ResumedEvent(_vm, death.Id, stop.Applied?.Kind ?? RepairKind.None, stoppedUs));
        if (stop.Fallback is not { } done)
            return stop;
        done = _fallback!.Finish(done);
        if (done.Dump is { } dump)
            sink.OnEvent(new DumpedEvent(_vm, death.Id, dump, 0));
        sink.OnEvent(new FallbackEvent(_vm, death.Id, done.Action, done.Dump?.File, done.Next, done.Errors));
        return stop with { Fallback = done };
    }

    /// <summary>A guest that is kept stands until its operator lets it go on, or the guard ends. Then its death points are armed again: this death goes on, and there may be another one.</summary>
    private void WaitWhileKept(CancellationToken cancel)
    {
        long started = Time.GetTimestamp();
        while (!cancel.IsCancellationRequested && !_target.IsGone)
        {
            Incidents.Look();
            AnswerRequests();
            if (_target.NoteResumedElsewhere())
            {
                _fallback!.LetGo();
                Incidents.Pause(Time.GetElapsedTime(started));
                _target.ArmBreakpoints(_armed!.Addresses);
                return;
            }

            cancel.WaitHandle.WaitOne(BootStep);
        }
    }
}
