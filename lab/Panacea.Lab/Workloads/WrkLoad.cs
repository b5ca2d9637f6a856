using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Workloads;

/// <summary>What wrk counted.</summary>
/// <param name="Answers">Right answers.</param>
/// <param name="Refused">Answers in which nginx said that it could not (5xx).</param>
/// <param name="Wrong">Other answers.</param>
/// <param name="FirstWrong">The first of those; empty where there are none.</param>
public sealed record WrkResult(long Answers, long Refused, long Wrong, string FirstWrong);

/// <summary>Debian's wrk on the host, unpacked but not installed, which gets the files of a guest's nginx as fast as it answers, and compares each answer (lab/host/wrk.lua).</summary>
public sealed partial class WrkLoad : IAsyncDisposable
{
    /// <summary>The package.</summary>
    public const string Package = "wrk";

    private const int Threads = 4, Sigint = 2;
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(10);

    private readonly Process _process;
    private readonly string _script;
    private readonly Task<string> _output, _error;

    private WrkLoad(Process process, string script)
    {
        (_process, _script) = (process, script);
        (_output, _error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
    }

    /// <summary>Starts it.</summary>
    /// <param name="port">nginx' port on 127.0.0.1.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">wrk can't be had or does not start.</exception>
    public static async Task<WrkLoad> StartAsync(int port, CancellationToken cancel = default)
    {
        UnpackedPackage package = await UnpackedPackage.GetAsync(Package, null, cancel);
        string script = Path.GetTempFileName(), threads = Threads.ToString(CultureInfo.InvariantCulture);
        await File.WriteAllBytesAsync(script, Resources.Read("host/wrk.lua"), CancellationToken.None);
        var start = new ProcessStartInfo(package.Program("wrk"), ["-t", threads, "-c", threads, "-d", "1h", "-s", script, string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}/")])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.Environment["LD_LIBRARY_PATH"] = package.LibraryPath;
        return new WrkLoad(Process.Start(start) ?? throw new LabException("wrk did not start"), script);
    }

    /// <summary>Ends it, and has what it counted.</summary>
    /// <exception cref="LabException">It did not tell.</exception>
    public async Task<WrkResult> StopAsync(CancellationToken cancel = default)
    {
        if (!_process.HasExited)
            _ = Kill(_process.Id, Sigint);
        try
        {
            string told = await _output.WaitAsync(EndLimit, cancel);
            Match counts = Counts().Match(told);
            long Count(int group) => long.Parse(counts.Groups[group].Value, CultureInfo.InvariantCulture);
            return counts.Success ? new WrkResult(Count(1), Count(2), Count(3), counts.Groups[4].Value.Trim()) : throw new LabException($"wrk did not tell what it counted: {(told + await _error).Trim()}");
        }
        catch (TimeoutException e)
        {
            throw new LabException("wrk did not end", e);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await Task.WhenAll(_output, _error, _process.WaitForExitAsync());
        _process.Dispose();
        File.Delete(_script);
    }

    [GeneratedRegex(@"^answers (\d+) refused (\d+) wrong (\d+)(.*)$", RegexOptions.Multiline)]
    private static partial Regex Counts();

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
