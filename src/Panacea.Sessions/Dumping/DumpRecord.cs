using Panacea.Kernel.Subsystems;

namespace Panacea.Sessions.Dumping;

/// <summary>A dump that was written, as events and records tell of it.</summary>
/// <param name="File">Full path.</param>
/// <param name="FileBytes">Bytes of the file.</param>
/// <param name="WrittenBytes">Bytes of it that take room on the disk; the rest are holes for pages of zeros.</param>
/// <param name="MemoryBytes">Bytes of RAM that the guest has.</param>
/// <param name="Filter">What was left out, by the bits of makedumpfile's -d: 0 for nothing.</param>
/// <param name="LeftOut">Bytes that were left out, by what they are.</param>
/// <param name="WhyWhole">Why nothing was left out though it was asked for; null where all is well.</param>
/// <param name="TookUs">Microseconds that it took, while the guest stood still.</param>
public sealed record DumpRecord(
    string File, long FileBytes, long WrittenBytes, long MemoryBytes, int Filter, LeftOutBytes LeftOut, string? WhyWhole, long TookUs)
{
    /// <summary>That of a dump.</summary>
    public static DumpRecord Of(string file, DumpSummary summary) => new(
        file, summary.FileBytes, summary.WrittenBytes, summary.MemoryBytes, (int)summary.Level, LeftOutBytes.Of(summary.LeftOut), summary.WhyWhole, summary.TookUs);
}

/// <summary>Bytes that were left out of a dump, by what they are.</summary>
/// <param name="Free">Free memory, and what was given back to the hypervisor.</param>
/// <param name="Cache">Page cache without private data.</param>
/// <param name="PrivateCache">Page cache with private data (buffers).</param>
/// <param name="User">Memory of processes.</param>
/// <param name="Poisoned">Memory with hardware errors.</param>
public sealed record LeftOutBytes(long Free, long Cache, long PrivateCache, long User, long Poisoned)
{
    private const long Page = 4096;

    /// <summary>All of it.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public long Total => Free + Cache + PrivateCache + User + Poisoned;

    /// <summary>Those of pages.</summary>
    public static LeftOutBytes Of(PageCounts pages) => new(pages.Free * Page, pages.Cache * Page, pages.PrivateCache * Page, pages.User * Page, pages.Poisoned * Page);
}
