using System.Diagnostics;

namespace Panacea.Diagnosis.Validators;

/// <summary>How one family of structures fared.</summary>
/// <param name="Name">The validator (<see cref="IValidator.Name"/>).</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Objects">Objects that were looked at, of all kinds together.</param>
/// <param name="Broken">Findings.</param>
public sealed record StructureCheck(string Name, CheckOutcome Outcome, long Objects, int Broken);

/// <summary>A check-up in short, as it goes into reports about something else. What is broken are findings with the ids of <c>panacea check</c>.</summary>
/// <param name="Checks">The validators that ran.</param>
/// <param name="Findings">What is broken.</param>
/// <param name="NotChecked">What was not checked and why, in sentences.</param>
public sealed record StructureReport(IReadOnlyList<StructureCheck> Checks, IReadOnlyList<Finding> Findings, IReadOnlyList<string> NotChecked)
{
    /// <summary>Objects of one kind in each validator: a report is to be there soon.</summary>
    public const int MaxObjects = 50_000;

    /// <summary>Validators that make no sense without an image made earlier.</summary>
    private static readonly string[] NeedEarlier = ["text"];

    /// <summary>Runs validators one after the other until the time is up. Never throws for what a guest holds.</summary>
    /// <param name="context">What is looked at; its <see cref="CheckContext.MaxObjects"/> should be <see cref="MaxObjects"/>.</param>
    /// <param name="budget">Time for all of them. What it does not reach is said.</param>
    /// <param name="pause">As in <see cref="CheckUp.Run"/>.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static StructureReport Of(CheckContext context, TimeSpan budget, Action<TimeSpan>? pause = null)
    {
        long started = Stopwatch.GetTimestamp();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.Cancel);
        stop.CancelAfter(budget);
        var bounded = new CheckContext(context.Kernel, context.Limits) { IsLive = context.IsLive, Pristine = context.Pristine, MaxObjects = context.MaxObjects, Cancel = stop.Token };
        var checks = new List<StructureCheck>();
        var findings = new List<Finding>();
        var late = new List<string>();
        var missing = new List<string>();
        foreach (IValidator validator in Validators.All)
        {
            if (context.Pristine is null && NeedEarlier.Contains(validator.Name))
                continue;
            if (Stopwatch.GetElapsedTime(started) >= budget)
            {
                late.Add(validator.Name);
                continue;
            }

            try
            {
                ValidatorReport report = CheckUp.Run(bounded, null, [validator], pause).Validators[0];
                checks.Add(new StructureCheck(report.Name, report.Outcome, report.Result.Checked.Sum(c => c.Count), report.Result.Findings.Count));
                findings.AddRange(report.Result.Findings);
                if (report.Outcome == CheckOutcome.Unavailable)
                    missing.Add($"{report.Name}: {string.Join("; ", report.Result.Unavailable.Take(3))}");
            }
            catch (OperationCanceledException) when (!context.Cancel.IsCancellationRequested)
            {
                late.Add(validator.Name);
            }
        }

        if (late.Count > 0)
            missing.Add($"{string.Join(", ", late)}: the time was up");
        return new StructureReport(checks, findings, missing);
    }
}
