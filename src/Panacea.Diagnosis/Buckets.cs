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
        var key = new StringBuilder().Append(kind).Append('|').Append(location.Module).Append('|').Append(Plain(location.Function));
        int at = frames.ToList().FindIndex(f => f.Location.Address == location.Address);
        foreach (ReportFrame frame in frames.Skip(at + 1).Where(f => f.Reliable).Take(Callers))
            key.Append('|').Append(Plain(frame.Location.Function));
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
