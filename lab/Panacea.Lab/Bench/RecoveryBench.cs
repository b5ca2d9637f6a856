using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>How long a guest stands still per recovered crash, and what guarding costs, beside the reboot of the same guest in the same run.</summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class RecoveryBench(BenchOptions options, ProgressLine progress)
{
    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<BenchReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        Figures cold = await progress.DuringAsync("starting panacea cold", _ => ColdStartsAsync(cancel));
        var kernels = new List<KernelFigures>();
        foreach (string line in options.Lines)
            kernels.Add(await KernelAsync(line, cancel));
        return new BenchReport { At = DateTimeOffset.UtcNow, Command = CommandLine(), Host = host, ColdStartUs = cold, Kernels = kernels };
    }

    private string CommandLine() => string.Create(
        CultureInfo.InvariantCulture, $"./panacea bench recovery --crashes {options.Crashes} --kernels {string.Join(',', options.Lines)} --update-docs");

    /// <summary>The first start may have had to read the executable from the disk, which is not what starting takes; that one is over.</summary>
    private async Task<Figures> ColdStartsAsync(CancellationToken cancel)
    {
        var series = new List<long>();
        for (int i = 0; i < options.ColdStarts; i++)
            series.Add((await options.Panacea.StartColdAsync(cancel)).Us);
        return Figures.Of(series);
    }

    private async Task<KernelFigures> KernelAsync(string line, CancellationToken cancel)
    {
        var spec = new GuestSpec { Line = line, Start = ["redis", "counter"], PanicTimeout = -1 };
        Guest guest = await progress.DuringAsync($"booting Debian's {line} kernel", report => Guest.StartAsync(spec, report, cancel));
        await using (guest)
        {
            await using WorkingServer server = await progress.DuringAsync($"{line}: putting the guest to work", _ => WorkingServer.StartAsync(guest, cancel));
            return await new KernelBench(line, options, server, progress).RunAsync(cancel);
        }
    }
}
