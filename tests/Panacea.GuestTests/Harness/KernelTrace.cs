using System.Text.Json;
using System.Text.RegularExpressions;

namespace Panacea.GuestTests.Harness;

/// <summary>The kernel's own account of an oops, from its console.</summary>
/// <param name="Instruction">What stands after "RIP: 0010:", such as <c>name+0x1/0x20 [module]</c>, or <c>0x0</c>.</param>
/// <param name="Calls">The lines of its Call Trace that carry no "?".</param>
internal sealed partial record KernelTrace(string Instruction, IReadOnlyList<string> Calls)
{
    /// <summary>Parses the first oops in some console text.</summary>
    public static KernelTrace Parse(string console)
    {
        string instruction = "";
        List<string>? calls = null;
        foreach (string line in console.Split('\n').Select(l => Stamp().Replace(l.TrimEnd('\r'), "")))
        {
            if (calls is null && line.StartsWith("RIP: 0010:", StringComparison.Ordinal))
                instruction = line["RIP: 0010:".Length..];
            else if (line == "Call Trace:")
                calls = [];
            else if (calls is not null && Frame().Match(line) is { Success: true } frame)
                calls.Add(frame.Groups[1].Value);
            else if (calls is { Count: > 0 } && (line.StartsWith("RIP: 0033:", StringComparison.Ordinal) || line.StartsWith(" </TASK>", StringComparison.Ordinal)))
                break;
        }

        return new KernelTrace(instruction, calls ?? []);
    }

    /// <summary>The reliable frames of a report in an incident record, as the kernel would print them.</summary>
    public static string[] FramesOf(JsonElement report) => [.. report.GetProperty("stack").EnumerateArray().Where(f => f.GetProperty("reliable").GetBoolean()).Select(f =>
    {
        JsonElement at = f.GetProperty("location");
        if (at.GetProperty("function").GetString() is not { } function)
            return $"0x{at.GetProperty("address").GetUInt64():x}";
        string module = at.GetProperty("module").GetString() is { } m ? $" [{m}]" : "";
        return $"{function}+0x{at.GetProperty("offset").GetUInt64():x}/0x{at.GetProperty("size").GetUInt64():x}{module}";
    })];

    [GeneratedRegex(@"^\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? ")]
    private static partial Regex Stamp();

    [GeneratedRegex(@"^ ([\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\w+\])?)")]
    private static partial Regex Frame();
}
