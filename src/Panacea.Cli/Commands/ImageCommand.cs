using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea image</c>: the repair image of a guest's kernel.</summary>
internal static class ImageCommand
{
    private const string LetGo = "still letting go of the VM; once more ends panacea at once";

    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        var command = new PanaceaCommand("image", "Build, show or verify a repair image: what Panacea knows of a healthy kernel, kept on the host.")
        {
            Examples =
            [
                ("panacea image build pid:4242 -o web1.rimg", "Build the image of a running guest."),
                ("panacea image show web1.rimg", "Say what is in it."),
                ("panacea image verify web1.rimg pid:4242", "Check that a guest still runs that kernel, unaltered."),
            ],
            Notes = [Shared.TargetNote, Shared.ExitCodeNote],
        };
        command.Add(Build(console, services));
        command.Add(Show(console, services));
        command.Add(Verify(console, services));
        return command;
    }

    private static PanaceaCommand Build(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Option<string> output = new("--output", "-o") { Description = "File to write.", HelpName = "FILE", Required = true };
        Option<bool> json = Shared.Json("Print what was built as JSON.");
        var command = new PanaceaCommand("build", "Build the repair image of a running guest. The guest keeps running.")
        {
            Examples =
            [
                ("panacea image build qmp:/run/vm1.qmp -o vm1.rimg", "Build and write vm1.rimg."),
                ("panacea image build --json pid:4242 -o vm1.rimg | jq .build_us", "How long it took, in microseconds."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(target);
        command.Add(output);
        command.Add(json);
        command.SetAction(parsed =>
        {
            string file = parsed.GetRequiredValue(output);
            RefuseBadPlace(file);
            using var interrupts = new Interrupts(console, LetGo);
            ImageSummary summary = console.Progress(
                "building the repair image", () => services.Images.Build(parsed.GetRequiredValue(target), file, interrupts.Token));
            Print(console, summary, parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static PanaceaCommand Show(CliConsole console, CliServices services)
    {
        Argument<string> what = Shared.FileOrTarget();
        Option<bool> json = Shared.Json("Print it as JSON.");
        var command = new PanaceaCommand("show", "Say what a repair image holds, or what one of a running guest would hold.")
        {
            Examples =
            [
                ("panacea image show vm1.rimg", "Describe a file."),
                ("panacea image show pid:4242 --json", "Describe a running guest's kernel; nothing is written."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(what);
        command.Add(json);
        command.SetAction(parsed =>
        {
            string text = parsed.GetRequiredValue(what);
            using var interrupts = new Interrupts(console, LetGo);
            ImageSummary summary = LooksLikeTarget(text)
                ? console.Progress("reading the guest", () => services.Images.Show(ParseTarget(text), interrupts.Token))
                : services.Images.Show(ExistingFile(text));
            Print(console, summary, parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static PanaceaCommand Verify(CliConsole console, CliServices services)
    {
        Argument<string> file = new("FILE") { Description = "A repair image file." };
        Argument<TargetName> target = Shared.Target();
        Option<bool> json = Shared.Json("Print the answer as JSON.");
        var command = new PanaceaCommand("verify", "Check that a running guest runs the kernel of a repair image, with its text unaltered.")
        {
            Examples =
            [
                ("panacea image verify vm1.rimg qmp:/run/vm1.qmp", "Exit code 0 where it matches, 4 where the image is of another kernel or damaged."),
            ],
            Notes = [Shared.TargetNote],
        };
        command.Add(file);
        command.Add(target);
        command.Add(json);
        command.SetAction(parsed =>
        {
            string path = ExistingFile(parsed.GetRequiredValue(file));
            TargetName vm = parsed.GetRequiredValue(target);
            using var interrupts = new Interrupts(console, LetGo);
            ImageMatch match = console.Progress("comparing", () => services.Images.Verify(path, vm, interrupts.Token));
            if (parsed.GetValue(json))
                console.Out.WriteLine(JsonSerializer.Serialize(match, CliJson.Default.ImageMatch));
            else if (match.Matches)
                console.Out.WriteLine($"{Safe.Text(path)} matches {Safe.Text(vm.Text)}");
            foreach (string difference in match.Matches || parsed.GetValue(json) ? [] : match.Differences)
                console.Out.WriteLine(Safe.Text(difference));
            if (match.Matches)
                return ExitCodes.Ok;
            console.ErrorLine($"{path} does not match {vm.Text}; build an image of this guest with 'panacea image build {vm.Text} -o FILE'");
            return ExitCodes.Image;
        });
        return command;
    }

    private static void Print(CliConsole console, ImageSummary image, bool json)
    {
        if (json)
        {
            console.Out.WriteLine(JsonSerializer.Serialize(image, CliJson.Default.ImageSummary));
            return;
        }

        void Line(string name, string value) => console.Out.WriteLine($"{console.Paint.Bold(name.PadRight(13))} {Safe.Text(value)}");
        static string N(long n) => n.ToString("N0", CultureInfo.InvariantCulture);
        Line("image", image.Id);
        Line("kernel", image.Kernel);
        Line("build id", image.BuildId ?? "none");
        if (image.File is not null)
            Line("file", $"{image.File}, {N(image.Bytes)} bytes");
        if (image.BuildUs is { } built)
            Line("built in", IncidentReport.Duration(built) + (image.StoppedUs switch { null => "", 0 => ", the guest was not stopped", { } held => $", guest held for {IncidentReport.Duration(held)}" }));
        Line("symbols", N(image.Symbols));
        Line("types", N(image.Types));
        Line("unwind rows", N(image.UnwindRows));
        Line("text", $"{N(image.TextBytes)} bytes");
        Line("modules", image.Modules.Count == 0 ? "none" : string.Join(' ', image.Modules));
        Line("death points", string.Join(' ', image.DeathPoints));
        foreach (string each in image.Without)
            Line("without", each);
    }

    private static bool LooksLikeTarget(string text) =>
        text.StartsWith("qmp:", StringComparison.Ordinal) || text.StartsWith("pid:", StringComparison.Ordinal);

    private static TargetName ParseTarget(string text) =>
        TargetName.TryParse(text, out TargetName? target, out string? error) ? target! : throw new CliException(ExitCodes.Usage, error!);

    private static string ExistingFile(string path)
    {
        if (Directory.Exists(path))
            throw new CliException(ExitCodes.Usage, $"{path} is a directory; name a repair image file");
        return File.Exists(path)
            ? path
            : throw new CliException(ExitCodes.Usage, $"there is no file {path}; make one with 'panacea image build TARGET -o FILE'");
    }

    /// <summary>Better now than after the guest was read.</summary>
    private static void RefuseBadPlace(string file)
    {
        if (file.Length == 0 || Directory.Exists(file))
            throw new CliException(ExitCodes.Usage, $"'{file}' is a directory; name the file to write after -o");
        string directory = Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/";
        if (!Directory.Exists(directory))
            throw new CliException(ExitCodes.Usage, $"there is no directory {directory} to write {Path.GetFileName(file)} into; create it first");
    }
}
