using System.IO.Hashing;
using System.Text;

namespace Panacea.Diagnosis;

/// <summary>
/// The bucket of a crash: equal for the same bug across boots, KASLR and builds of one line, different for different bugs. Made of the kind of death, the module, and the names of the faulty
/// function and its two proved callers; compilers' suffixes (<c>.isra.0</c>, <c>.constprop.0</c>, <c>.part.0</c>, <c>.cold</c>) and offsets are left out, because they change from build to build.
/// </summary>
internal static class Buckets
{
    private const int Callers = 2;

    public static string Of(CrashKind kind, CodeLocation location, IReadOnlyList<ReportFrame> frames)
    {
        int at = frames.ToList().FindIndex(f => f.Location.Address == location.Address);
        return Of(kind, location.Module, location.Function, frames.Skip(at + 1).Where(f => f.Reliable).Select(f => f.Location.Function));
    }

    /// <summary>The same rule for whatever knows these four.</summary>
    /// <param name="kind">Kind of death.</param>
    /// <param name="module">Module of the faulty function; null for the kernel itself.</param>
    /// <param name="function">The faulty function; null where no symbol covers it.</param>
    /// <param name="callers">Its proved callers, innermost first.</param>
    public static string Of(CrashKind kind, string? module, string? function, IEnumerable<string?> callers)
    {
        var key = new StringBuilder().Append(kind).Append('|').Append(module).Append('|').Append(Plain(function));
        foreach (string? caller in callers.Take(Callers))
            key.Append('|').Append(Plain(caller));
        return XxHash64.HashToUInt64(Encoding.UTF8.GetBytes(key.ToString())).ToString("x16");
    }

    internal static string Plain(string? function)
    {
        if (function is null)
            return "?";
        int dot = function.IndexOf('.', StringComparison.Ordinal);
        return dot > 0 ? function[..dot] : function;
    }
}
