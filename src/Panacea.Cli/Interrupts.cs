using System.Runtime.InteropServices;
using Panacea.Cli.Output;

namespace Panacea.Cli;

/// <summary>Turns SIGINT, SIGTERM and SIGHUP into cancellation, so that a guest is let go of before the process ends.</summary>
internal sealed class Interrupts : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly CliConsole _console;
    private readonly string _whileEnding;
    private int _seen;

    /// <summary>Registers the handlers.</summary>
    /// <param name="console">Told what is being waited for when a second signal comes.</param>
    /// <param name="whileEnding">What is being done after the first signal, in a sentence.</param>
    public Interrupts(CliConsole console, string whileEnding)
    {
        _console = console;
        _whileEnding = whileEnding;
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal));

        // nohup means it: where SIGHUP was ignored at the start it stays ignored.
        if (!IsIgnored(1))
            _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, OnSignal));
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _source.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        int nth = Interlocked.Increment(ref _seen);

        // The third is meant: the process dies, and the next guard cleans up behind it.
        context.Cancel = nth < 3;
        if (nth == 1)
            _source.Cancel();
        else if (nth == 2)
            _console.Note(_whileEnding);
    }

    private static bool IsIgnored(int signal)
    {
        try
        {
            foreach (string line in File.ReadLines("/proc/self/status"))
            {
                if (line.StartsWith("SigIgn:", StringComparison.Ordinal))
                    return (Convert.ToUInt64(line[7..].Trim(), 16) >> (signal - 1) & 1) != 0;
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or FormatException)
        {
            // No /proc: then nothing is known, and handling the signal is the safe answer.
        }

        return false;
    }
}
