using Panacea.Kernel;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>How a validator ended.</summary>
[System.Text.Json.Serialization.JsonConverter(typeof(KebabEnumConverter<CheckOutcome>))]
public enum CheckOutcome
{
    /// <summary>All that was looked at is whole.</summary>
    Ok,

    /// <summary>Something is broken.</summary>
    Broken,

    /// <summary>Nothing could be looked at.</summary>
    Unavailable,
}

/// <summary>What one validator says.</summary>
/// <param name="Name">The validator.</param>
/// <param name="Description">What it checks.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Result">What it found.</param>
/// <param name="Looks">How often it looked before what it found was believed, or had gone.</param>
public sealed record ValidatorReport(string Name, string Description, CheckOutcome Outcome, ValidatorResult Result, int Looks);

/// <summary>A check-up.</summary>
/// <param name="Validators">What each validator says, in the order of <see cref="Validators.All"/>.</param>
public sealed record CheckUpReport(IReadOnlyList<ValidatorReport> Validators)
{
    /// <summary>Version of the JSON shape, docs/check.schema.json: members are added within a version, never renamed or removed.</summary>
    public int Schema { get; init; } = 1;

    /// <summary>Something is broken.</summary>
    public bool IsBroken => Validators.Any(v => v.Outcome == CheckOutcome.Broken);

    /// <summary>All findings.</summary>
    public IEnumerable<Finding> Findings => Validators.SelectMany(v => v.Result.Findings);
}

/// <summary>Runs validators. Over memory that stands still each looks once. Over a running guest, what looks broken is looked at again, a few times with growing pauses, and is reported where
/// it is broken in the same way each time: half-done updates are gone by then.</summary>
public static class CheckUp
{
    /// <summary>Pauses between looks. A virtual CPU in the middle of an update may itself have to wait for a CPU of the host.</summary>
    private static readonly TimeSpan[] Pauses =
        [TimeSpan.FromMilliseconds(2), TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(40), TimeSpan.FromMilliseconds(120), TimeSpan.FromMilliseconds(300), TimeSpan.FromMilliseconds(700)];

    /// <summary>Runs the validators of the given names, all where there are none. Never throws for what a guest holds.</summary>
    /// <param name="context">What is looked at.</param>
    /// <param name="only">Names (<see cref="IValidator.Name"/>); null or empty for all.</param>
    /// <param name="validators">The validators to choose from; null for all there are.</param>
    /// <param name="pause">Waits between looks; null sleeps.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static CheckUpReport Run(CheckContext context, IReadOnlyCollection<string>? only = null, IReadOnlyList<IValidator>? validators = null, Action<TimeSpan>? pause = null)
    {
        var reports = new List<ValidatorReport>();

        // Memory that stands still is read once for all of them.
        CheckContext first = context.Again();
        foreach (IValidator validator in validators ?? Validators.All)
        {
            if (only is { Count: > 0 } && !only.Contains(validator.Name))
                continue;
            if (context.IsLive)
                first = context.Again();
            ValidatorResult result = Look(validator, first);
            int looks = 1;
            if (context.IsLive)
                (result, looks) = Confirm(validator, context, result, pause ?? (time => context.Cancel.WaitHandle.WaitOne(time)));
            CheckOutcome outcome = result.Findings.Count > 0 ? CheckOutcome.Broken : result.Checked.Any(c => c.Count > 0) ? CheckOutcome.Ok : CheckOutcome.Unavailable;
            reports.Add(new ValidatorReport(validator.Name, validator.Description, outcome, result, looks));
        }

        return new CheckUpReport(reports);
    }

    private static (ValidatorResult Result, int Looks) Confirm(IValidator validator, CheckContext context, ValidatorResult first, Action<TimeSpan> pause)
    {
        IReadOnlyList<Finding> left = first.Findings;
        ulong? before = Jiffies(context.Kernel);
        ValidatorResult widest = first;
        int looks = 1;
        foreach (TimeSpan time in Pauses)
        {
            if (left.Count == 0)
                break;
            pause(time);
            context.Cancel.ThrowIfCancellationRequested();
            ValidatorResult again = Look(validator, context.Again());
            looks++;
            HashSet<(string, string)> still = [.. again.Findings.Select(f => (f.Id, f.Text))];
            left = [.. left.Where(f => still.Contains((f.Id, f.Text)))];
            if (Total(again) >= Total(widest))
                widest = again;
        }

        // An update that was under way when a guest was paused stays so.
        if (left.Count > 0 && Jiffies(context.Kernel) == before)
        {
            left = [.. left.Select(f => f.Id.EndsWith(".back-pointer", StringComparison.Ordinal) && f.Confidence == Confidence.High ? f with { Confidence = Confidence.Medium } : f)];
            widest = widest with { Skipped = [.. widest.Skipped, "the guest stood still, or had nothing to do, while it was looked at again"] };
        }

        return (widest with { Findings = left }, looks);
    }

    private static ulong? Jiffies(LinuxKernel kernel) =>
        kernel.Image.TryFindSymbol("jiffies_64", out ulong at) && kernel.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _) ? value : null;

    private static long Total(ValidatorResult result) => result.Checked.Sum(c => c.Count);

    private static ValidatorResult Look(IValidator validator, CheckContext context)
    {
        try
        {
            return validator.Check(context);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return new ValidatorResult([], [], [], [e.Message]);
        }
        catch (Exception e) when (e is OverflowException or ArgumentException or InvalidDataException or InvalidOperationException or IndexOutOfRangeException or KeyNotFoundException)
        {
            // What a damaged guest holds must not end a report about it.
            return new ValidatorResult([], [], [], [$"the check itself failed: {e.Message}"]);
        }
    }
}
