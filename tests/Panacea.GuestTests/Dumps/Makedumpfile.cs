using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Dumps;

/// <summary>makedumpfile, which knows the formats by itself.</summary>
internal static partial class Makedumpfile
{
    /// <summary>Writes a dump from another.</summary>
    /// <returns>Its files.</returns>
    public static async Task<string[]> WriteAsync(string options, string from, string to)
    {
        string[] arguments = options.Split(' ');
        string[] files = arguments.Contains("--split") ? [to + ".1", to + ".2", to + ".3"] : [to];
        if (arguments.Contains("-F"))
            await File.WriteAllBytesAsync(to, await HostCommand.MustBytesAsync("makedumpfile", [.. arguments, from]));
        else
            await HostCommand.MustAsync("makedumpfile", [.. arguments, from, .. files]);
        return files;
    }

    /// <summary>The kernel log in a dump, without time stamps and without the indentation of second lines.</summary>
    public static async Task<IReadOnlyList<string>> ReadLogAsync(string from, string to)
    {
        await HostCommand.MustAsync("makedumpfile", ["--dump-dmesg", from, to]);
        return [.. (await File.ReadAllLinesAsync(to)).Select(l => Normal(Stamp().Replace(l, "")))];
    }

    /// <summary>Lines of ours in the same form.</summary>
    public static IEnumerable<string> Lines(string record) => record.Split('\n').Select(Normal);

    private static string Normal(string line) => line.Trim();

    [GeneratedRegex(@"^\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? ")]
    private static partial Regex Stamp();
}
