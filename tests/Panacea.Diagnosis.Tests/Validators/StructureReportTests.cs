using System.Text.Json;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Validators;
using Panacea.Target;
using Panacea.TestKit;

namespace Panacea.Diagnosis.Tests.Validators;

/// <summary>What is broken in a kernel goes into the report of its machine.</summary>
public sealed class StructureReportTests
{
    private static readonly TimeSpan Budget = TimeSpan.FromMinutes(1);

    [Fact]
    public void What_is_broken_is_in_every_rendering_of_the_report()
    {
        var g = new CheckedGuest();
        g.Guest.WriteU64(g.Guest.Kthread.Stack, 0x4141);
        MachineReport report = Machine(g).With(StructureReport.Of(g.Context(), Budget));
        Finding finding = Assert.Single(report.Findings, f => f.Id == "check.stacks.end-magic");
        Assert.Equal((CheckOutcome.Broken, 1), report.Structures.Where(s => s.Name == "stacks").Select(s => (s.Outcome, s.Broken)).Single());
        Assert.All(report.Structures.Where(s => s.Name != "stacks"), s => Assert.Equal(CheckOutcome.Ok, s.Outcome));
        foreach (string text in (string[])[MachineMarkdown.Render(report), MachineHtml.Render(report)])
        {
            Assert.Contains("check.stacks.end-magic", text, StringComparison.Ordinal);
            Assert.Contains("Broken: stacks (1)", text.Replace("\\", "", StringComparison.Ordinal), StringComparison.Ordinal);
        }

        JsonElement json = JsonSerializer.SerializeToElement(report, MachineReportJson.Default.MachineReport);
        Assert.Empty(JsonSchema.Load("diagnosis.schema.json").Validate(json));
        Assert.Contains(finding.Text, json.GetProperty("findings").EnumerateArray().Select(f => f.GetProperty("text").GetString()));
    }

    [Fact]
    public void What_the_time_does_not_reach_is_said()
    {
        var g = new CheckedGuest();
        StructureReport report = StructureReport.Of(g.Context(), TimeSpan.Zero);
        Assert.Empty(report.Checks);
        Assert.Contains("slabs", Assert.Single(report.NotChecked), StringComparison.Ordinal);
        Assert.Contains(Machine(g).With(report).Missing, m => m.EndsWith("the time was up", StringComparison.Ordinal));
    }

    [Fact]
    public void A_lock_whose_owner_is_gone_is_told_once()
    {
        var g = new CheckedGuest();
        g.Guest.Put(g.Whole.Mutex, "mutex.owner.counter", g.Guest.Allocate(4096) | 1);
        StructureReport structures = StructureReport.Of(g.Context(), Budget);
        Assert.Contains("check.locks.owner-gone", structures.Findings.Select(f => f.Id));
        MachineReport before = Machine(g);
        Assert.Contains("check.locks.owner-gone", before.With(structures).Findings.Select(f => f.Id));
        before = before with { Findings = [new Finding("locks.owner-gone", "somebody waits for nobody", [], Confidence.High)] };
        Assert.Equal(["locks.owner-gone"], before.With(structures).Findings.Select(f => f.Id));
    }

    [Fact]
    public void It_ends_when_it_is_cancelled()
    {
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => StructureReport.Of(new CheckedGuest().Context(cancel: cancel.Token), Budget));
    }

    private static MachineReport Machine(CheckedGuest g) =>
        Tests.Machine.StandingReports.Of(g.Context().Kernel.Image, g.Guest.Memory, []).Report with { Findings = [] };
}
