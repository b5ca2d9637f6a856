using Panacea.Lab.Tour;

namespace Panacea.Lab.Tests;

public sealed class GuardEventTests
{
    [Fact]
    public void An_incident_is_read()
    {
        GuardEvent e = GuardEvent.Parse("""
            {"event":"incident","vm":"qmp:/x","id":"1","title":"t","bucket":"b","context":"process","repair":"error-return","outcome":"recovered","stopped_us":870,"lost":["x"],"record":null,"new_member":{}}
            """);
        Assert.Equal(("incident", "error-return", "recovered", 870L), (e.Event, e.Repair, e.Outcome, e.StoppedUs!.Value));
        Assert.Equal(["x"], e.Lost);
        Assert.Null(e.Record);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("panacea: something")]
    [InlineData("{}")]
    [InlineData("""{"event":"armed","stopped_us":"soon"}""")]
    public void What_is_no_event_is_refused(string line) => Assert.Throws<LabException>(() => GuardEvent.Parse(line));

    [Fact]
    public void The_kernel_s_figures_of_a_process_are_read()
    {
        // The name holds a space and parentheses.
        const string Stat = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 5012 0 3 0 250 50 0 0 20 0 12 0 890 1 2 3";
        ProcessUsage usage = ProcStat.Parse(Stat, "Name:\tx\nVmHWM:\t   61000 kB\nVmRSS:\t   40960 kB\n");
        Assert.Equal(new ProcessUsage(40960 * 1024, 61000 * 1024, 3.0), usage);
    }

    [Theory]
    [InlineData("", "VmHWM: 1 kB\nVmRSS: 1 kB\n")]
    [InlineData("1 (x) S 1 2", "VmHWM: 1 kB\nVmRSS: 1 kB\n")]
    [InlineData("1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 1 0", "Name: x\n")]
    public void Figures_that_are_missing_are_no_zero(string stat, string status) => Assert.Throws<LabException>(() => ProcStat.Parse(stat, status));
}
