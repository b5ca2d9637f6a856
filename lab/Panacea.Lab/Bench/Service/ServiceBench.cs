using System.Globalization;
using Panacea.Lab.Matrix;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Bench.Service;

/// <summary>How long the client of a service waits at a crash: with Panacea, where the guest reboots, and where the VM is set back to a snapshot; in the same run, with the same guests.</summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class ServiceBench(BenchOptions options, ProgressLine progress)
{
    /// <summary>Crashes of lab/crashtest/matrix_main.c: the one that all three ways are compared with first.</summary>
    private static readonly MatrixCell[] Crashes = [new("null-write", "syscall"), new("panic", "syscall"), new("stack-overflow", "syscall"), new("null-write", "timer"), new("loop", "irqs-off")];

    private IReadOnlyList<MeasuredService> Services => options.Services ?? MeasuredService.All;

    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<ServiceReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        var services = new List<ServiceFigures>();
        foreach (string line in options.Lines)
        {
            foreach (MeasuredService service in Services)
                services.Add(await new ServiceMeasurement(line, service, Crashes, options, progress).RunAsync(cancel));
        }

        string command = string.Create(
            CultureInfo.InvariantCulture,
            $"./panacea bench service --rounds {options.Rounds} --kernels {string.Join(',', options.Lines)}{options.NamedServices(MeasuredService.All)} --update-docs");
        return new ServiceReport { At = DateTimeOffset.UtcNow, Command = command, Host = host, Services = services };
    }
}
