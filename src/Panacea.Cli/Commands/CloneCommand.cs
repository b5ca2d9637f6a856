using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea clone</c>: a copy of a VM to look at.</summary>
internal static partial class CloneCommand
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(200);

    /// <summary>The command.</summary>
    public static PanaceaCommand Create(CliConsole console, CliServices services)
    {
        Argument<TargetName> target = Shared.Target();
        Option<bool> paused = new("--paused") { Description = "The copy stands where the original stood when it was made; QMP's cont lets it go on." };
        Option<bool> json = Shared.Json("Print where the copy is as one JSON object.");
        var command = new PanaceaCommand("clone", "Make a copy of a VM, cut off from the world, to look at a live problem without risk. It lives until this command is interrupted.")
        {
            Examples =
            [
                ("panacea clone pid:4242", "A copy that runs on from now. The VM stands still while its memory is copied, and runs on."),
                ("panacea clone --paused qmp:/run/vm1.qmp", "A copy that stands: nothing is overtaken by what happens next."),
                ("panacea inspect qmp:/tmp/panacea-clone-1f0a/qmp locks", "Look into the copy, as into any VM."),
            ],
            Notes =
            [
                ("The copy", [
                    "has no network: its cards are there and lead nowhere. What it writes to its disks goes to overlays that nobody sees.",
                    "Its serial ports and channels are sockets, as is its gdb stub. Whatever is done to it, the VM never learns of it.",
                    "The VM's memory has to be shared: " + Panacea.Target.Qemu.Clone.CloneRecipe.SharedMemory,
                ]),
                Shared.TargetNote,
                Shared.ExitCodeNote,
            ],
        };
        command.Add(target);
        command.Add(paused);
        command.Add(json);
        command.SetAction(parsed => Run(console, services, parsed.GetRequiredValue(target), !parsed.GetValue(paused), parsed.GetValue(json)));
        return command;
    }

    private static int Run(CliConsole console, CliServices services, TargetName target, bool run, bool json)
    {
        using var interrupts = new Interrupts(console, "the copy is being ended");
        using IClonedVm clone = services.Clones.Clone(target, run);
        if (json)
            console.Out.WriteLine(JsonSerializer.Serialize(clone.Answer, CloneJson.Default.CloneAnswer));
        else
            Print(console, target, clone.Answer, run);
        console.Out.Flush();
        while (!clone.HasEnded)
        {
            if (interrupts.Token.WaitHandle.WaitOne(Step))
                return ExitCodes.Ok;
        }

        console.Note("the copy has ended by itself: its guest has shut down");
        return ExitCodes.Ok;
    }

    private static void Print(CliConsole console, TargetName target, CloneAnswer clone, bool run)
    {
        string size = string.Create(CultureInfo.InvariantCulture, $"{clone.MemoryBytes / 1048576.0:0} MiB of memory");
        string stood = clone.StoppedUs is { } us ? $"{Safe.Text(target.Text)} stood still for {IncidentReport.Duration(us)} and runs" : $"{Safe.Text(target.Text)} stood already, and still does";
        console.Out.WriteLine($"copied {size}; {stood}");
        console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"copy      pid {clone.Pid}, {(run ? "running" : "standing")}"));
        console.Out.WriteLine($"qmp       {clone.Qmp}");
        console.Out.WriteLine($"gdb       {clone.Gdb}");
        foreach (string path in clone.Consoles)
            console.Out.WriteLine($"console   {path}");
        console.Note("Ctrl-C ends the copy; nothing is left of it then");
    }
}

/// <summary>JSON shape of <c>panacea clone --json</c>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(CloneAnswer))]
internal sealed partial class CloneJson : JsonSerializerContext;
