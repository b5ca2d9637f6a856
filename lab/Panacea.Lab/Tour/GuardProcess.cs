using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Threading.Channels;

namespace Panacea.Lab.Tour;

/// <summary>What a process has used so far.</summary>
/// <param name="ResidentBytes">Resident memory now.</param>
/// <param name="PeakBytes">The most that it has had.</param>
/// <param name="CpuSeconds">CPU time, user and system, counted by the kernel in hundredths of a second.</param>
public sealed record ProcessUsage(long ResidentBytes, long PeakBytes, double CpuSeconds);

/// <summary><c>panacea guard … --json</c> as a child process. Disposing it interrupts it and waits for its end.</summary>
public sealed partial class GuardProcess : IAsyncDisposable
{
    private const int Sigint = 2;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly Process _process;
    private readonly Channel<GuardEvent> _events = Channel.CreateUnbounded<GuardEvent>();
    private readonly List<string> _notes = [];
    private readonly HashSet<string> _open = [];
    private readonly Task _output, _error;

    private GuardProcess(Process process, string commandLine)
    {
        _process = process;
        CommandLine = commandLine;
        _output = Task.Run(ReadEventsAsync);
        _error = Task.Run(ReadNotesAsync);
    }

    /// <summary>As a person would type it.</summary>
    public string CommandLine { get; }

    /// <summary>Its pid.</summary>
    public int Pid => _process.Id;

    /// <summary>The event of being armed; of several VMs, the last one's.</summary>
    public GuardEvent Armed { get; private set; } = null!;

    /// <summary>Starts guarding a VM and waits until its death points are armed.</summary>
    /// <param name="panacea">The executable.</param>
    /// <param name="target">The VM, as <c>qmp:…</c> or <c>pid:…</c>.</param>
    /// <param name="directory">Where incident records and repair images go.</param>
    /// <param name="healthWindow">How long a repaired guest is watched.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">It could not guard the VM; the message has what it said.</exception>
    public static Task<GuardProcess> StartAsync(PanaceaProgram panacea, string target, string directory, TimeSpan healthWindow, CancellationToken cancel = default) =>
        StartAsync(panacea, target, directory, healthWindow, [], cancel);

    /// <inheritdoc cref="StartAsync(PanaceaProgram, string, string, TimeSpan, CancellationToken)"/>
    /// <param name="more">More of its options.</param>
    public static Task<GuardProcess> StartAsync(PanaceaProgram panacea, string target, string directory, TimeSpan healthWindow, IReadOnlyList<string> more, CancellationToken cancel = default) =>
        StartAsync(panacea, target, directory, [.. OptionsFor(healthWindow), .. more], cancel);

    /// <summary>Options of a guard that is to repair crash after crash.</summary>
    /// <param name="healthWindow">How long a repaired guest is watched.</param>
    public static IReadOnlyList<string> OptionsFor(TimeSpan healthWindow) =>
        ["--health-window", string.Create(CultureInfo.InvariantCulture, $"{(long)healthWindow.TotalMilliseconds}ms"), "--repair-limit", "0", "--fuse", "off"];

    /// <summary>Starts guarding a VM and waits until its death points are armed.</summary>
    /// <param name="panacea">The executable.</param>
    /// <param name="target">The VM, as <c>qmp:…</c> or <c>pid:…</c>.</param>
    /// <param name="directory">Where incident records and repair images go.</param>
    /// <param name="options">How it is to guard; what is not said is as for everybody.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">It could not guard the VM; the message has what it said.</exception>
    public static Task<GuardProcess> StartAsync(PanaceaProgram panacea, string target, string directory, IReadOnlyList<string> options, CancellationToken cancel = default) =>
        StartAsync(panacea, [target], directory, options, cancel);

    /// <summary>Starts guarding several VMs in one process and waits until all of them are armed.</summary>
    /// <param name="panacea">The executable.</param>
    /// <param name="targets">The VMs.</param>
    /// <param name="directory">Where incident records and repair images go.</param>
    /// <param name="options">How it is to guard.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">It could not guard one of them; the message has what it said.</exception>
    public static async Task<GuardProcess> StartAsync(PanaceaProgram panacea, IReadOnlyList<string> targets, string directory, IReadOnlyList<string> options, CancellationToken cancel = default)
    {
        string[] arguments = ["guard", .. targets, "--json", .. options, "--records", Path.Combine(directory, "incidents"), "--image-cache", Path.Combine(directory, "images")];
        var start = new ProcessStartInfo(panacea.Path, arguments)
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        Process process = Process.Start(start) ?? throw new LabException("panacea guard did not start");
        process.StandardInput.Close();
        var guard = new GuardProcess(process, $"panacea guard {string.Join(' ', targets)} --json");
        try
        {
            for (int i = 0; i < targets.Count; i++)
                guard.Armed = await guard.NextAsync("armed", Patience, cancel);
            return guard;
        }
        catch
        {
            await guard.DisposeAsync();
            throw;
        }
    }

