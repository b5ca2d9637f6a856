namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A file system that found itself damaged: ext4 (fs/ext4/super.c: __ext4_error), XFS (fs/xfs/xfs_error.c), btrfs. Facts: type (the file system), "device", "function", comm, message.</summary>
internal sealed class FilesystemErrorDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.FilesystemError;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "EXT4-fs error (device ") || Is(text, "EXT3-fs error (device ") || Is(text, "EXT2-fs error (device "))
        {
            Add(facts, Type, text.AsSpan(0, 4));
            Add(facts, "device", Between(text, "(device ", ")"));
            ReadOnlySpan<char> rest = Between(text, "): ", "\n");
            int colon = rest.IndexOf(':');
            if (colon > 0)
                Add(facts, "function", rest[..colon]);
            Add(facts, Comm, Between(text, " comm ", ":"));
            Add(facts, Message, rest);
            return true;
        }

        bool xfs = Is(text, "XFS (") && (Has(text, "orruption") || Has(text, "Internal error") || Has(text, "I/O Error Detected") || Has(text, "Metadata I/O Error"));
        if (!xfs && !Is(text, "BTRFS error (device ") && !Is(text, "BTRFS critical (device "))
            return false;
        Add(facts, Type, xfs ? "XFS" : "BTRFS");
        Add(facts, "device", xfs ? Between(text, "XFS (", ")") : Between(text, "(device ", ")").ToString().Split(' ')[0]);
        Add(facts, Message, Between(text, "): ", "\n"));
        return true;
    }
}
