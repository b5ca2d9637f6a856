using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>Holds rules against crashes.</summary>
/// <param name="rules">The rules.</param>
public sealed class KnownIssueMatcher(IReadOnlyList<KnownIssueRule> rules)
{
    /// <summary>No rules.</summary>
    public static KnownIssueMatcher None { get; } = new([]);

    /// <summary>The report with what is known of it: of its crash, of what was noticed of the machine, of what its kernel has reported.</summary>
    public MachineReport Add(MachineReport report) => rules.Count == 0 ? report : report with { KnownIssues = Find([.. IssueSubject.Of(report)]) };

    /// <summary>The diagnosis with what is known of each report.</summary>
    public LogDiagnosis Add(LogDiagnosis diagnosis) =>
        rules.Count == 0 ? diagnosis : diagnosis with { Reports = [.. diagnosis.Reports.Select(r => r with { KnownIssues = Find([IssueSubject.Of(r)]) })] };

    /// <summary>What is known of a crash that a guard has stopped. Rules may ask for any finding, so this is for a report that has them all.</summary>
    /// <param name="crash">The crash, with what was read of the machine around it.</param>
    /// <param name="banner">linux_banner; null where unknown.</param>
    /// <param name="machine">What else was noticed of the machine.</param>
    public IReadOnlyList<KnownIssue> Find(CrashReport crash, string? banner, IReadOnlyList<Finding> machine) => Find([IssueSubject.Of(crash, banner, machine)]);

    private List<KnownIssue> Find(IReadOnlyList<IssueSubject> subjects)
    {
        var found = new List<KnownIssue>();
        foreach (KnownIssueRule rule in rules)
        {
            // Of a crash and its echo in the log the surest match counts, the crash's own where they are alike.
            if (subjects.Select(s => Match(rule, s)).Where(m => m is not null).MaxBy(m => m!.Confidence) is { } match)
                found.Add(match);
        }

        return [.. found.OrderByDescending(m => m.Confidence)];
    }

    private static KnownIssue? Match(KnownIssueRule rule, IssueSubject subject)
    {
        RuleConditions match = rule.Match;
        var test = new Test(subject.Where);
        test.Any("kind", match.Kinds, subject.Kind, (k, kind) => k == kind, MarkdownReport.Kebab);
        test.Any("bucket", match.Buckets, subject.Bucket, (b, bucket) => string.Equals(b, bucket, StringComparison.OrdinalIgnoreCase), b => b);
        test.Any("function at fault", match.Functions, subject.Function, IsFunction, p => p.Text);
        test.Any("module", match.Modules, subject.Function is null ? null : subject.Module ?? "vmlinux", (p, m) => p.IsMatch(m), p => p.Text);
        Stack(test, match.Stack, subject.Stack);
        Texts(test, match.Texts, subject.Texts);
        Kernels(test, match.Kernels, subject);
        Taint(test, match.Taint, subject.Taint);
        test.Any("address accessed", match.Addresses, subject.Address, (a, address) => a == address, a => MarkdownReport.Kebab(a));
        foreach (string finding in match.Findings)
            test.Say(subject.Findings.Contains(finding), $"finding {finding}");
        if (test.Failed || !test.Matched)
            return null;

        bool isPlace = match.Functions.Count > 0 || match.Stack.Count > 1;
        Confidence confidence = match.Buckets.Count > 0 || (isPlace && match.Kinds.Count + match.Texts.Count + match.Addresses.Count > 0) ? Confidence.High
            : isPlace || match.Stack.Count > 0 || match.Findings.Count > 0 || (match.Texts.Count > 0 && match.Kinds.Count > 0) ? Confidence.Medium
            : Confidence.Low;
        if (test.Unknown && confidence > Confidence.Low)
            confidence--;
        if (FixOf(rule, subject) is (var sentence, var isFixed))
        {
            test.Evidence.Add(sentence);
            confidence = isFixed ? Confidence.Low : confidence;
        }

        return new KnownIssue(rule.Id, rule.Title, rule.Urls, rule.Fixes, [.. rule.FixedIn.Select(v => v.ToString())], rule.Notes, confidence, test.Evidence, rule.Place);
    }

    /// <summary>What compilers append to a name may be left out of a rule.</summary>
    private static bool IsFunction(TextPattern pattern, string function) => pattern.IsMatch(function) || pattern.IsMatch(Buckets.Plain(function));

    private static void Stack(Test test, IReadOnlyList<TextPattern> wanted, IReadOnlyList<(string Function, bool Reliable)> stack)
    {
        if (wanted.Count == 0)
            return;
        if (stack.Count == 0)
        {
            test.DoNotKnow("the stack");
            return;
        }

        foreach (bool all in (bool[])[false, true])
        {
            var seen = new List<string>();
            foreach ((string function, bool reliable) in stack)
            {
                if ((reliable || all) && seen.Count < wanted.Count && IsFunction(wanted[seen.Count], function))
                    seen.Add(function);
            }

            if (seen.Count < wanted.Count)
                continue;
            test.Say(true, $"stack has {string.Join(", ", seen)}, in this order");
            if (all)
                test.DoNotKnow("whether all of these are really on the stack: some frames are not proved");
            return;
        }

        test.Say(false, "stack");
    }

