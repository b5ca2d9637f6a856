using System.Text;
using System.Text.RegularExpressions;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Logs;

/// <summary>Provokes the kernel's reports in guests that nobody guards, and stores what they write to their serial console.</summary>
public static partial class LogCapture
{
    private const int MostBytes = 19_000, CrashKernelMiB = 128, BootLines = 60;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60), Quiet = TimeSpan.FromMilliseconds(700);

    /// <summary>Captures.</summary>
    /// <param name="line">The kernel line.</param>
    /// <param name="directory">Where the samples go; existing ones are replaced.</param>
    /// <param name="only">Names of scenarios; empty for all.</param>
    /// <param name="report">Told what happens.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>Names of the scenarios that did not write what they should.</returns>
    /// <exception cref="LabException">A guest does not boot.</exception>
    public static async Task<IReadOnlyList<string>> RunAsync(
        string line, string directory, IReadOnlyList<string> only, Action<string> report, CancellationToken cancel = default)
    {
        Directory.CreateDirectory(directory);
        var failed = new List<string>();
        Guest? shared = null;
        string sharedWith = "";
        try
        {
            foreach (LogScenario scenario in LogScenarios.All.Where(s => (s.Line ?? line) == line && (only.Count == 0 || only.Contains(s.Name))))
            {
                Guest guest;
                if (scenario.OwnGuest)
                {
                    guest = await BootAsync(line, scenario, cancel);
                }
                else
                {
                    if (shared is null || sharedWith != scenario.Parameters || !await AnswersAsync(shared, cancel))
                    {
                        if (shared is not null)
                            await shared.DisposeAsync();
                        shared = await BootAsync(line, scenario, cancel);
                        sharedWith = scenario.Parameters;
                    }

                    guest = shared;
                }

                try
                {
                    string? text = await ProvokeAsync(guest, scenario, cancel);
                    if (text is null)
                        failed.Add(scenario.Name);
                    else
                        await File.WriteAllTextAsync(Path.Combine(directory, scenario.FileName(line)), text, new UTF8Encoding(false), cancel);
                    report($"{line} {scenario.Name}: {(text is null ? "did not come" : $"{text.Length} bytes")}");
                }
                finally
                {
                    if (guest != shared)
                        await guest.DisposeAsync();
                }
            }
        }
        finally
        {
            if (shared is not null)
                await shared.DisposeAsync();
        }

        return failed;
    }

    private static async Task<Guest> BootAsync(string line, LogScenario scenario, CancellationToken cancel)
    {
        var spec = new GuestSpec { Line = line, PanicOnOops = scenario.PanicOnOops, KernelParameters = scenario.Parameters, CrashKernelMiB = scenario.IntoCrashKernel ? CrashKernelMiB : 0 };
        if (!scenario.AtBoot)
        {
            Guest guest = await Guest.StartAsync(spec, null, cancel);
            await guest.RunAsync("insmod /modules/crashtest_reports.ko", null, cancel);
            return guest;
        }

        GuestImage image = await GuestBuilder.GetAsync(line, null, cancel);
        return await Guest.LaunchAsync(spec, image, await AcceleratorProbe.ChooseAsync(image, cancel), cancel);
    }

    private static async Task<string?> ProvokeAsync(Guest guest, LogScenario scenario, CancellationToken cancel)
    {
        if (scenario.Setup.Length > 0)
            await guest.RunAsync(scenario.Setup, null, cancel);
        long mark = scenario.AtBoot ? 0 : guest.Console.Mark();
        Task command = scenario switch
        {
            { AtBoot: true } => Task.CompletedTask,
            { Monitor: { } line } => guest.Monitor.HumanAsync(line, cancel),
            _ => guest.RunAsync(scenario.Command, Limit, cancel),
        };
        try
        {
            await guest.Console.WaitForAsync(scenario.Until, Limit, mark, cancel);
        }
        catch (TimeoutException)
        {
            return null;
        }
        finally
        {
            // A command that died with its guest, or hangs in it, has nothing more to say.
            _ = command.ContinueWith(static t => t.Exception, TaskScheduler.Default);
        }

        for (long seen = -1; seen != guest.Console.Mark();)
        {
            seen = guest.Console.Mark();
            await Task.Delay(Quiet, cancel);
        }

        return Trim(guest.Console.TextFrom(), guest.Console.TextFrom(mark), scenario);
    }

    /// <summary>The banner of the boot, and the report; of a boot only its end, of a crash kernel's only the beginning.</summary>
    private static string Trim(string all, string report, LogScenario scenario)
    {
        string banner = Banner().Match(all) is { Success: true } found ? found.Value + "\n" : "";
        string[] lines = report.Split('\n');
        if (scenario.AtBoot)
            report = string.Join('\n', lines[^Math.Min(lines.Length, BootLines)..]);
        if (scenario.IntoCrashKernel && Array.FindIndex(lines, Banner().IsMatch) is >= 0 and int next)
            report = string.Join('\n', lines.Take(next + BootLines)) + "\n";
        if (report.Length > MostBytes)
            report = report[..report.LastIndexOf('\n', MostBytes)] + "\n";
        return BuildPath().Replace(banner + report, "lab/crashtest/");
    }

    private static async Task<bool> AnswersAsync(Guest guest, CancellationToken cancel)
    {
        try
        {
            return guest.IsRunning && (await guest.RunAsync("true", TimeSpan.FromSeconds(5), cancel)).Succeeded;
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return false;
        }
    }

    // A file of the modules that were built for this: where they lay is nobody's business.
    [GeneratedRegex(@"/\S*/(?=crashtest\w*\.c:)")]
    private static partial Regex BuildPath();

    [GeneratedRegex(@"^\[.*Linux version .*$", RegexOptions.Multiline)]
    private static partial Regex Banner();
}
