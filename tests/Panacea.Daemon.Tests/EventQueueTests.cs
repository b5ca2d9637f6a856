using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions;

namespace Panacea.Daemon.Tests;

public class EventQueueTests
{
    private sealed class Writer(Action<SessionEvent> write) : IEventWriter
    {
        public void Write(SessionEvent sessionEvent) => write(sessionEvent);
    }

    private static IncidentEvent Incident(string id) => new(
        "vm", id, "t", "b", CrashContext.Process, RepairKind.Kill, IncidentOutcome.Recovered, 1, [], null);

    [Fact]
    public void Events_arrive_in_order_at_every_writer()
    {
        var one = new List<SessionEvent>();
        var two = new List<SessionEvent>();
        using var queue = new EventQueue([new Writer(one.Add), new Writer(two.Add)], _ => { });
        queue.Start();
        foreach (int i in Enumerable.Range(0, 500))
            queue.Add(new WarningEvent("vm", $"{i}"));
        Assert.True(queue.Close(TimeSpan.FromSeconds(10)));
        Assert.Equal(Enumerable.Range(0, 500).Select(i => new WarningEvent("vm", $"{i}")), one);
        Assert.Equal(one, two);
    }

    [Fact]
    public void A_writer_that_fails_is_dropped_and_the_others_go_on()
    {
        var seen = new List<SessionEvent>();
        var said = new List<string>();
        using var queue = new EventQueue([new Writer(_ => throw new IOException("Broken pipe")), new Writer(seen.Add)], said.Add);
        queue.Start();
        queue.Add(new ResetEvent("vm"));
        queue.Add(new ResetEvent("vm"));
        Assert.True(queue.Close(TimeSpan.FromSeconds(10)));
        Assert.Equal(2, seen.Count);
        Assert.Contains("Broken pipe", Assert.Single(said), StringComparison.Ordinal);
    }

    [Fact]
    public void A_reader_that_has_stopped_costs_old_events_but_no_incident()
    {
        using var release = new ManualResetEventSlim();
        using var stuck = new ManualResetEventSlim();
        var seen = new List<SessionEvent>();
        using var queue = new EventQueue(
            [new Writer(e =>
            {
                stuck.Set();
                release.Wait(TimeSpan.FromSeconds(30));
                seen.Add(e);
            })],
            _ => { }, capacity: 3);
        queue.Start();
        queue.Add(new WarningEvent("vm", "first"));
        Assert.True(stuck.Wait(TimeSpan.FromSeconds(10)));

        // The writer holds the first; of the next five, three fit, and incidents outlast the rest.
        queue.Add(Incident("1"));
        queue.Add(new WarningEvent("vm", "second"));
        queue.Add(new WarningEvent("vm", "third"));
        queue.Add(Incident("2"));
        queue.Add(Incident("3"));
        release.Set();
        Assert.True(queue.Close(TimeSpan.FromSeconds(10)));

        Assert.Equal(["1", "2", "3"], seen.OfType<IncidentEvent>().Select(e => e.Id));
        Assert.Contains(seen.OfType<WarningEvent>(), e => e.Message.StartsWith("2 events were dropped", StringComparison.Ordinal));
    }
}
