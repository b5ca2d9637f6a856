using Panacea.Kernel.Image;
using Panacea.Sessions;
using Panacea.Target;

namespace Panacea.Daemon.Tests;

public class GuardHostTests
{
    private sealed class Recorder : IEventWriter
    {
        public List<SessionEvent> Events { get; } = [];

        public void Write(SessionEvent sessionEvent) => Events.Add(sessionEvent);
    }

    private sealed class Session(Action<CancellationToken> run) : IGuardSession
    {
        public void Run(CancellationToken cancel) => run(cancel);
    }

    private static (IReadOnlyList<GuardEnd> Ends, List<SessionEvent> Events, List<Exception> Bugs) Run(CancellationToken cancel, params GuardedVm[] vms)
    {
        var recorder = new Recorder();
        var bugs = new List<Exception>();
        using var queue = new EventQueue([recorder], _ => { });
        queue.Start();
        var store = new IncidentStore("/nonexistent/panacea", _ => { });
        IReadOnlyList<GuardEnd> ends = new GuardHost(queue, store, (_, e) => bugs.Add(e)) { Patience = [TimeSpan.Zero, TimeSpan.Zero] }.Run(vms, cancel);
        Assert.True(queue.Close(TimeSpan.FromSeconds(10)));
        return (ends, recorder.Events, bugs);
    }

    private static GuardedVm Vm(string name, Action<ISessionSink, CancellationToken> run) =>
        new(name, sink => new Session(cancel => run(sink, cancel)));

    [Fact]
    public void One_that_fails_does_not_touch_the_others()
    {
        using var stop = new CancellationTokenSource();
        using var failed = new ManualResetEventSlim();
        (IReadOnlyList<GuardEnd> ends, List<SessionEvent> events, _) = Run(
            stop.Token,
            Vm("a", (sink, cancel) =>
            {
                // Ends only after the other one has failed and this one was asked to stop.
                failed.Wait(TimeSpan.FromSeconds(30));
                stop.Cancel();
                cancel.WaitHandle.WaitOne();
                sink.OnEvent(new DetachedEvent("a", "interrupted"));
            }),
            Vm("b", (_, _) =>
            {
                failed.Set();
                throw new TargetException("no such socket");
            }));

        Assert.Equal([GuardEnd.Clean, GuardEnd.TargetProblem], ends);
        Assert.Contains(new ErrorEvent("b", "no such socket"), events);
        Assert.Contains(new DetachedEvent("a", "interrupted"), events);
    }

    [Fact]
    public void A_vm_that_was_never_reached_is_not_said_to_be_let_go()
    {
        (_, List<SessionEvent> events, _) = Run(default, Vm("b", (_, _) => throw new TargetException("no such socket")));
        Assert.Equal([new ErrorEvent("b", "no such socket")], events);
    }

    [Fact]
    public void A_session_that_said_its_error_is_not_echoed()
    {
        (IReadOnlyList<GuardEnd> ends, List<SessionEvent> events, _) = Run(default, Vm("b", (sink, _) =>
        {
            sink.OnEvent(new AttachedEvent("b", 1, "shared"));
            sink.OnEvent(new ErrorEvent("b", "said"));
            sink.OnEvent(new DetachedEvent("b", "error"));
            throw new TargetException("again");
        }));
        Assert.Equal([GuardEnd.TargetProblem], ends);
        Assert.Equal(3, events.Count);
    }

    [Fact]
    public void An_image_that_cannot_be_used_and_a_bug_are_told_apart()
    {
        (IReadOnlyList<GuardEnd> ends, List<SessionEvent> events, List<Exception> bugs) = Run(
            default,
            Vm("image", (_, _) => throw new RepairImageException("damaged")),
            Vm("bug", (_, _) => throw new InvalidOperationException("oh")));
        Assert.Equal([GuardEnd.ImageProblem, GuardEnd.Bug], ends);
        Assert.Equal("oh", Assert.Single(bugs).Message);
        Assert.Equal(2, events.OfType<ErrorEvent>().Count());
    }

    [Fact]
    public void A_factory_that_throws_is_that_vms_problem_only() =>
        Assert.Equal([GuardEnd.TargetProblem], Run(default, new GuardedVm("x", _ => throw new TargetException("gone"))).Ends);

    [Fact]
    public void A_vm_whose_qemu_stopped_answering_is_attached_to_again()
    {
        int runs = 0;
        (IReadOnlyList<GuardEnd> ends, List<SessionEvent> events, _) = Run(default, Vm("a", (sink, _) =>
        {
            Arm(sink);
            if (++runs == 1)
                throw new TargetException("QEMU did not answer in time");
            sink.OnEvent(new DetachedEvent("a", "gone"));
        }));
        Assert.Equal([GuardEnd.Clean], ends);
        Assert.Equal(["AttachedEvent", "ArmedEvent", "WarningEvent", "DetachedEvent", "AttachedEvent", "ArmedEvent", "DetachedEvent"], events.Select(e => e.GetType().Name));
        Assert.Equal("QEMU did not answer in time; attaching again in 0 s", ((WarningEvent)events[2]).Message);
        Assert.Equal(["lost", "gone"], events.OfType<DetachedEvent>().Select(e => e.Reason));
    }

    [Fact]
    public void Attaching_again_comes_to_an_end()
    {
        int runs = 0;
        (IReadOnlyList<GuardEnd> ends, List<SessionEvent> events, _) = Run(default, Vm("a", (sink, _) =>
        {
            if (++runs == 1)
                Arm(sink);
            throw new TargetException($"no answer {runs}");
        }));
        Assert.Equal([GuardEnd.TargetProblem], ends);
        Assert.Equal(3, runs);
        Assert.Equal(new ErrorEvent("a", "no answer 3"), events[^1]);
        Assert.Single(events.OfType<ErrorEvent>());
    }

    [Fact]
    public void A_vm_that_was_never_armed_is_not_tried_again()
    {
        int runs = 0;
        Run(default, Vm("a", (sink, _) =>
        {
            runs++;
            sink.OnEvent(new AttachedEvent("a", 1, "shared"));
            throw new TargetException("no kernel symbols");
        }));
        Assert.Equal(1, runs);
    }

    private static void Arm(ISessionSink sink)
    {
        sink.OnEvent(new AttachedEvent("a", 1, "shared"));
        sink.OnEvent(new ArmedEvent("a", "6.12", "id", 1, 1, []));
    }
}
