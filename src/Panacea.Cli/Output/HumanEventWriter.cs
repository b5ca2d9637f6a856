using System.Globalization;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;

namespace Panacea.Cli.Output;

/// <summary>Events as lines for a person: time, VM, what happened, and what it means. One line an event.</summary>
internal sealed class HumanEventWriter(TextWriter to, Paint paint, TimeProvider time, int vmWidth) : IEventWriter
{
    private const int WordWidth = 9;

    /// <inheritdoc/>
    public void Write(SessionEvent sessionEvent)
    {
        // Errors go to standard error, see ErrorEventWriter.
        if (sessionEvent is ErrorEvent)
            return;
        (string word, Func<string, string> colour, string text) = Describe(sessionEvent);
        string clock = time.GetLocalNow().ToString("HH:mm:ss", CultureInfo.InvariantCulture);
        to.WriteLine($"{paint.Dim(clock)}  {Safe.Text(sessionEvent.Vm, 256).PadRight(vmWidth)}  {colour(word.PadRight(WordWidth))}  {text}");
        to.Flush();
    }

    private (string Word, Func<string, string> Colour, string Text) Describe(SessionEvent sessionEvent) => sessionEvent switch
    {
        AttachedEvent e => ("attached", Plain, string.Create(CultureInfo.InvariantCulture, $"QEMU {e.Pid}, {Safe.Text(e.Memory)} memory")),
        ArmedEvent e => ("armed", paint.Green, Armed(e)),
        DeathEvent e => ("crashed", paint.Red, $"{(e.Found ? "was found stopped" : "stopped")} at {Safe.Text(e.Point, 128)}; incident {Safe.Text(e.Id, 64)}"),
        ResumedEvent e => ("resumed", Plain, Resumed(e)),
        IncidentEvent e => Incident(e),
        ResetEvent => ("reset", paint.Yellow, "the guest was reset; arming again when its kernel is up"),
        WarningEvent e => ("warning", paint.Yellow, Safe.Text(e.Message)),
        DumpProgressEvent e => ("dumping", Plain, DumpText.Progress(new DumpProgress(e.DoneBytes, e.TotalBytes, TimeSpan.FromMicroseconds(e.ElapsedUs)))),
        DumpedEvent e => ("dumped", Plain, $"{Safe.Text(e.Dump.File)}: {DumpText.Size(e.Dump)}; {DumpText.LeftOut(e.Dump)}"),
        FallbackEvent e => ("fallback", paint.Yellow, Fallback(e)),
        FuseEvent e => ("fuse", paint.Yellow, Fuse(e)),
        DetachedEvent e => ("detached", Plain, Detached(e)),
        _ => ("event", Plain, Safe.Text(sessionEvent.ToString())),
    };

    private static string Armed(ArmedEvent e)
    {
        string image = Safe.Text(e.Image.Length > 12 ? e.Image[..12] : e.Image);
        string text = $"Linux {Safe.Text(e.Kernel, 128)}, repair image {image} in {IncidentReport.Duration(e.ImageUs)}, "
            + $"guest held for {IncidentReport.Duration(e.StoppedUs)}";
        return e.Without.Count == 0 ? text : $"{text}; without: {string.Join("; ", e.Without.Select(each => Safe.Text(each, 512)))}";
    }

    private static string Resumed(ResumedEvent e) => e.Repair == RepairKind.None
        ? $"without repair, after {IncidentReport.Duration(e.StoppedUs)}"
        : $"by {IncidentReport.RepairName(e.Repair)}, after {IncidentReport.Duration(e.StoppedUs)}; watching its health";

    private (string Word, Func<string, string> Colour, string Text) Incident(IncidentEvent e)
    {
        string lost = e.Lost.Count == 0 ? "nothing lost" : $"lost: {string.Join(", ", e.Lost.Select(each => Safe.Text(each, 256)))}";
        string record = e.Record is null ? "no record" : $"record {Safe.Text(e.Record)}";
        (string word, Func<string, string> colour, string after) = e.Outcome switch
        {
            IncidentOutcome.Recovered => ("recovered", (Func<string, string>)paint.Green,
                $"by {IncidentReport.RepairName(e.Repair)}, stopped {IncidentReport.Duration(e.StoppedUs)}, {lost}"),
            IncidentOutcome.Declined => ("declined", paint.Yellow, "not repaired"),
            _ => ("failed", paint.Red, "the repair failed"),
        };
        return (word, colour, $"{Safe.Text(e.Title, 512)}; {after}; {record}");
    }

    private static string Fallback(FallbackEvent e) => string.Join("; ", (IEnumerable<string>)[
        e.Action switch
        {
            FallbackAction.Reset => "the guest was reset",
            FallbackAction.KeepStopped => "the guest stays stopped",
            _ => "the guest was left to its own panic handling",
        },
        .. e.Next is null ? (string[])[] : [e.Next],
        .. e.Errors.Select(each => Safe.Text(each, 512)),
    ]);

    private static string Fuse(FuseEvent e)
    {
        string name = Safe.Text(e.Fuse.Module is null ? e.Fuse.Function : $"{e.Fuse.Function} [{e.Fuse.Module}]", 256);
        return e.Change == FuseChange.Set ? $"{name} returns {Safe.Text(e.Fuse.Returns, 64)} at once from now on" : $"{name} runs again";
    }

    private static string Detached(DetachedEvent e) => e.Reason switch
    {
        "interrupted" => "the guest runs on, without protection",
        "kept-stopped" => "the guest stays stopped where it died, as it was asked for",
        "lost" => "QEMU stopped answering; this VM is not protected until it is attached to again",
        "gone" => "QEMU is gone",
        "error" => "after an error; this VM is not protected",
        _ => Safe.Text(e.Reason, 128),
    };

    private static string Plain(string text) => text;
}
