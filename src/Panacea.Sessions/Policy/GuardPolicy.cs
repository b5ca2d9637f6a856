using System.Globalization;
using System.Text.Json;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Repair;

namespace Panacea.Sessions.Policy;

/// <summary>A policy file, read: how each VM is to be guarded. docs/policy.md has the format.</summary>
/// <param name="File">Its name.</param>
/// <param name="Defaults">What holds for every VM whose entry does not say otherwise.</param>
/// <param name="Entries">Entries, in the order of the file.</param>
public sealed record GuardPolicy(string File, PolicySettings Defaults, IReadOnlyList<PolicyEntry> Entries)
{
    /// <summary>The rungs that a policy may name: every kind of repair.</summary>
    public static IReadOnlyList<RepairKind> Rungs { get; } = [.. Enum.GetValues<RepairKind>().Where(k => k != RepairKind.None)];

    /// <summary>A name as files and records spell it: <c>error-return</c>.</summary>
    public static string Name<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>A mode allows a kind of repair.</summary>
    public static bool Allows(GuardMode mode, RepairKind kind) => mode switch
    {
        GuardMode.Observe => false,
        GuardMode.Quarantine => kind is RepairKind.Kill or RepairKind.Freeze,
        _ => true,
    };

    /// <summary>The entry for a VM: the first that matches.</summary>
    /// <param name="vm">The VM as the command line has it: <c>qmp:/full/path</c> or <c>pid:N</c>.</param>
    public PolicyEntry? EntryFor(string vm) => Entries.FirstOrDefault(e => e.Match.IsMatch(vm));

    /// <summary>What the file says of a VM.</summary>
    public PolicySettings For(string vm) => (EntryFor(vm)?.Settings ?? PolicySettings.None).Over(Defaults);

    /// <summary>How a VM is to be guarded.</summary>
    /// <param name="vm">The VM.</param>
    /// <param name="commandLine">What was said on the command line, which wins.</param>
    /// <param name="basis">What holds where nothing is said.</param>
    public GuardOptions OptionsFor(string vm, PolicySettings commandLine, GuardOptions basis) =>
        commandLine.Over(For(vm)).ApplyTo(basis) with { PolicySource = EntryFor(vm) is { } entry ? string.Create(CultureInfo.InvariantCulture, $"{File}:{entry.Line}") : File };
}

/// <summary>An entry of a policy file.</summary>
/// <param name="Match">The VMs it is for.</param>
/// <param name="Line">Line of the file.</param>
/// <param name="Settings">What it says.</param>
public sealed record PolicyEntry(TextPattern Match, int Line, PolicySettings Settings);