    private static void Texts(Test test, IReadOnlyList<TextPattern> wanted, IReadOnlyList<string> texts)
    {
        if (wanted.Count == 0)
            return;
        foreach (TextPattern pattern in wanted)
        {
            if (texts.FirstOrDefault(pattern.IsMatch) is { } text)
            {
                test.Say(true, $"text \"{text}\" has {pattern.Text}");
                return;
            }
        }

        test.Say(false, "text");
    }

    private static void Kernels(Test test, IReadOnlyList<KernelRange> wanted, IssueSubject subject)
    {
        if (wanted.Count == 0)
            return;
        KnownVersion? version = KnownVersion.Of(subject.Release, subject.Build);
        List<(KernelRange Range, bool? Contains)> answers = [.. wanted.Select(r => (r, r.Contains(subject.Release, version)))];
        if (answers.Find(a => a.Contains == true).Range is { } range)
            test.Say(true, $"kernel {subject.Release} is in {range.Text}", isAboutCrash: false);
        else if (answers.Exists(a => a.Contains is null))
            test.DoNotKnow($"whether kernel {subject.Release ?? "(unknown)"} is in {string.Join(" or ", wanted.Select(w => w.Text))}");
        else
            test.Say(false, "kernel");
    }

    private static void Taint(Test test, IReadOnlyList<string> wanted, string? taint)
    {
        if (wanted.Count == 0)
            return;
        if (taint is null)
        {
            test.DoNotKnow("the taint");
            return;
        }

        // "none", and in older logs "Not tainted", are words and no letters.
        string letters = taint.StartsWith("none", StringComparison.OrdinalIgnoreCase) || taint.StartsWith("not", StringComparison.OrdinalIgnoreCase) ? "" : taint;
        foreach (string each in wanted)
            test.Say(letters.Contains(each[^1], StringComparison.Ordinal) != (each[0] == '!'), $"taint {(letters.Length == 0 ? "none" : letters)} {(each[0] == '!' ? "is without" : "has")} {each[^1]}", isAboutCrash: false);
    }

    /// <summary>What the versions with the fix say of this kernel; null where nothing.</summary>
    private static (string Sentence, bool IsFixed)? FixOf(KnownIssueRule rule, IssueSubject subject)
    {
        if (rule.FixedIn.Count == 0 || KnownVersion.Of(subject.Release, subject.Build) is not { } version)
            return null;
        foreach (KernelVersion fix in rule.FixedIn)
        {
            if ((fix.Major, fix.Minor) != (version.Least.Major, version.Least.Minor))
                continue;
            return version.Least.CompareTo(fix) >= 0 ? ($"this kernel is {version} and should have the fix of {fix}: the same symptom may have another cause", true)
                : version.Most.CompareTo(fix) < 0 ? ($"this kernel is {version}, and the fix came with {fix}", false)
                : ($"the fix came with {fix}; this kernel is {version}, so whether it has the fix can't be told", false);
        }

        KernelVersion newest = rule.FixedIn.Max();
        return version.Least.CompareTo(newest) > 0 ? ($"this kernel is {version}, later than {newest}, and should have the fix: the same symptom may have another cause", true) : null;
    }

    /// <summary>What came of a rule's conditions.</summary>
    private sealed class Test(string where)
    {
        /// <summary>A condition does not hold.</summary>
        public bool Failed { get; private set; }

        /// <summary>A condition about the crash holds.</summary>
        public bool Matched { get; private set; }

        /// <summary>It could not be told whether a condition holds.</summary>
        public bool Unknown { get; private set; }

        public List<string> Evidence { get; } = [];

        public void Any<TWanted, TValue>(string what, IReadOnlyList<TWanted> wanted, TValue? value, Func<TWanted, TValue, bool> matches, Func<TWanted, string> name)
            where TValue : struct
        {
            if (wanted.Count == 0)
                return;
            if (value is not { } known)
                DoNotKnow($"the {what}");
            else if (wanted.FirstOrDefault(w => matches(w, known)) is { } hit && matches(hit, known))
                Say(true, $"{what} is {name(hit)}");
            else
                Say(false, what);
        }

        public void Any<TWanted>(string what, IReadOnlyList<TWanted> wanted, string? value, Func<TWanted, string, bool> matches, Func<TWanted, string> name)
        {
            if (wanted.Count == 0)
                return;
            if (value is null)
                DoNotKnow($"the {what}");
            else if (wanted.FirstOrDefault(w => matches(w, value)) is { } hit)
                Say(true, name(hit) == value ? $"{what} is {value}" : $"{what} is {value}, as {name(hit)}", what != "module");
            else
                Say(false, what);
        }

        public void Say(bool holds, string what, bool isAboutCrash = true)
        {
            Failed |= !holds;
            Matched |= holds && isAboutCrash;
            if (holds)
                Evidence.Add(where.Length == 0 ? what : $"{what}, {where}");
        }

        public void DoNotKnow(string what)
        {
            Unknown = true;
            Evidence.Add($"not known: {what}");
        }
    }
}