    /// <summary>The next event of a name; those before it are passed over.</summary>
    /// <exception cref="LabException">The guard ended or reported an error first.</exception>
    /// <exception cref="TimeoutException">It did not come in time.</exception>
    public Task<GuardEvent> NextAsync(string name, TimeSpan timeout, CancellationToken cancel = default) => NextAsync([name], timeout, cancel);

    /// <summary>The next event of one of these names.</summary>
    /// <inheritdoc cref="NextAsync(string, TimeSpan, CancellationToken)"/>
    public async Task<GuardEvent> NextAsync(IReadOnlyCollection<string> names, TimeSpan timeout, CancellationToken cancel = default)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            while (await _events.Reader.WaitToReadAsync(limit.Token))
            {
                while (_events.Reader.TryRead(out GuardEvent? e))
                {
                    if (names.Contains(e.Event))
                        return e;
                    if (e.Event == "error")
                        throw new LabException($"panacea guard: {e.Message}");
                }
            }

            throw new LabException($"panacea guard ended before the event \"{string.Join(" or ", names)}\": {Notes()}");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new TimeoutException($"panacea guard did not tell \"{string.Join(" or ", names)}\" within {timeout.TotalSeconds:0.#} s{(Notes() is { Length: > 0 } notes ? $": {notes}" : "")}");
        }
    }

    /// <summary>Deaths and hangs that it has told of.</summary>
    public int Deaths { get; private set; }

    /// <summary>Waits until no incident is open any more: one command may have crashed the guest twice, and what the guard says of the second crash is not to be taken for the next command's.</summary>
    /// <exception cref="TimeoutException">One stayed open.</exception>
    public async Task WaitUntilClosedAsync(TimeSpan timeout, CancellationToken cancel = default)
    {
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (true)
        {
            lock (_open)
            {
                if (_open.Count == 0)
                    return;
            }

            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"an incident of panacea guard was not closed within {timeout.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <summary>The events since they were last asked for.</summary>
    public IReadOnlyList<GuardEvent> TakeEvents()
    {
        var events = new List<GuardEvent>();
        while (_events.Reader.TryRead(out GuardEvent? e))
            events.Add(e);
        return events;
    }

    /// <summary>Forgets the events so far: arm it, then act.</summary>
    public void DropEvents()
    {
        while (_events.Reader.TryRead(out _))
        {
        }
    }

    /// <summary>What it uses.</summary>
    public ProcessUsage Usage() =>
        ProcStat.Parse(File.ReadAllText($"/proc/{Pid}/stat"), File.ReadAllText($"/proc/{Pid}/status"));

    /// <summary>Interrupts it as Ctrl-C does and waits until it has let go of the VM.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> DetachAsync(CancellationToken cancel = default)
    {
        if (!_process.HasExited)
            _ = Kill(_process.Id, Sigint);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Patience);
        await _process.WaitForExitAsync(limit.Token);
        await _output;
        return _process.ExitCode;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await DetachAsync();
        }
        catch (OperationCanceledException)
        {
            _process.Kill();
        }

        await Task.WhenAll(_output, _error);
        _process.Dispose();
    }

    private string Notes()
    {
        lock (_notes)
            return string.Join("; ", _notes.TakeLast(5));
    }

    private async Task ReadEventsAsync()
    {
        Exception? failure = null;
        try
        {
            while (await _process.StandardOutput.ReadLineAsync() is { } line)
            {
                var e = GuardEvent.Parse(line);
                lock (_open)
                {
                    if (e is { Event: "death", Id: { } begun })
                    {
                        Deaths++;
                        _open.Add(begun);
                    }

                    _events.Writer.TryWrite(e);
                    if (e is { Event: "incident", Id: { } ended })
                        _open.Remove(ended);
                }
            }
        }
        catch (Exception e) when (e is LabException or IOException)
        {
            failure = e;
        }

        _events.Writer.TryComplete(failure);
    }

    private async Task ReadNotesAsync()
    {
        while (await _process.StandardError.ReadLineAsync() is { } line)
        {
            lock (_notes)
                _notes.Add(line);
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
