using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions;
using Panacea.Sessions.Dumping;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea dump</c>: writes the memory of a guest to an ELF core.</summary>
internal static class DumpCommand
{
    private static readonly (string Name, PageFilterLevel Bit)[] Names =
    [
        ("none", PageFilterLevel.None), ("zero", PageFilterLevel.Zero), ("cache", PageFilterLevel.Cache), ("private-cache", PageFilterLevel.PrivateCache), ("user", PageFilterLevel.User),
        ("free", PageFilterLevel.Free), ("all", PageFilterLevel.All),
    ];

    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Argument<string> file = new("FILE") { HelpName = "FILE", Description = "The file to write." };
        Option<PageFilterLevel?> filter = Filter();
        Option<bool> force = new("--force") { Description = "Replace a file that is there already, when the new one is whole." };
        Option<bool> json = Shared.Json("Write progress and result as JSON, one object a line, as docs/incident.md describes.");
        var command = new PanaceaCommand("dump", "Dump the memory of a running guest to an ELF core for crash, drgn and panacea. The guest stands still while it is written.")
        {
            Examples =
            [
                ("panacea dump pid:4242 vm1.core", "The kernel's memory, without free memory, page cache and processes."),
                ("panacea dump pid:4242 vm1.core --filter none", "Everything."),
                ("panacea dump qmp:/run/vm1.qmp vm1.core --filter zero,free", "With page cache and processes."),
                ("panacea diagnose vm1.core", "Say what was wrong when it was taken."),
            ],
            Notes =
            [
                ("LEVEL", [
                    "what is left out: a number as makedumpfile's -d has it, or names with commas between them",
                    "1 zero (pages of zeros are holes of the file), 2 cache, 4 private-cache (all page cache), 8 user, 16 free; 31 all, 0 none",
                ]),
                Shared.TargetNote,
                Shared.ExitCodeNote,
            ],
        };
        command.Add(target);
        command.Add(file);
        command.Add(filter);
        command.Add(force);
        command.Add(json);
        command.SetAction(parsed => Run(
            console, services, parsed.GetRequiredValue(target), new DumpRequest(parsed.GetRequiredValue(file), parsed.GetValue(filter) ?? PageFilterLevel.All, parsed.GetValue(force)),
            parsed.GetValue(json)));
        return command;
    }

    private static int Run(CliConsole console, CliServices services, TargetName target, DumpRequest request, bool json)
    {
        using var interrupts = new Interrupts(console, "still letting go of the VM; once more ends panacea at once");
        string full = Path.GetFullPath(request.File);
        DumpAnswer answer = console.Progress("learning the guest's kernel", line => services.Dumps.Dump(
            target, request,
            progress =>
            {
                line($"writing the dump, the guest stands still: {DumpText.Progress(progress)}");
                if (json)
                    Write(console, new DumpProgressEvent(target.Text, null, full, progress.DoneBytes, progress.TotalBytes, (long)progress.Elapsed.TotalMicroseconds));
            },
            interrupts.Token));
        if (json)
            Write(console, new DumpedEvent(target.Text, null, answer.Dump, (long)(answer.Stopped?.TotalMicroseconds ?? 0)));
        else
            Print(console, answer);
        return ExitCodes.Ok;
    }

    private static void Print(CliConsole console, DumpAnswer answer)
    {
        string stood = answer.Stopped is { } stopped ? $"the guest stood still for {IncidentReport.Duration((long)stopped.TotalMicroseconds)}" : "the guest stood still already, and still does";
        console.Out.WriteLine($"{Safe.Text(answer.Dump.File)}: {DumpText.Size(answer.Dump)}; {stood}");
        console.Out.WriteLine(DumpText.LeftOut(answer.Dump));
    }

    private static void Write(CliConsole console, SessionEvent e)
    {
        console.Out.WriteLine(JsonSerializer.Serialize(e, SessionEventJson.Default.SessionEvent));
        console.Out.Flush();
    }

    private static Option<PageFilterLevel?> Filter()
    {
        var option = new Option<PageFilterLevel?>("--filter")
        {
            Description = "What is left out, see below. [default: 31]",
            HelpName = "LEVEL",
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                if (TryParse(text, out PageFilterLevel level))
                    return level;
                result.AddError($"--filter: '{text}' is no level; write a number from 0 to 31, or names out of {string.Join(", ", Names.Select(n => n.Name))} with commas between them");
                return PageFilterLevel.All;
            },
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add([.. Names.Select(n => n.Name)]);
        return option;
    }

    private static bool TryParse(string text, out PageFilterLevel level)
    {
        level = PageFilterLevel.None;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
        {
            level = (PageFilterLevel)number;
            return number <= (int)PageFilterLevel.All;
        }

        foreach (string name in text.Split(','))
        {
            int at = Array.FindIndex(Names, n => n.Name == name);
            if (at < 0)
                return false;
            level |= Names[at].Bit;
        }

        return true;
    }
}
