namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A block device that failed: <c>I/O error, dev vda, sector 12 op 0x0:(READ) …</c> (block/blk-mq.c: blk_print_req_error), <c>Buffer I/O error on dev vda, …</c> (fs/buffer.c). Facts: "device", "sector", message.</summary>
internal sealed class IoErrorDetector : ReportDetector
{
    private static readonly string[] Heads = ["I/O error, dev ", "critical medium error, dev ", "critical target error, dev ", "timeout error, dev ", "Buffer I/O error on dev "];

    public override LogReportKind Kind => LogReportKind.IoError;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        string rest = Is(text, "blk_update_request: ") ? text["blk_update_request: ".Length..] : text;
        foreach (string head in Heads)
        {
            if (!Is(rest, head))
                continue;
            Add(facts, "device", Between(rest, head, ","));
            AddNumber(facts, "sector", Between(rest, "sector ", " "));
            Add(facts, Message, rest);
            return true;
        }

        return false;
    }
}
