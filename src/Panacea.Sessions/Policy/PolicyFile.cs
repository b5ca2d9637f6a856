using System.Globalization;
using Panacea.Diagnosis;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Formats.Yaml;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Sessions.Policy;

/// <summary>A policy file, read: the policy, or everything that is wrong with it.</summary>
/// <param name="Policy">Null where there are mistakes.</param>
/// <param name="Mistakes">In the order of the file; at most 100.</param>
public sealed record PolicyReading(GuardPolicy? Policy, IReadOnlyList<YamlMistake> Mistakes);

/// <summary>Reads policy files; docs/policy.md has the format. Read strictly: a word that is not known is a mistake, for a setting that silently does nothing is worse than none. All mistakes are
/// found at once, but that a file which is no YAML has that one.</summary>
public static class PolicyFile
{
    private const int MaxEntries = 1000;
    private static readonly string[] Known = ["mode", "rungs", "health-window", "stop-budget", "repair-limit", "check-up", "quarantine", "fallback", "hangs", "fuse", "rehearse"];

    /// <summary>Reads a file. What can't be read is a mistake, too.</summary>
    public static PolicyReading Read(string file) => YamlFile.Open(file, bytes => Read(file, bytes), mistake => new PolicyReading(null, [mistake]));

    /// <summary>Reads the bytes of a file.</summary>
    /// <param name="file">Its name.</param>
    /// <param name="bytes">UTF-8.</param>
    internal static PolicyReading Read(string file, ReadOnlySpan<byte> bytes)
    {
        var reader = new PolicyReader();
        GuardPolicy? policy = null;
        IReadOnlyList<YamlMistake> mistakes = YamlFile.Read(bytes, "a policy file", reader, root => policy = Document(file, root, reader));
        return new PolicyReading(mistakes.Count == 0 ? policy : null, mistakes);
    }

    private static GuardPolicy? Document(string file, YamlNode? root, PolicyReader reader)
    {
        switch (root)
        {
            case null or YamlMap { Members.Count: 0 }:
                reader.Wrong(root ?? new YamlText(1, 1, ""), "the file is empty; write 'defaults:', 'vms:' or both");
                return null;
            case not YamlMap:
                reader.Wrong(root, "the file has to be a mapping; write 'defaults:', 'vms:' or both");
                return null;
        }

        var document = (YamlMap)root;
        reader.Members(document, "the file", ["defaults", "vms"]);
        PolicySettings defaults = PolicySettings.None;
        if (YamlReader.Member(document, "defaults") is { } node)
        {
            if (reader.Map(node, "defaults", "settings such as 'mode: full'") is { } map)
            {
                reader.Members(map, "defaults", Known);
                defaults = Settings(map, reader, "defaults, ");
                CheckRungs(map, defaults, PolicySettings.None, reader);
            }
        }

        var entries = new List<PolicyEntry>();
        switch (YamlReader.Member(document, "vms"))
        {
            case null or YamlRefused:
                break;
            case YamlList list when list.Items.Count > MaxEntries:
                reader.Wrong(list, $"'vms' has more than {MaxEntries} entries; let a 'match' with * stand for many VMs");
                break;
            case YamlList list:
                foreach (YamlNode item in list.Items)
                {
                    if (Entry(item, defaults, entries, reader) is { } entry)
                        entries.Add(entry);
                }

                break;
            case { } other:
                reader.Wrong(other, "'vms' has to be a list; write each entry after a dash, as '- match: qmp:/run/vm1.qmp'");
                break;
        }

        return new GuardPolicy(file, defaults, entries);
    }

    private static PolicyEntry? Entry(YamlNode item, PolicySettings defaults, List<PolicyEntry> before, PolicyReader reader)
    {
        if (reader.Map(item, "an entry of 'vms'", "'match' and settings") is not { } map)
            return null;
        reader.Members(map, "an entry of 'vms'", ["match", .. Known]);
        PolicySettings settings = Settings(map, reader, "");
        CheckRungs(map, settings, defaults, reader);
        if (YamlReader.Member(map, "match") is not { } node)
        {
            reader.Wrong(map, "the entry that begins here has no 'match'; write the VM as on the command line, 'match: qmp:/run/vm1.qmp', or with * for many");
            return null;
        }

        if (reader.Text(node, "match", "the VM as on the command line: qmp:/run/vm1.qmp, pid:4242, qmp:/run/*.qmp") is not { } text)
            return null;
        if (WhyNoMatch(text.Text) is { } whyNot)
        {
            reader.Wrong(text, whyNot);
            return null;
        }

        if (!TextPattern.TryParse(text.Text, within: false, out TextPattern pattern, out string why))
        {
            reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' {why}");
            return null;
        }

        bool isOne = text.Text.AsSpan().IndexOfAny('*', '?') < 0;
        if (before.Find(e => e.Match.Text == text.Text || (isOne && e.Match.IsMatch(text.Text))) is { } first)
        {
            reader.Wrong(text, first.Match.Text == text.Text
                ? $"'{YamlReader.Short(text.Text)}' has an entry already, at line {first.Line}; the first one holds, so write one"
                : $"'{YamlReader.Short(text.Text)}' is matched by the entry at line {first.Line}, and the first one holds; write this one before it");
        }

        return new PolicyEntry(pattern, map.Line, settings);
    }

