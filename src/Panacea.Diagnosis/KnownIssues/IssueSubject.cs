using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Code;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>What rules are held against: a crash, whatever it was read from. Null and empty is what is not known.</summary>
internal sealed record IssueSubject
{
    /// <summary>Where it was seen, to be said before the evidence; empty for the crash itself.</summary>
    public string Where { get; init; } = "";

    public CrashKind? Kind { get; init; }

    public string? Bucket { get; init; }

    public string? Function { get; init; }

    /// <summary>Null for the kernel itself and where there is no function.</summary>
    public string? Module { get; init; }

    /// <summary>Functions from the crash outwards.</summary>
    public IReadOnlyList<(string Function, bool Reliable)> Stack { get; init; } = [];

    public IReadOnlyList<string> Texts { get; init; } = [];

    public string? Release { get; init; }

    public string? Build { get; init; }

    public string? Taint { get; init; }

    public AddressClass? Address { get; init; }

    public IReadOnlyList<string> Findings { get; init; } = [];

    public static IssueSubject Of(CrashReport crash, string? banner, IEnumerable<Finding> machine) => new()
    {
        Kind = crash.Kind, Bucket = crash.Bucket, Function = crash.Location.Function, Module = crash.Location.Module,
        Stack = [.. crash.Stack.Where(f => f.Location.Function is not null).Select(f => (f.Location.Function!, f.Reliable))],
        Texts = [crash.Title, crash.Cause, .. crash.PanicMessage is { } message ? (string[])[message] : []],
        Release = crash.KernelRelease, Build = banner, Taint = crash.Taint, Address = ClassOf(crash.Fault?.Address), Findings = [.. crash.Findings.Concat(machine).Select(f => f.Id)],
    };

    /// <summary>A machine that has not died, and what its kernel has reported.</summary>
    public static IEnumerable<IssueSubject> Of(MachineReport machine)
    {
        if (machine.Crash is { } crash)
            yield return Of(crash, machine.Kernel.Banner, machine.Findings);
        else
            yield return new IssueSubject { Release = machine.Kernel.Release, Build = machine.Kernel.Banner, Taint = machine.Kernel.Taint, Findings = [.. machine.Findings.Select(f => f.Id)] };
        foreach (LoggedReport logged in machine.Logged)
        {
            yield return new IssueSubject
            {
                Where = $"in the kernel's log ({logged.Title})", Kind = logged.Kind, Bucket = logged.Bucket, Function = logged.Location?.Function, Module = logged.Location?.Module, Texts = [logged.Title],
                Stack = logged.Location?.Function is { } function ? [(function, true)] : [], Release = machine.Kernel.Release, Build = machine.Kernel.Banner, Taint = machine.Kernel.Taint,
            };
        }
    }

    public static IssueSubject Of(LogCrash crash) => new()
    {
        Kind = crash.Kind, Bucket = crash.Bucket, Function = crash.Location?.Function, Module = crash.Location?.Module,
        Stack = [.. crash.Stack.Where(e => e.Location.Function is not null).Select(e => (e.Location.Function!, e.Reliable))],
        Texts = [crash.Title, crash.Cause, .. crash.PanicMessage is { } message ? (string[])[message] : [], .. crash.Details.Select(d => d.Value)],
        Release = crash.KernelRelease, Build = crash.Banner ?? crash.KernelBuild, Taint = crash.Taint, Address = ClassOf(crash.Fault?.Address),
    };

    private static AddressClass? ClassOf(ulong? address) => address is { } a ? ClassifiedAddress.Of(a, null).Class : null;
}
