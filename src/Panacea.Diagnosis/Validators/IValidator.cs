namespace Panacea.Diagnosis.Validators;

/// <summary>Checks one family of the kernel's invariants. One look: whether what is broken stays broken is <see cref="CheckUp"/>'s to find out.</summary>
/// <remarks>An implementation keeps no state, so that one instance serves all guests. The sentence of a finding names the object and the wrong value, and nothing that changes from look to
/// look without being part of what is wrong: a finding counts as the same where its id and its sentence are.</remarks>
public interface IValidator
{
    /// <summary>Name for people and for <c>--only</c>: lower case, one word.</summary>
    string Name { get; }

    /// <summary>What it checks, in a line.</summary>
    string Description { get; }

    /// <summary>Looks once.</summary>
    /// <exception cref="Target.GuestMemoryException">What everything else hangs on can't be read.</exception>
    /// <exception cref="Kernel.KernelShapeException">The kernel lacks what is to be checked.</exception>
    ValidatorResult Check(CheckContext context);
}

/// <summary>What a validator found.</summary>
/// <param name="Checked">How many of what were looked at, in the order of the work.</param>
/// <param name="Findings">What is broken; empty where all is whole.</param>
/// <param name="Skipped">What was left out for its size or because it moved, in sentences.</param>
/// <param name="Unavailable">What could not be read or does not exist in this kernel, and why.</param>
public sealed record ValidatorResult(
    IReadOnlyList<CheckedObjects> Checked, IReadOnlyList<Finding> Findings, IReadOnlyList<string> Skipped, IReadOnlyList<string> Unavailable);

/// <summary>A number of objects that were looked at.</summary>
/// <param name="What">What, in the plural: <c>tasks</c>.</param>
/// <param name="Count">How many.</param>
public sealed record CheckedObjects(string What, long Count);