    /// <summary>Why a pattern matches no VM that there could be.</summary>
    private static string? WhyNoMatch(string text)
    {
        string shown = YamlReader.Short(text);
        if (text[0] is '*' or '?')
            return null;
        if (text.StartsWith("qmp:", StringComparison.Ordinal))
            return text.Length > 4 && text[4] is '/' or '*' or '?' ? null : $"'{shown}' would never match; write the socket's full path, as qmp:/run/vm1.qmp";
        if (text.StartsWith("pid:", StringComparison.Ordinal))
            return text.Length > 4 && text.AsSpan(4).IndexOfAnyExcept("0123456789*?") < 0 && text[4] != '0' ? null : $"'{shown}' would never match; write pid: and the number of a QEMU process, as pid:4242";
        return $"'{shown}' would never match; write the VM as on the command line: qmp:/run/vm1.qmp, pid:4242, or with * for many, qmp:/run/*.qmp";
    }

    private static PolicySettings Settings(YamlMap map, PolicyReader reader, string where)
    {
        YamlMap? limit = null, fallback = null, hangs = null, fuse = null, rehearse = null;
        if (YamlReader.Member(map, "repair-limit") is { } limitNode && (limit = reader.Map(limitNode, "repair-limit", "'count' and 'window'")) is not null)
            reader.Members(limit, "repair-limit", ["count", "window"]);
        if (YamlReader.Member(map, "hangs") is { } hangsNode && (hangs = reader.Map(hangsNode, "hangs", "'detect', 'after' and 'use-fallback'")) is not null)
            reader.Members(hangs, "hangs", ["detect", "after", "use-fallback"]);
        if (YamlReader.Member(map, "fuse") is { } fuseNode && (fuse = reader.Map(fuseNode, "fuse", "'crashes' and 'clear-on-detach'")) is not null)
            reader.Members(fuse, "fuse", ["crashes", "clear-on-detach"]);
        if (YamlReader.Member(map, "rehearse") is { } rehearseNode and not YamlText && (rehearse = reader.Map(rehearseNode, "rehearse", "'when', 'below', 'plans' and 'budget'")) is not null)
            reader.Members(rehearse, "rehearse", ["when", "below", "plans", "budget"]);
        YamlNode? fallbackNode = YamlReader.Member(map, "fallback");
        if (fallbackNode is not null and not YamlText && (fallback = reader.Map(fallbackNode, "fallback", "'then' and 'dump'")) is not null)
            reader.Members(fallback, "fallback", ["then", "dump"]);
        return new PolicySettings
        {
            Mode = reader.Named<GuardMode>(map, "mode", "mode", where),
            Rungs = reader.Rungs(map, where),
            HealthWindow = reader.Duration(map, "health-window", PolicyLimits.HealthWindow, where),
            StopBudget = reader.Duration(map, "stop-budget", PolicyLimits.StopBudget, where),
            RepairLimit = reader.Number(limit, "count", "no limit", PolicyLimits.MaxRepairLimit, where),
            RepairLimitWindow = reader.Duration(limit, "window", PolicyLimits.RepairLimitWindow, where),
            CheckUp = reader.Truth(map, "check-up", where),
            Quarantine = reader.Named<QuarantineKind>(map, "quarantine", "quarantine", where),
            FallbackThen = fallback is null ? reader.Named<FallbackAction>(map, "fallback", "fallback", where) : reader.Named<FallbackAction>(fallback, "then", "fallback", where),
            FallbackDump = reader.Directory(fallback, "dump", where),
            DetectHangs = reader.Truth(hangs, "detect", where),
            HangsAfter = reader.Duration(hangs, "after", PolicyLimits.HangsAfter, where),
            HangsFallback = reader.Truth(hangs, "use-fallback", where),
            FuseAfter = reader.Number(fuse, "crashes", "never", PolicyLimits.MaxFuseAfter, where),
            FuseClearOnDetach = reader.Truth(fuse, "clear-on-detach", where),
            Rehearse = rehearse is null ? reader.Named<RehearsalMode>(map, "rehearse", "time to rehearse", where) : reader.Named<RehearsalMode>(rehearse, "when", "time to rehearse", where),
            RehearseBelow = rehearse is null ? null : reader.Named<Confidence>(rehearse, "below", "confidence", where),
            RehearsePlans = reader.Number(rehearse, "plans", "none", PolicyLimits.MaxRehearsedPlans, where),
            RehearseBudget = reader.Duration(rehearse, "budget", PolicyLimits.RehearsalBudget, where),
        };
    }

    /// <summary>A mode and rungs that leave nothing between them look like protection and are none.</summary>
    private static void CheckRungs(YamlMap map, PolicySettings settings, PolicySettings defaults, PolicyReader reader)
    {
        PolicySettings both = settings.Over(defaults);
        if ((settings.Mode is null && settings.Rungs is null) || both.Rungs is not { } rungs || both.Mode is not { Value: not GuardMode.Observe } mode || rungs.Value.Any(r => GuardPolicy.Allows(mode.Value, r)))
            return;
        string allowed = string.Join(", ", GuardPolicy.Rungs.Where(r => GuardPolicy.Allows(mode.Value, r)).Select(GuardPolicy.Name));
        reader.Wrong(
            YamlReader.Member(map, "rungs") ?? YamlReader.Member(map, "mode")!,
            $"the mode {GuardPolicy.Name(mode.Value)} ({mode.Place}) allows none of the rungs {PolicyText.Rungs(rungs.Value)} ({rungs.Place}); write {allowed} among the rungs, or the mode observe");
    }
}
