namespace Panacea.Diagnosis.KnownIssues;

/// <summary>A known issue that a crash looks like.</summary>
/// <param name="Id">Id of the rule.</param>
/// <param name="Title">What the issue is.</param>
/// <param name="Urls">Where it is described.</param>
/// <param name="Fixes">Commits that fix it.</param>
/// <param name="FixedIn">Kernel versions that have the fix, one of a line.</param>
/// <param name="Notes">What to do; null where the rule does not say.</param>
/// <param name="Confidence">How sure the match is; see docs/known-issues.md.</param>
/// <param name="Evidence">Why it matched: one sentence a condition, and what could not be told.</param>
/// <param name="Rule">File and line of the rule.</param>
public sealed record KnownIssue(
    string Id, string Title, IReadOnlyList<string> Urls, IReadOnlyList<string> Fixes, IReadOnlyList<string> FixedIn, string? Notes, Confidence Confidence, IReadOnlyList<string> Evidence, string Rule);

/// <summary>A rules file that can't be used.</summary>
/// <param name="message">One sentence that begins with the file and the line.</param>
public sealed class RulesFileException(string message) : Exception(message);

/// <summary>One rule of a rules file.</summary>
/// <param name="Id">Unique name.</param>
/// <param name="Title">What the issue is.</param>
/// <param name="Match">What a crash has to look like; never without a condition.</param>
/// <param name="Place">File and line.</param>
public sealed record KnownIssueRule(string Id, string Title, RuleConditions Match, string Place)
{
    /// <summary>Where it is described.</summary>
    public IReadOnlyList<string> Urls { get; init; } = [];

    /// <summary>Commits that fix it.</summary>
    public IReadOnlyList<string> Fixes { get; init; } = [];

    /// <summary>Kernel versions that have the fix.</summary>
    public IReadOnlyList<KernelVersion> FixedIn { get; init; } = [];

    /// <summary>What to do.</summary>
    public string? Notes { get; init; }
}

/// <summary>What a crash has to look like. All conditions that a rule has must hold; of the values of one, any, but of <see cref="Stack"/>, <see cref="Taint"/> and <see cref="Findings"/>, all.</summary>
public sealed record RuleConditions
{
    /// <summary>Kinds of death.</summary>
    public IReadOnlyList<CrashKind> Kinds { get; init; } = [];

    /// <summary>Bucket ids.</summary>
    public IReadOnlyList<string> Buckets { get; init; } = [];

    /// <summary>The function at fault.</summary>
    public IReadOnlyList<TextPattern> Functions { get; init; } = [];

    /// <summary>Its module; <c>vmlinux</c> is the kernel itself.</summary>
    public IReadOnlyList<TextPattern> Modules { get; init; } = [];

    /// <summary>Functions on the stack, from the crash outwards; others may stand between them.</summary>
    public IReadOnlyList<TextPattern> Stack { get; init; } = [];

    /// <summary>In the title, the cause or the kernel's own message.</summary>
    public IReadOnlyList<TextPattern> Texts { get; init; } = [];

    /// <summary>Kernel releases.</summary>
    public IReadOnlyList<KernelRange> Kernels { get; init; } = [];

    /// <summary>Taint letters that must be there, and after <c>!</c> must not be.</summary>
    public IReadOnlyList<string> Taint { get; init; } = [];

    /// <summary>What the address looks like that was accessed.</summary>
    public IReadOnlyList<Kernel.Code.AddressClass> Addresses { get; init; } = [];

    /// <summary>Ids of findings.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];

    /// <summary>Something in it is about the crash itself, and not only about where it happened.</summary>
    internal bool IsAboutCrash => Kinds.Count + Buckets.Count + Functions.Count + Stack.Count + Texts.Count + Addresses.Count + Findings.Count > 0;
}
